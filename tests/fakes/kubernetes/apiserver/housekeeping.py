"""
What a cluster does by itself: namespaces, claims, quotas, kinds of one's own.

An observer of the store that ``server`` attaches. New namespaces get their
account and the cluster's certificate, those that are deleted are emptied;
claims wait for their pods; quotas count. On a real cluster controllers do this
a moment later; here it is done at once. What needs time (pods, rollouts,
volumes) is for the controllers' double, a client.
"""

import uuid

from tests.fakes.kubernetes.apiserver import custom, quota
from tests.fakes.kubernetes.apiserver.claims import PROTECTION
from tests.fakes.kubernetes.apiserver.deletion import Options, mark
from tests.fakes.kubernetes.apiserver.objects import Json, key_of
from tests.fakes.kubernetes.apiserver.operations import is_done
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.apiserver.store import Event
from tests.fakes.kubernetes.times import now

AUTHORITY = "kube-root-ca.crt"
CLAIMS = "persistentvolumeclaims"
OVER = ("Succeeded", "Failed")


class Housekeeping:
    """Keeps a state's objects in order; ``authority`` is the certificate that pods get."""

    def __init__(self, state: State, authority: str) -> None:
        self.state = state
        self.authority = authority

    def observe(self, qualified: str, event: Event) -> None:
        """See to what follows from an event."""
        obj = event.object
        match qualified:
            case "namespaces":
                self._keep_namespace(event)
            case "pods" if event.type == "DELETED" or _phase(obj) in OVER:
                self._release_claims(obj["metadata"]["namespace"])
            case "persistentvolumeclaims" if "deletionTimestamp" in obj["metadata"]:
                self._release_claims(obj["metadata"]["namespace"])
            case "customresourcedefinitions.apiextensions.k8s.io" if event.type == "ADDED":
                custom.serve(self.state, obj)
            case "customresourcedefinitions.apiextensions.k8s.io" if event.type == "DELETED":
                custom.withdraw(self.state, obj)
        if namespace := obj["metadata"].get("namespace"):
            self._count(qualified, event, namespace)
            if event.type == "DELETED":
                self._after_deletion(namespace)

    def _keep_namespace(self, event: Event) -> None:
        name = event.object["metadata"]["name"]
        before = (event.previous or event.object)["metadata"].get("deletionTimestamp")
        if event.type == "ADDED":
            self._furnish(name)
        elif event.object["metadata"].get("deletionTimestamp") != before:
            self._empty(name)

    def _furnish(self, namespace: str) -> None:
        """Create what every namespace has, and again if somebody deletes it."""
        if self.state.store.get("serviceaccounts", namespace, "default") is None:
            account = _new("v1", "ServiceAccount", namespace, "default")
            self.state.store.put("serviceaccounts", account)
        if self.state.store.get("configmaps", namespace, AUTHORITY) is None:
            authority = _new("v1", "ConfigMap", namespace, AUTHORITY)
            self.state.store.put("configmaps", {**authority, "data": {"ca.crt": self.authority}})

    def _empty(self, namespace: str) -> None:
        for resource in list(self.state.resources.stored()):
            if resource.namespaced:
                for obj in self.state.store.all(resource.qualified, namespace):
                    if self.state.store.get(resource.qualified, *key_of(obj)) is not None:
                        mark(self.state, resource, obj, Options())
        self._end_namespace(namespace)

    def _after_deletion(self, namespace: str) -> None:
        found = self.state.store.get("namespaces", "", namespace)
        if found is None:
            return
        if "deletionTimestamp" in found["metadata"]:
            self._end_namespace(namespace)
        else:
            self._furnish(namespace)

    def _end_namespace(self, namespace: str) -> None:
        """Remove a namespace that is being deleted once nothing is in it."""
        found = self.state.store.get("namespaces", "", namespace)
        if found is None:
            return
        for resource in self.state.resources.stored():
            if resource.namespaced and self.state.store.count(resource.qualified, namespace):
                return
        emptied = {**found, "spec": {**found["spec"], "finalizers": []}}
        if is_done(emptied):
            self.state.store.remove("namespaces", emptied)
        else:
            self.state.store.put("namespaces", emptied)

    def _release_claims(self, namespace: str) -> None:
        """Let claims go that wait for their pods, if no pod on a node uses them any more."""
        used = {
            (volume.get("persistentVolumeClaim") or {}).get("claimName")
            for pod in self.state.store.all("pods", namespace)
            if _phase(pod) not in OVER and pod["spec"].get("nodeName")
            for volume in pod["spec"].get("volumes") or ()
        }
        for claim in self.state.store.all(CLAIMS, namespace):
            metadata = claim["metadata"]
            finalizers = metadata.get("finalizers") or []
            if "deletionTimestamp" not in metadata or metadata["name"] in used:
                continue
            if PROTECTION in finalizers:
                left = [one for one in finalizers if one != PROTECTION]
                released = {**claim, "metadata": {**metadata, "finalizers": left}}
                if is_done(released):
                    self.state.store.remove(CLAIMS, released)
                else:
                    self.state.store.put(CLAIMS, released)

    def _count(self, qualified: str, event: Event, namespace: str) -> None:
        """Write what is used into the status of a namespace's quotas."""
        previous: Json = event.previous or {}
        obj = event.object
        is_only_status = event.type == "MODIFIED" and previous.get("spec") == obj.get("spec")
        if is_only_status and qualified == "pods" and _phase(obj) == _phase(previous):
            return
        for one in self.state.store.all(quota.QUOTAS, namespace):
            status = quota.status_of(self.state, namespace, one)
            if one.get("status") != status:
                self.state.store.put(quota.QUOTAS, {**one, "status": status})


def _phase(pod: Json) -> str:
    phase: str = pod.get("status", {}).get("phase", "")
    return phase


def _new(api_version: str, kind: str, namespace: str, name: str) -> Json:
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": str(uuid.uuid4()),
        "creationTimestamp": now(),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
