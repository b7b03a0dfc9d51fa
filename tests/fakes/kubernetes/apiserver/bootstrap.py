"""
What is in a cluster before anybody puts anything there.

``server`` calls it once, when it starts with an empty store.
"""

from collections.abc import Iterator

from tests.fakes.kubernetes.apiserver import operations
from tests.fakes.kubernetes.apiserver.calls import Call, User
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.state import State

ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def fill(state: State) -> None:
    """Create what every cluster has."""
    for obj in make_objects():
        resource = state.resources.of_kind(obj["apiVersion"], obj["kind"])
        if resource is None:
            raise LookupError(f"{obj['kind']} is not among the resources")
        namespace = obj["metadata"].get("namespace", "")
        call = Call("create", resource, namespace, user=ADMIN, agent="kube-apiserver")
        operations.create(state, call, obj)


def make_objects() -> Iterator[Json]:
    """Yield the objects of an empty cluster."""
    for name in NAMESPACES:
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
