"""
What happens to an object between a valid request and the store.

``operations`` calls :func:`admitted` for every creation and update: defaults
are filled in, what the cluster's other objects add (limits, priorities,
accounts, addresses) is added, and what its rules refuse is refused.
"""

from tests.fakes.kubernetes.apiserver import (
    claims,
    custom,
    defaults,
    pods,
    quota,
    services,
    validation,
)
from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.errors import forbidden, not_found
from tests.fakes.kubernetes.apiserver.objects import Json, copied
from tests.fakes.kubernetes.apiserver.rbac import check_escalation
from tests.fakes.kubernetes.apiserver.state import State

QUOTED = ("pods", "services", "persistentvolumeclaims")


def admitted(state: State, call: Call, new: Json, old: Json | None) -> Json:
    """Return the object as it is stored; raises 403, 404 and 422."""
    if call.subresource == "status":
        return new
    if old is None:
        _check_namespace(state, call)
    new = copied(new)
    defaults.fill(new)
    match new["kind"]:
        case "Pod" if call.subresource == "resize" and old is not None:
            pods.resize(state, call, new, old)
        case "Pod":
            pods.admit(state, call, new, old)
        case "Service":
            services.admit(state, new, old)
        case "PersistentVolumeClaim":
            claims.admit(state, new, old)
        case "Namespace" if old is None:
            new["status"] = {"phase": "Active"}
        case "ResourceQuota":
            quota.check_scopes(new)
        case "CustomResourceDefinition":
            custom.check(state, new)
    if call.subresource != "resize":
        validation.check(call.resource, new, old)
    pods.check_security(state, call, new)
    check_escalation(state.store, call, new)
    if call.namespace and (old is None or call.resource.qualified in QUOTED):
        quota.check(state, call.resource, new, old)
    return new


def _check_namespace(state: State, call: Call) -> None:
    if not call.namespace:
        return
    namespace = state.store.get("namespaces", "", call.namespace)
    if namespace is None:
        raise not_found("namespaces", call.namespace)
    if "deletionTimestamp" in namespace["metadata"]:
        why = (
            f"unable to create new content in namespace {call.namespace}"
            " because it is being terminated"
        )
        raise forbidden(call.resource.qualified, call.name, why)
