"""
The OpenAPI schemas of all kinds: what is a valid object, and how lists are merged.

They come from the package kubernetes-validate. Its own ``validate`` reads
2 MB of files a call and speaks of JSON schema; this walks the same schemas in
well under a millisecond and speaks as the API server does. ``operations``
checks bodies with it, ``patches`` and ``apply`` ask for merge keys,
``openapi`` serves them.
"""

import base64
import binascii
import functools
import importlib.resources
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.resources import Resource
from tests.fakes.kubernetes.quantities import quantity
from tests.fakes.kubernetes.times import read

VERSION = "1.37.0"
REF = "#/$defs/"
QUANTITY = f"{REF}io.k8s.apimachinery.pkg.api.resource.Quantity"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def _is_base64(value: Any) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return False
    return True


def _is_quantity(value: Any) -> bool:
    try:
        quantity(value)
    except ValueError:
        return False
    return True


def _is_time(value: Any) -> bool:
    try:
        read(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


FORMS = {"byte": _is_base64, "quantity": _is_quantity, "date-time": _is_time}


@dataclass(frozen=True)
class Problem:
    """``kind`` is ``unknown`` (a field), ``missing`` (a field) or ``type``."""

    kind: str
    path: str
    message: str


@functools.cache
def definitions() -> Json:
    """Return all definitions by name, such as ``io.k8s.api.core.v1.Pod``."""
    folder = importlib.resources.files("kubernetes_validate") / "kubernetes-json-schema"
    text = (folder / f"v{VERSION}-local-strict" / "_definitions.json").read_text()
    found: Json = json.loads(text)["$defs"]
    return found


@functools.cache
def names_of_kinds() -> dict[tuple[str, str, str], str]:
    """Return the name of the definition of each group, version and kind."""
    kinds = {}
    for name, definition in definitions().items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            kinds[kind["group"], kind["version"], kind["kind"]] = name
    return kinds


def schema_of(resource: Resource) -> Json:
    """Return the schema of a resource."""
    if resource.schema is not None:
        return resource.schema
    return schema_named(resource.api_version, resource.kind)


def schema_named(api_version: str, kind: str) -> Json:
    """Return the schema of a built-in kind, which need not be a resource."""
    group, _, version = api_version.rpartition("/")
    schema: Json = definitions()[names_of_kinds()[group, version, kind]]
    return schema


def resolved(node: Json) -> Json:
    """Follow a reference; keywords beside it, such as merge keys, stay with the property."""
    while "$ref" in node:
        node = definitions()[node["$ref"].removeprefix(REF)]
    return node


def child(node: Json, key: str) -> Json:
    """Return the schema of a property of a schema; empty if it says nothing of it."""
    node = resolved(node)
    found = node.get("properties", {}).get(key)
    if found is None:
        extra = node.get("additionalProperties")
        found = extra if isinstance(extra, dict) else {}
    schema: Json = found
    return schema


def item(node: Json) -> Json:
    """Return the schema of the items of a list."""
    schema: Json = resolved(node).get("items", {})
    return schema


def problems_of(obj: Json, schema: Json) -> list[Problem]:
    """Return all that is wrong with an object, as far as its schema knows."""
    return list(_problems(obj, schema, ""))


def _problems(value: Any, node: Json, path: str) -> Iterator[Problem]:
    is_quantity = node.get("$ref") == QUANTITY
    node = resolved(node)
    form = "quantity" if is_quantity else node.get("format", "")
    if form not in FORMS:
        form = ""
    if "oneOf" in node:
        kinds = [kind for option in node["oneOf"] for kind in _types(option)]
    else:
        kinds = _types(node)
    if value is None or not kinds:
        return
    if form and not FORMS[form](value):
        yield Problem("type", path, f"{json.dumps(value)} is no {form}")
    elif not _is(value, kinds):
        wanted = " or ".join(kind for kind in kinds if kind != "null")
        yield Problem("type", path, f"{json.dumps(value)} is not of type {wanted}")
    elif isinstance(value, dict):
        yield from _problems_of_fields(value, node, path)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _problems(entry, node.get("items", {}), f"{path}[{index}]")


def _problems_of_fields(value: Json, node: Json, path: str) -> Iterator[Problem]:
    properties = node.get("properties")
    extra = node.get("additionalProperties")
    if node.get("x-kubernetes-preserve-unknown-fields") or (properties is None and not extra):
        return
    for key, entry in value.items():
        place = f"{path}.{key}" if path else key
        if properties and key in properties:
            yield from _problems(entry, properties[key], place)
        elif isinstance(extra, dict):
            yield from _problems(entry, extra, place)
        else:
            yield Problem("unknown", place, f'unknown field "{place}"')
    for key in node.get("required", ()):
        if value.get(key) is None:
            yield Problem("missing", f"{path}.{key}" if path else key, "Required value")


def _types(node: Json) -> list[str]:
    kinds = node.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _is(value: Any, kinds: list[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in kinds
    if isinstance(value, float) and value.is_integer() and "integer" in kinds:
        return True
    return any(isinstance(value, TYPES[kind]) for kind in kinds)


def pruned(value: Any, node: Json) -> Any:
    """Return a copy without fields that the schema does not know, and without nulls."""
    node = resolved(node)
    if isinstance(value, list):
        return [pruned(entry, node.get("items", {})) for entry in value]
    if not isinstance(value, dict):
        return value
    properties = node.get("properties")
    extra = node.get("additionalProperties")
    open_to_all = not node or node.get("x-kubernetes-preserve-unknown-fields")
    if open_to_all or (properties is None and not isinstance(extra, dict)):
        return {key: pruned(entry, {}) for key, entry in value.items() if entry is not None}
    kept = {}
    for key, entry in value.items():
        schema = (properties or {}).get(key, extra)
        if entry is not None and isinstance(schema, dict):
            kept[key] = pruned(entry, schema)
    return kept
