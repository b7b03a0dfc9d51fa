"""
Server-side apply: who set which field, and what happens when two want the same.

Called by ``operations`` for every write. Pure: takes objects, returns new
ones, raises 409 for a conflict. An update takes the fields that it changes
from whoever had them; an apply takes them only by ``force``, and gives up
those that it no longer mentions. Status is not tracked: nobody applies it.
"""

from typing import Any

from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.errors import ApiError
from tests.fakes.kubernetes.apiserver.fields import (
    Fields,
    Path,
    differences,
    fields_of,
    from_json,
    is_atomic,
    key_step,
    list_type,
    managed,
    steps_into,
    to_json,
    value_at,
)
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.schemas import child, item, schema_of
from tests.fakes.kubernetes.times import now

Manager = tuple[str, str]  # its name and its operation, Apply or Update


def updated_by(call: Call, old: Json, new: Json) -> Json:
    """Return ``new`` with the fields that differ from ``old`` in the name of who calls."""
    changed, removed = differences(old, new, schema_of(call.resource))
    managers = managers_of(old)
    if changed or removed:
        for manager, fields in managers.items():
            managers[manager] = fields - changed - removed
        mine = (call.manager, "Update")
        managers[mine] = managers.get(mine, frozenset()) | changed
    return with_managers(call, old, new, managers)


def created_by(call: Call, new: Json, wanted: Json) -> Json:
    """Return a new object with the fields of ``wanted`` in the name of who applies them."""
    fields = fields_of(wanted, schema_of(call.resource))
    return with_managers(call, {}, new, {(call.manager, "Apply"): fields})


def applied(call: Call, live: Json, wanted: Json) -> Json:
    """Return ``live`` with what the manager wants now and without what it wanted before."""
    schema = schema_of(call.resource)
    fields = fields_of(wanted, schema)
    managers = managers_of(live)
    mine = (call.manager, "Apply")
    before = managers.pop(mine, frozenset())
    for manager, theirs in managers.items():
        contested = {
            path
            for path in fields & theirs
            if value_at(wanted, path, schema) != value_at(live, path, schema)
        }
        if contested and not call.flag("force"):
            raise _conflict(manager, contested)
        managers[manager] = theirs - contested
    new: Json = merged(live, managed(wanted), schema)
    kept = fields.union(*managers.values())
    new = _without(new, before - kept, kept, schema)
    return with_managers(call, live, new, {**managers, mine: fields})


def _conflict(manager: Manager, contested: set[Path]) -> ApiError:
    dotted = [".".join(["", *(step.removeprefix("f:") for step in path)]) for path in contested]
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager[0]}"',
            "field": field,
        }
        for field in sorted(dotted)
    ]
    if len(causes) == 1:
        told = f'1 conflict: conflict with "{manager[0]}": {dotted[0]}'
    else:
        fields = "\n- ".join(sorted(dotted))
        told = f'{len(causes)} conflicts: conflicts with "{manager[0]}":\n- {fields}'
    message = f"Apply failed with {told}"
    return ApiError(409, message, causes=causes)


def merged(live: Any, wanted: Any, node: Json) -> Any:
    """Merge as server-side apply does: maps by name, lists by their keys, else replace."""
    if isinstance(live, dict) and isinstance(wanted, dict) and not is_atomic(node):
        result = dict(live)
        for key, value in wanted.items():
            result[key] = merged(live[key], value, child(node, key)) if key in live else value
        return result
    if not isinstance(live, list) or not isinstance(wanted, list) or list_type(node) == "atomic":
        return wanted
    before, after = steps_into(live, node) or {}, steps_into(wanted, node) or {}
    kept = [
        merged(entry, after[step][0], item(node)) if step in after else entry
        for step, (entry, _) in before.items()
    ]
    return [*kept, *(entry for step, (entry, _) in after.items() if step not in before)]


def _without(obj: Any, gone: Fields, kept: Fields, schema: Json) -> Any:
    """Remove the fields that nobody wants any more."""
    return _cut(obj, to_json(gone), to_json(kept), schema) if gone else obj


def _cut(value: Any, gone: Json, kept: Json, node: Json) -> Any:
    """
    Cut the tree of fields ``gone`` out of a value, but for what is in ``kept``.

    An item of a list goes as a whole when nobody else has anything in it.
    """
    if isinstance(value, dict):
        result = {}
        for key, entry in value.items():
            step = f"f:{key}"
            if step in gone and not gone[step] and step not in kept:
                continue
            inner = gone.get(step)
            below = kept.get(step, {})
            cut = _cut(entry, inner, below, child(node, key)) if inner else entry
            if inner and not cut and not below:
                continue
            result[key] = cut
        return result
    if not isinstance(value, list):
        return value
    if list_type(node) == "set":
        steps = steps_into(value, node) or {}
        return [entry for step, (entry, _) in steps.items() if step not in gone or step in kept]
    items = []
    for entry in value:
        step = key_step(entry, node)
        if step in gone and step not in kept:
            continue
        inner = {key: below for key, below in gone.get(step, {}).items() if key != "."}
        items.append(_cut(entry, inner, kept.get(step, {}), item(node)) if inner else entry)
    return items


def managers_of(obj: Json) -> dict[Manager, Fields]:
    """Read who manages what."""
    entries = obj.get("metadata", {}).get("managedFields") or ()
    return {(one["manager"], one["operation"]): from_json(one["fieldsV1"]) for one in entries}


def with_managers(call: Call, old: Json, new: Json, managers: dict[Manager, Fields]) -> Json:
    """Return ``new`` with its managers; entries that say the same as before keep their time."""
    before = {
        (one["manager"], one["operation"]): one
        for one in old.get("metadata", {}).get("managedFields") or ()
    }
    entries = []
    for (manager, operation), fields in managers.items():
        tree = to_json(fields)
        entry = before.get((manager, operation))
        if entry is None or entry["fieldsV1"] != tree:
            entry = {
                "manager": manager,
                "operation": operation,
                "apiVersion": call.resource.api_version,
                "time": now(),
                "fieldsType": "FieldsV1",
                "fieldsV1": tree,
            }
        if fields:
            entries.append(entry)
    return {**new, "metadata": {**new["metadata"], "managedFields": entries}}
