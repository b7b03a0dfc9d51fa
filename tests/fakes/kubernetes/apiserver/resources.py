"""
The kinds that this API server serves, one line each.

``discovery`` tells clients of them, ``paths`` finds them by URL, ``objects``
of them are kept by ``store``. A kind that is not here is answered 501: it is
better to add a line, and what the kind needs in ``defaults`` and
``validation``, than to pretend.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fakes.kubernetes.apiserver.objects import Json

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """
    A kind under its URL: ``/apis/<group>/<version>/.../<plural>``.

    ``subresources`` maps a name to the kind that its body has. ``verbs`` of a
    kind that is only ever created, such as a review, is ``("create",)``.
    ``schema`` is the OpenAPI schema of a custom resource; the others' come
    from kubernetes-validate.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ("status",)
    verbs: tuple[str, ...] = ALL_VERBS
    categories: tuple[str, ...] = ()
    schema: Json | None = field(default=None, hash=False, compare=False)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The plural with its group, as messages and storage name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources


def make_builtin() -> Iterator[Resource]:
    """Yield what a cluster serves before anybody defines a kind of their own."""
    none: tuple[str, ...] = ()
    scaled = ("status", "scale")
    every = ("all",)
    pod = ("status", "binding", "eviction", "log", "resize")
    once = ("create",)

    yield Resource("", "v1", "pods", "Pod", True, ("po",), pod, categories=every)
    yield Resource("", "v1", "services", "Service", True, ("svc",), categories=every)
    yield Resource("", "v1", "endpoints", "Endpoints", True, ("ep",), none)
    yield Resource("", "v1", "configmaps", "ConfigMap", True, ("cm",), none)
    yield Resource("", "v1", "secrets", "Secret", True, (), none)
    yield Resource("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",), ("token",))
    yield Resource("", "v1", "events", "Event", True, ("ev",), none)
    yield Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",))
    yield Resource("", "v1", "persistentvolumes", "PersistentVolume", False, ("pv",))
    yield Resource("", "v1", "resourcequotas", "ResourceQuota", True, ("quota",))
    yield Resource("", "v1", "limitranges", "LimitRange", True, ("limits",), none)
    yield Resource("", "v1", "namespaces", "Namespace", False, ("ns",), ("status", "finalize"))
    yield Resource("", "v1", "nodes", "Node", False, ("no",))

    yield Resource(
        "apps", "v1", "deployments", "Deployment", True, ("deploy",), scaled, categories=every
    )
    yield Resource(
        "apps", "v1", "replicasets", "ReplicaSet", True, ("rs",), scaled, categories=every
    )
    yield Resource(
        "apps", "v1", "statefulsets", "StatefulSet", True, ("sts",), scaled, categories=every
    )
    yield Resource("apps", "v1", "daemonsets", "DaemonSet", True, ("ds",), categories=every)
    yield Resource("apps", "v1", "controllerrevisions", "ControllerRevision", True, (), none)

    yield Resource("batch", "v1", "jobs", "Job", categories=every)
    yield Resource("batch", "v1", "cronjobs", "CronJob", True, ("cj",), categories=every)

    hpa = "horizontalpodautoscalers"
    yield Resource(
        "autoscaling", "v2", hpa, "HorizontalPodAutoscaler", True, ("hpa",), categories=every
    )

    pdb = "poddisruptionbudgets"
    yield Resource("policy", "v1", pdb, "PodDisruptionBudget", True, ("pdb",))

    networking = "networking.k8s.io"
    yield Resource(networking, "v1", "networkpolicies", "NetworkPolicy", True, ("netpol",), none)
    yield Resource(networking, "v1", "ingresses", "Ingress", True, ("ing",))
    yield Resource(networking, "v1", "ingressclasses", "IngressClass", False, (), none)

    rbac = "rbac.authorization.k8s.io"
    yield Resource(rbac, "v1", "roles", "Role", True, (), none)
    yield Resource(rbac, "v1", "rolebindings", "RoleBinding", True, (), none)
    yield Resource(rbac, "v1", "clusterroles", "ClusterRole", False, (), none)
    yield Resource(rbac, "v1", "clusterrolebindings", "ClusterRoleBinding", False, (), none)

    classes = "priorityclasses"
    yield Resource("scheduling.k8s.io", "v1", classes, "PriorityClass", False, ("pc",), none)
    yield Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", False, ("sc",), none)
    yield Resource("coordination.k8s.io", "v1", "leases", "Lease", True, (), none)
    yield Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True, (), none)
    yield Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", False, (), none)

    crd, crds = "CustomResourceDefinition", "customresourcedefinitions"
    yield Resource("apiextensions.k8s.io", "v1", crds, crd, False, ("crd", "crds"))

    authn, authz = "authentication.k8s.io", "authorization.k8s.io"
    yield Resource(authn, "v1", "tokenreviews", "TokenReview", False, (), none, once)
    yield Resource(authn, "v1", "selfsubjectreviews", "SelfSubjectReview", False, (), none, once)
    access = "SubjectAccessReview"
    yield Resource(authz, "v1", "subjectaccessreviews", access, False, (), none, once)
    yield Resource(authz, "v1", "selfsubjectaccessreviews", f"Self{access}", False, (), none, once)
    yield Resource(authz, "v1", "localsubjectaccessreviews", f"Local{access}", True, (), none, once)
    rules = "SelfSubjectRulesReview"
    yield Resource(authz, "v1", "selfsubjectrulesreviews", rules, False, (), none, once)


class Resources:
    """What is served now: the built-in kinds and those of custom definitions."""

    def __init__(self) -> None:
        self._served = {self._place(resource): resource for resource in make_builtin()}

    @staticmethod
    def _place(resource: Resource) -> tuple[str, str, str]:
        return resource.group, resource.version, resource.plural

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._served.values())

    def add(self, resource: Resource) -> None:
        self._served[self._place(resource)] = resource

    def remove(self, resource: Resource) -> None:
        self._served.pop(self._place(resource), None)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._served.get((group, version, plural))

    def of(self, plural: str, group: str = "") -> Resource:
        """Return a kind that is known to be served, by its plural and group."""
        return next(one for one in self if (one.plural, one.group) == (plural, group))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """Return the kind of an object or of an owner reference, if it is served."""
        found = (one for one in self if (one.api_version, one.kind) == (api_version, kind))
        return next(found, None)

    def stored(self) -> Iterator[Resource]:
        """Yield the kinds whose objects are kept."""
        return (resource for resource in self if "list" in resource.verbs)
