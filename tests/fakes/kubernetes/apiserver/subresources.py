"""
What pods and others have besides themselves: binding, scale, resize, eviction, tokens.

``handlers`` calls :func:`answer` for every subresource but ``status``, which
``operations`` knows, and ``log``, which ``logs`` fetches from the node.
"""

from typing import Any

from tests.fakes.kubernetes.apiserver import deletion, operations
from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.disruption import check_budgets
from tests.fakes.kubernetes.apiserver.errors import (
    ApiError,
    bad_request,
    cause,
    conflict,
    invalid,
    not_implemented,
)
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.patches import json_patch, merge_patch
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.times import now

SUCCESS: Json = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": 201,
}


def answer(state: State, call: Call, kind: str, body: Any) -> tuple[int, Json]:
    """Do what a call of a subresource asks for; ``kind`` is the body's content type."""
    match call.subresource:
        case "binding" if call.verb == "create":
            return 201, bind(state, call, body)
        case "eviction" if call.verb == "create":
            return 201, evict(state, call, body)
        case "token" if call.verb == "create":
            return 201, state.tokens.request(state.store, call, body)
        case "scale":
            return 200, scale(state, call, kind, body)
        case "resize" if call.verb in ("get", "patch", "update"):
            return 200, whole(state, call, kind, body)
        case "finalize" if call.verb == "update":
            return 200, operations.update(state, call, body)
    raise not_implemented(f"{call.verb} of {call.asked}")


def whole(state: State, call: Call, kind: str, body: Any) -> Json:
    """Read or write the object under a subresource that has all of it."""
    if call.verb == "get":
        return operations.get(state, call)
    if call.verb == "update":
        return operations.update(state, call, body)
    return operations.patch(state, call, kind, body)


def bind(state: State, call: Call, body: Any) -> Json:
    """Put a pod on a node; raises 409 if it is on one."""
    pod = operations.get(state, call)
    node = ((body or {}).get("target") or {}).get("name")
    if not node:
        raise invalid("Binding", call.name, [cause("target.name", "Required", "Required value")])
    if pod["spec"].get("nodeName"):
        why = f'pod {call.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        raise conflict("pods/binding", call.name, why)
    if "deletionTimestamp" in pod["metadata"]:
        raise conflict("pods/binding", call.name, f"pod {call.name} is being deleted")
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now(),
    }
    status = pod.get("status", {})
    others = [one for one in status.get("conditions", ()) if one["type"] != "PodScheduled"]
    bound = {
        **pod,
        "spec": {**pod["spec"], "nodeName": node},
        "status": {**status, "conditions": [*others, scheduled]},
    }
    state.store.put("pods", bound)
    return SUCCESS


def evict(state: State, call: Call, body: Any) -> Json:
    """Delete a pod unless a PodDisruptionBudget forbids it for now; that is 429."""
    pod = operations.get(state, call)
    check_budgets(state, pod)
    options = deletion.parse_options(call.query, (body or {}).get("deleteOptions"))
    deletion.mark(state, call.resource, pod, options)
    return SUCCESS


def scale(state: State, call: Call, kind: str, body: Any) -> Json:
    """Read or write the number of replicas as a Scale."""
    obj = operations.get(state, call)
    if call.verb == "get":
        return scale_of(obj)
    match kind:
        case _ if call.verb == "update":
            wanted = body
        case "application/merge-patch+json" | "application/strategic-merge-patch+json":
            wanted = merge_patch(scale_of(obj), body)
        case "application/json-patch+json":
            wanted = json_patch(scale_of(obj), body)
        case other:
            raise ApiError(415, f"a Scale cannot be patched with {other}")
    replicas = ((wanted or {}).get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request(f"spec.replicas: {replicas!r} is no number of replicas")
    version = ((wanted or {}).get("metadata") or {}).get("resourceVersion")
    if version and version != obj["metadata"]["resourceVersion"]:
        raise conflict(call.resource.qualified, call.name, operations.STALE)
    new = {**obj, "spec": {**obj["spec"], "replicas": replicas}}
    return scale_of(operations.replace(state, call, obj, new))


def scale_of(obj: Json) -> Json:
    """Return the Scale of a workload."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in labels.items()),
        },
    }
