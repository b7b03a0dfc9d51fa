"""
What happens to an object between a valid request and the store, kind by kind.
"""

from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.errors import forbidden, not_found
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.state import State


def admitted(state: State, call: Call, new: Json, old: Json | None) -> Json:
    """Return the object as it is stored; raises what the cluster's rules refuse."""
    if old is None and call.namespace:
        _check_namespace(state, call)
    return new


def _check_namespace(state: State, call: Call) -> None:
    namespace = state.store.get("namespaces", "", call.namespace)
    if namespace is None:
        raise not_found("namespaces", call.namespace)
    if "deletionTimestamp" in namespace["metadata"]:
        why = (
            f"unable to create new content in namespace {call.namespace}"
            " because it is being terminated"
        )
        raise forbidden(call.resource.qualified, call.name, why)
