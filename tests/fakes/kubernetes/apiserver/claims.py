"""Claims: their default class, limits and protection. Called by ``admission``."""

from tests.fakes.kubernetes.apiserver import limits
from tests.fakes.kubernetes.apiserver.errors import forbidden
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.state import State

IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
PROTECTION = "kubernetes.io/pvc-protection"


def admit(state: State, new: Json, old: Json | None) -> None:
    """Give a claim the default storage class, and a finalizer while pods use it."""
    metadata, spec = new["metadata"], new["spec"]
    if old is None:
        new["status"] = {"phase": "Pending"}
        metadata["finalizers"] = [*metadata.get("finalizers", ()), PROTECTION]
    if "storageClassName" not in spec:
        if old is not None and "storageClassName" in old["spec"]:
            spec["storageClassName"] = old["spec"]["storageClassName"]
        elif name := default_class(state):
            spec["storageClassName"] = name
    if old is not None and "volumeName" in old["spec"]:
        spec.setdefault("volumeName", old["spec"]["volumeName"])
    ranges = state.store.all("limitranges", metadata["namespace"])
    if problems := limits.claim_problems(spec, ranges):
        why = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise forbidden("persistentvolumeclaims", metadata["name"], why)


def default_class(state: State) -> str:
    """Return the name of the default storage class, "" if there is none."""
    for one in state.store.all("storageclasses.storage.k8s.io"):
        if (one["metadata"].get("annotations") or {}).get(IS_DEFAULT) == "true":
            name: str = one["metadata"]["name"]
            return name
    return ""
