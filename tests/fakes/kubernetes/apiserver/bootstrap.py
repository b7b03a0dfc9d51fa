"""
What is in a cluster before anybody puts anything there.

``server`` calls it once, when it starts with an empty store.
"""

from collections.abc import Iterator

from tests.fakes.kubernetes.apiserver import operations
from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.rbac import GROUP, MASTERS
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.apiserver.tokens import ADMIN

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/version/")
DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *PUBLIC)


def fill(state: State, host: str, port: int) -> None:
    """Create what every cluster has; the API server is one of its Services."""
    for obj in (*make_objects(state), make_endpoints(host, port)):
        resource = state.resources.of_kind(obj["apiVersion"], obj["kind"])
        if resource is None:
            raise LookupError(f"{obj['kind']} is not among the resources")
        namespace = obj["metadata"].get("namespace", "")
        call = Call("create", resource, namespace, user=ADMIN, agent="kube-apiserver")
        operations.create(state, call, obj)


def make_endpoints(host: str, port: int) -> Json:
    """Return where the Service ``kubernetes`` leads."""
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": host}], "ports": [{"name": "https", "port": port}]}],
    }


def make_objects(state: State) -> Iterator[Json]:
    """Yield the objects of an empty cluster."""
    for name in NAMESPACES:
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {
            "clusterIP": next(state.free_addresses()),
            "ports": [{"name": "https", "port": 443}],
        },
    }
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    yield _role("cluster-admin", everything, {"verbs": ["*"], "nonResourceURLs": ["*"]})
    yield _binding("cluster-admin", MASTERS)
    yield _role("system:discovery", {"verbs": ["get"], "nonResourceURLs": list(DISCOVERY)})
    yield _binding("system:discovery", "system:authenticated")
    yield _role("system:public-info-viewer", {"verbs": ["get"], "nonResourceURLs": list(PUBLIC)})
    everybody = ("system:authenticated", "system:unauthenticated")
    yield _binding("system:public-info-viewer", *everybody)
    yield _role(
        "system:basic-user",
        _create("authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        _create("authentication.k8s.io", "selfsubjectreviews"),
    )
    yield _binding("system:basic-user", "system:authenticated")


def _create(group: str, *plurals: str) -> Json:
    return {"verbs": ["create"], "apiGroups": [group], "resources": list(plurals)}


def _role(name: str, *rules: Json) -> Json:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": list(rules),
    }


def _binding(name: str, *groups: str) -> Json:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "Group", "name": group} for group in groups],
    }
