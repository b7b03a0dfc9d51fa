"""
The three patches that need no memory: JSON patch, merge patch, strategic merge patch.

Pure: each takes the live object and the patch and returns a new object.
``apply`` is the fourth, which remembers who set what.
"""

from typing import Any

from tests.fakes.kubernetes.apiserver.errors import ApiError, bad_request
from tests.fakes.kubernetes.apiserver.objects import Json, copied
from tests.fakes.kubernetes.apiserver.schemas import child, item

DIRECTIVE = "$patch"
ORDER = "$setElementOrder/"
DELETE = "$deleteFromPrimitiveList/"
RETAIN = "$retainKeys"


def merge_patch(live: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386): null deletes, lists are replaced."""
    if not isinstance(patch, dict):
        return copied(patch)
    merged = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(live: Json, operations: Any) -> Json:
    """Apply a JSON patch (RFC 6902); raises 422 if an operation or its path is wrong."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    document: Json = {"": copied(live)}
    for operation in operations:
        try:
            _operate(document, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            message = f"the server rejected our request: JSON patch {operation}: {error}"
            raise ApiError(422, message) from error
    result: Json = document[""]
    return result


def _operate(document: Json, operation: Json) -> None:
    path = operation["path"]
    match operation["op"]:
        case "add":
            _add(document, path, copied(operation["value"]))
        case "remove":
            _remove(document, path)
        case "replace":
            _remove(document, path)
            _add(document, path, copied(operation["value"]))
        case "move":
            _add(document, path, _remove(document, operation["from"]))
        case "copy":
            _add(document, path, copied(_value(document, operation["from"])))
        case "test":
            if _value(document, path) != operation["value"]:
                raise ValueError(f"testing value {path} failed")
        case other:
            raise ValueError(f"{other!r} is no operation")


def _steps(path: str) -> list[str]:
    """Split a JSON pointer; the document hangs under the key "" of a holder."""
    if path and not path.startswith("/"):
        raise ValueError(f"path {path!r} does not start with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]


def _place(document: Json, path: str) -> tuple[Any, Any]:
    *steps, last = _steps(path)
    holder: Any = document
    for step in steps:
        holder = holder[int(step)] if isinstance(holder, list) else holder[step]
    if isinstance(holder, list):
        return holder, len(holder) if last == "-" else int(last)
    return holder, last


def _value(document: Json, path: str) -> Any:
    holder, key = _place(document, path)
    return holder[key]


def _add(document: Json, path: str, value: Any) -> None:
    holder, key = _place(document, path)
    if not isinstance(holder, list):
        holder[key] = value
    elif 0 <= key <= len(holder):
        holder.insert(key, value)
    else:
        raise IndexError(f"index {key} is beyond the list of {len(holder)}")


def _remove(document: Json, path: str) -> Any:
    holder, key = _place(document, path)
    return holder.pop(key)


def strategic_merge(live: Any, patch: Any, schema: Json) -> Any:
    """
    Apply a strategic merge patch: lists with a merge key are merged by it.

    The keys are those of the kind's schema. ``$patch``, ``$retainKeys``,
    ``$setElementOrder/`` and ``$deleteFromPrimitiveList/`` are understood.
    """
    if not isinstance(patch, dict):
        return copied(patch)
    if DIRECTIVE in patch:
        rest = {key: value for key, value in patch.items() if key != DIRECTIVE}
        if patch[DIRECTIVE] == "replace":
            return copied(rest)
        if patch[DIRECTIVE] == "delete":
            return {}
        patch = rest
    merged = dict(live) if isinstance(live, dict) else {}
    if RETAIN in patch:
        merged = {key: value for key, value in merged.items() if key in patch[RETAIN]}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        node = child(schema, key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, list):
            merged[key] = _merged_list(merged.get(key) or [], value, node)
        else:
            merged[key] = strategic_merge(merged.get(key), value, node)
    _delete_primitives(merged, patch)
    _put_in_order(merged, patch, schema)
    return merged


def _merged_list(live: list[Any], patch: list[Any], node: Json) -> list[Any]:
    if "merge" not in node.get("x-kubernetes-patch-strategy", ""):
        return [copied(entry) for entry in patch if not _is_directive(entry)]
    if any(_is_directive(entry) and entry[DIRECTIVE] == "replace" for entry in patch):
        return [copied(entry) for entry in patch if not _is_directive(entry)]
    key = node.get("x-kubernetes-patch-merge-key")
    if key is None:
        return [*live, *(entry for entry in patch if entry not in live)]
    merged = list(live)
    for entry in patch:
        if key not in entry:
            raise bad_request(f"map: {entry} does not contain declared merge key: {key}")
        place = next((i for i, old in enumerate(merged) if old.get(key) == entry[key]), None)
        if entry.get(DIRECTIVE) == "delete":
            if place is not None:
                del merged[place]
        elif place is None:
            merged.append(strategic_merge({}, entry, item(node)))
        else:
            merged[place] = strategic_merge(merged[place], entry, item(node))
    return merged


def _is_directive(entry: Any) -> bool:
    return isinstance(entry, dict) and set(entry) == {DIRECTIVE}


def _delete_primitives(merged: Json, patch: Json) -> None:
    for directive, gone in patch.items():
        if directive.startswith(DELETE):
            key = directive.removeprefix(DELETE)
            merged[key] = [entry for entry in merged.get(key) or [] if entry not in gone]


def _put_in_order(merged: Json, patch: Json, schema: Json) -> None:
    """Put lists into the order that the client wants; what it does not name comes last."""
    for directive, order in patch.items():
        if not directive.startswith(ORDER):
            continue
        field = directive.removeprefix(ORDER)
        key = child(schema, field).get("x-kubernetes-patch-merge-key")
        names = [entry.get(key) if key else entry for entry in order]

        def place(entry: Any, key: str | None = key, names: list[Any] = names) -> int:
            name = entry.get(key) if key else entry
            return names.index(name) if name in names else len(names)

        if field in merged:
            merged[field] = sorted(merged[field], key=place)
