"""
How objects go: at once, after their finalizers, or, for pods, after their grace.

``handlers`` calls it for DELETE, ``collector`` for what goes along. A pod on a
node only gets a ``deletionTimestamp``: its kubelet stops it and then deletes
it with no grace.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.errors import bad_request, conflict, forbidden
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.operations import get, is_done, page
from tests.fakes.kubernetes.apiserver.resources import Resource
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.times import written

PROTECTED = ("default", "kube-system", "kube-public")
POLICIES = ("Background", "Foreground", "Orphan")
FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


@dataclass(frozen=True)
class Options:
    """``DeleteOptions``, from a body or a query; ``grace`` is in seconds."""

    grace: int | None = None
    policy: str = "Background"
    uid: str = ""
    version: str = ""
    is_dry_run: bool = False


def parse_options(query: Mapping[str, str], body: Any) -> Options:
    """Read how to delete; raises 400 for a body that is no DeleteOptions."""
    body = body or {}
    if not isinstance(body, dict) or body.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request(f"the body of a deletion is DeleteOptions, not {body!r}")
    merged = {**query, **{key: value for key, value in body.items() if value is not None}}
    policy = merged.get("propagationPolicy") or "Background"
    if str(merged.get("orphanDependents", "")).lower() == "true":
        policy = "Orphan"
    if policy not in POLICIES:
        raise bad_request(f"propagationPolicy {policy!r} is none of {', '.join(POLICIES)}")
    grace = merged.get("gracePeriodSeconds")
    preconditions = merged.get("preconditions") or {}
    return Options(
        grace=None if grace is None else int(grace),
        policy=policy,
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
        is_dry_run=bool(merged.get("dryRun")),
    )


def delete(state: State, call: Call, options: Options) -> Json:
    """Delete the object that a call names; return it if it lingers, else a Status."""
    obj = get(state, call)
    metadata = obj["metadata"]
    for field, wanted in (("uid", options.uid), ("resourceVersion", options.version)):
        if wanted and metadata[field] != wanted:
            why = f"Precondition failed: {field} is {metadata[field]}, not {wanted}"
            raise conflict(call.resource.qualified, call.name, why)
    if call.resource.qualified == "namespaces" and call.name in PROTECTED:
        raise forbidden("namespaces", call.name, "this namespace may not be deleted")
    after = mark(state, call.resource, obj, options)
    if after is not None or call.resource.qualified == "pods":
        return after or obj
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": call.name,
            **({"group": call.resource.group} if call.resource.group else {}),
            "kind": call.resource.plural,
            "uid": metadata["uid"],
        },
    }


def delete_collection(state: State, call: Call, options: Options) -> Json:
    """Delete all objects that a call selects; return them as a List."""
    found = page(state, call)
    for obj in found["items"]:
        mark(state, call.resource, obj, options)
    return found


def mark(state: State, resource: Resource, obj: Json, options: Options) -> Json | None:
    """Remove an object, or mark it for deletion and return it if something must happen first."""
    marked = _marked(resource, obj, options)
    if options.is_dry_run or marked == obj:
        return marked
    if is_done(marked):
        state.store.remove(resource.qualified, marked)
        return None
    return state.store.put(resource.qualified, marked)


def _marked(resource: Resource, obj: Json, options: Options) -> Json:
    metadata = dict(obj["metadata"])
    grace = _grace(resource, obj, options)
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = written(time.time() + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if finalizer := FINALIZERS.get(options.policy):
            metadata["finalizers"] = [*metadata.get("finalizers", ()), finalizer]
        if "generation" in metadata:
            metadata["generation"] += 1
    elif grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = written(time.time() + grace)
        metadata["deletionGracePeriodSeconds"] = grace
    marked = {**obj, "metadata": metadata}
    if resource.qualified == "namespaces":
        marked["status"] = {**obj.get("status", {}), "phase": "Terminating"}
    return marked


def _grace(resource: Resource, obj: Json, options: Options) -> int:
    """Return the seconds that a pod may take; nothing else takes any."""
    if resource.qualified != "pods":
        return 0
    is_over = obj.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if is_over or not obj["spec"].get("nodeName"):
        return 0
    if options.grace is not None:
        return max(options.grace, 0)
    grace: int = obj["spec"].get("terminationGracePeriodSeconds", 30)
    return grace
