"""
Sets of an object's fields, as ``managedFields`` keeps them.

A field is the path of steps that FieldsV1 writes: ``f:spec``,
``k:{"name":"hub"}`` for an item of a list with keys, ``v:"x"`` for an item of
a set, and ``.`` for such an item itself. Pure; used by ``apply``. See
https://kubernetes.io/docs/reference/using-api/server-side-apply/.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.schemas import child, item, resolved

Path = tuple[str, ...]
Fields = frozenset[Path]

# Nobody manages these: they are the object's identity, or the server's.
UNMANAGED = {
    "metadata": (
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "generateName",
        "selfLink",
    ),
}
KEY_DEFAULTS = {"protocol": "TCP"}


def managed(obj: Json) -> Json:
    """Return the part of an object whose fields have managers."""
    part = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "status")}
    hidden = UNMANAGED["metadata"]
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in hidden}
    return {**part, "metadata": metadata} if metadata else without(part, "metadata")


def without(obj: Json, *keys: str) -> Json:
    return {key: value for key, value in obj.items() if key not in keys}


def fields_of(obj: Json, schema: Json) -> Fields:
    """Return all the fields that an object sets."""
    return frozenset(_paths(managed(obj), schema, ()))


def differences(old: Json, new: Json, schema: Json) -> tuple[Fields, Fields]:
    """Return the fields that ``new`` sets otherwise than ``old``, and those it no longer has."""
    changed: set[Path] = set()
    removed: set[Path] = set()
    _compare(managed(old), managed(new), schema, (), changed, removed)
    return frozenset(changed), frozenset(removed)


def steps_into(value: Any, node: Json) -> dict[str, tuple[Any, Json]] | None:
    """Return the steps from a value to its parts with their schemas; None for what has none."""
    if isinstance(value, dict):
        if not value or is_atomic(node):
            return None
        return {f"f:{key}": (entry, child(node, key)) for key, entry in value.items()}
    if isinstance(value, list) and value:
        inner = item(node)
        match list_type(node):
            case "map":
                return {key_step(entry, node): (entry, inner) for entry in value}
            case "set":
                return {f"v:{json.dumps(entry)}": (entry, {}) for entry in value}
    return None


def is_atomic(node: Json) -> bool:
    """Tell whether an object is managed as a whole."""
    kind = node.get("x-kubernetes-map-type") or resolved(node).get("x-kubernetes-map-type")
    return bool(kind == "atomic")


def list_type(node: Json) -> str:
    """Return ``map``, ``set`` or ``atomic``."""
    kind: str = node.get("x-kubernetes-list-type", "atomic")
    return kind


def key_step(entry: Json, node: Json) -> str:
    """Return the step to an item of a list with keys."""
    keys = node["x-kubernetes-list-map-keys"]
    values = {key: entry.get(key, KEY_DEFAULTS.get(key)) for key in sorted(keys)}
    known = {key: value for key, value in values.items() if value is not None}
    return f"k:{json.dumps(known, separators=(',', ':'))}"


def _paths(value: Any, node: Json, path: Path) -> Iterator[Path]:
    steps = steps_into(value, node)
    if steps is None:
        if path:
            yield path
        return
    for step, (entry, inner) in steps.items():
        if step[0] != "f":
            yield (*path, step, ".")
        if step[0] != "v":
            yield from _paths(entry, inner, (*path, step))


def _compare(
    old: Any, new: Any, node: Json, path: Path, changed: set[Path], removed: set[Path]
) -> None:
    if old == new:
        return
    before, after = steps_into(old, node), steps_into(new, node)
    if before is None or after is None:
        changed.update(_paths(new, node, path))
        removed.update(set(_paths(old, node, path)) - changed)
        return
    for step, (entry, inner) in after.items():
        if step in before:
            _compare(before[step][0], entry, inner, (*path, step), changed, removed)
        else:
            changed.update(_below(step, entry, inner, path))
    for step in before.keys() - after.keys():
        removed.update(_below(step, *before[step], path))


def _below(step: str, entry: Any, node: Json, path: Path) -> Iterator[Path]:
    if step[0] != "f":
        yield (*path, step, ".")
    if step[0] != "v":
        yield from _paths(entry, node, (*path, step))


def to_json(fields: Iterable[Path]) -> Json:
    """Write fields as FieldsV1."""
    tree: Json = {}
    for path in sorted(fields):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    return tree


def from_json(tree: Json) -> Fields:
    """Read FieldsV1."""
    return frozenset(_leaves(tree, ()))


def _leaves(tree: Json, path: Path) -> Iterator[Path]:
    if not tree and path:
        yield path
    for step, inner in tree.items():
        yield from _leaves(inner, (*path, step))


def value_at(obj: Any, path: Path, node: Json) -> Any:
    """Return what a field has in an object; None if it is not there."""
    for step in path:
        if step == ".":
            return True
        steps = steps_into(obj, node) or {}
        if step not in steps:
            return None
        obj, node = steps[step]
    return obj
