"""
Kinds of one's own: a CustomResourceDefinition adds them to what is served.

``admission`` checks a definition, ``housekeeping`` calls :func:`serve` and
:func:`withdraw`. Only the version that is stored is served.
"""

from typing import Any

from tests.fakes.kubernetes.apiserver.errors import cause, invalid
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.resources import Resource
from tests.fakes.kubernetes.apiserver.schemas import META, REF
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.times import now

CONDITIONS = (("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted"))


def check(state: State, definition: Json) -> None:
    """Raise 422 for a definition whose name or versions are wrong, or whose kind is built in."""
    spec, name = definition["spec"], definition["metadata"]["name"]
    causes = []
    wanted = f"{spec['names']['plural']}.{spec['group']}"
    if name != wanted:
        why = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        causes.append(cause("metadata.name", "Invalid", why))
    if sum(version["storage"] for version in spec["versions"]) != 1:
        why = "Invalid value: must have exactly one version marked as storage version"
        causes.append(cause("spec.versions", "Invalid", why))
    if any(one.group == spec["group"] and one.schema is None for one in state.resources):
        causes.append(
            cause("spec.group", "Invalid", f'Invalid value: "{spec["group"]}": is built in')
        )
    if causes:
        raise invalid("CustomResourceDefinition", name, causes)


def resource_of(definition: Json) -> Resource:
    """Return the kind that a definition defines."""
    spec = definition["spec"]
    names = spec["names"]
    version = next(version for version in spec["versions"] if version["storage"])
    own = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    subresources = tuple(version.get("subresources") or ())
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short=tuple(names.get("shortNames") or ()),
        subresources=tuple(one for one in subresources if one == "status"),
        categories=tuple(names.get("categories") or ()),
        schema=_schema(own),
    )


def _schema(own: Json) -> Json:
    """Return a definition's schema with what every object has."""
    identity: dict[str, Any] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": f"{REF}{META}ObjectMeta"},
    }
    return {"type": "object", **own, "properties": {**own.get("properties", {}), **identity}}


def serve_again(state: State) -> None:
    """Serve what the definitions in the store define, after a restart."""
    for definition in state.store.all("customresourcedefinitions.apiextensions.k8s.io"):
        state.resources.add(resource_of(definition))


def serve(state: State, definition: Json) -> None:
    """Serve what a definition defines, and say so in its status."""
    state.resources.add(resource_of(definition))
    conditions = [
        {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": now()}
        for kind, reason in CONDITIONS
    ]
    version = resource_of(definition).version
    status = {
        "conditions": conditions,
        "acceptedNames": definition["spec"]["names"],
        "storedVersions": [version],
    }
    if "status" not in definition:
        name = definition["metadata"]["name"]
        current = state.store.get("customresourcedefinitions.apiextensions.k8s.io", "", name)
        if current is not None:
            stored = {**current, "status": status}
            state.store.put("customresourcedefinitions.apiextensions.k8s.io", stored)


def withdraw(state: State, definition: Json) -> None:
    """Serve a kind no more; its objects go with it."""
    resource = resource_of(definition)
    for obj in state.store.all(resource.qualified):
        state.store.remove(resource.qualified, obj)
    state.resources.remove(resource)
