"""
``/openapi/v3``: the schemas of what is served, as kubectl and helm download them.

They look here whether the server validates fields itself, which is why each
kind has the path of its PATCH, and how lists are merged. Pure; ``handlers``
serves it. The old ``/openapi/v2``, where clients look for kinds that they did
not find in v3, knows none: so they say that there is no such kind.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.resources import Resource
from tests.fakes.kubernetes.apiserver.schemas import REF, definitions, names_of_kinds

V2 = b"\x0a\x032.0"  # protobuf: the version, and nothing defined
V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
COMPONENTS = "#/components/schemas/"
FIELD_VALIDATION = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}


def index(resources: Iterable[Resource]) -> Json:
    """Return what ``/openapi/v3`` says: where the document of each version is."""
    paths = sorted({_root(resource)[1:] for resource in resources})
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in paths}}


def document(resources: Iterable[Resource], root: str) -> Json | None:
    """Return the document of ``api/v1`` or ``apis/<group>/<version>``; None if none is served."""
    served = [resource for resource in resources if _root(resource) == f"/{root}"]
    if not served:
        return None
    schemas: Json = {}
    for resource in served:
        schemas |= dict(_schemas(resource))
    paths = {_path(resource): _operations(resource) for resource in served}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes, a test double", "version": "v1.37.1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _root(resource: Resource) -> str:
    return f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"


def _path(resource: Resource) -> str:
    namespace = "/namespaces/{namespace}" if resource.namespaced else ""
    return f"{_root(resource)}{namespace}/{resource.plural}/{{name}}"


def _operations(resource: Resource) -> Json:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    operation = {
        "parameters": [FIELD_VALIDATION],
        "responses": {},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": kind,
    }
    return {"patch": operation}


def _schemas(resource: Resource) -> Iterator[tuple[str, Json]]:
    if resource.schema is not None:
        kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        name = f"{resource.group}.{resource.version}.{resource.kind}"
        yield name, {**_open(resource.schema), "x-kubernetes-group-version-kind": [kind]}
        return
    seen: set[str] = set()
    waiting = [names_of_kinds()[resource.group, resource.version, resource.kind]]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            yield name, _open(definitions()[name])
            waiting.extend(_references(definitions()[name]))


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        # The schema of schemas has a property of this name, too.
        if isinstance(reference := node.get("$ref"), str):
            yield reference.removeprefix(REF)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _open(node: Any) -> Any:
    """Return a strict JSON schema as OpenAPI has it: no null types, references elsewhere."""
    if isinstance(node, list):
        return [_open(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    result: Json = {}
    for key, value in node.items():
        if key == "$ref":
            result["allOf"] = [{"$ref": COMPONENTS + value.removeprefix(REF)}]
        elif key == "type" and isinstance(value, list):
            result[key] = next(kind for kind in value if kind != "null")
        elif key == "properties":
            result[key] = {name: _open(inner) for name, inner in value.items()}
        elif key != "additionalProperties" or value is not False:
            result[key] = _open(value)
    return result
