"""
What the cluster adds to a pod, and what it refuses of one.

Called by ``admission``: the service account and its token, limits, priority,
tolerations, the level of Pod Security, the change of a running pod's size.
"""

import secrets

from caesarion_hub.pods import pod_security

from tests.fakes.kubernetes.apiserver import limits
from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.defaults import MODE, containers_of
from tests.fakes.kubernetes.apiserver.errors import forbidden, invalid
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.pod_validation import check_resize
from tests.fakes.kubernetes.apiserver.state import State

TOKENS_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
SYSTEM_PRIORITIES = {"system-cluster-critical": 2000000000, "system-node-critical": 2000001000}
NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
ENFORCE = "pod-security.kubernetes.io/enforce"
WARN = "pod-security.kubernetes.io/warn"
TEMPLATES = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job")


def admit(state: State, call: Call, new: Json, old: Json | None) -> None:
    """Fill in a pod that is created; an update only keeps what was filled in."""
    if old is not None:
        return
    _account(state, new)
    ranges = state.store.all("limitranges", call.namespace)
    limits.fill(new["spec"], ranges)
    if problems := limits.pod_problems(new["spec"], ranges):
        why = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise forbidden("pods", new["metadata"]["name"], why)
    _priority(state, new)
    _tolerate(new["spec"])
    new["status"] = {"phase": "Pending", "qosClass": quality(new["spec"])}


def _account(state: State, pod: Json) -> None:
    """Put the service account's token into a pod, as a projected volume."""
    spec, metadata = pod["spec"], pod["metadata"]
    name = spec.get("serviceAccountName") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = state.store.get("serviceaccounts", metadata["namespace"], name)
    if account is None:
        who = f"{metadata['namespace']}/{name}"
        why = f'error looking up service account {who}: serviceaccount "{name}" not found'
        raise forbidden("pods", metadata["name"], why)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    automount = account.get("automountServiceAccountToken", True)
    if not spec.get("automountServiceAccountToken", automount):
        return
    volume = f"kube-api-access-{secrets.token_hex(3)[:5]}"
    wants = [
        container
        for container in containers_of(spec)
        if all(one["mountPath"] != TOKENS_PATH for one in container.get("volumeMounts") or ())
    ]
    mount = {"name": volume, "mountPath": TOKENS_PATH, "readOnly": True}
    for container in wants:
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    if wants:
        spec["volumes"] = [*(spec.get("volumes") or ()), _token_volume(volume)]


def _token_volume(name: str) -> Json:
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": authority},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"defaultMode": MODE, "sources": sources}}


def _priority(state: State, pod: Json) -> None:
    """Turn the name of a PriorityClass into a number; no name is the default class, or 0."""
    spec = pod["spec"]
    classes = state.store.all("priorityclasses.scheduling.k8s.io")
    name = spec.get("priorityClassName")
    if not name:
        found = next((one for one in classes if one.get("globalDefault")), None)
    elif name in SYSTEM_PRIORITIES:
        found = {"metadata": {"name": name}, "value": SYSTEM_PRIORITIES[name]}
    else:
        found = next((one for one in classes if one["metadata"]["name"] == name), None)
        if found is None:
            why = f"no PriorityClass with name {name} was found"
            raise forbidden("pods", pod["metadata"]["name"], why)
    if found is not None:
        spec["priorityClassName"] = found["metadata"]["name"]
    spec["priority"] = found["value"] if found else 0
    spec["preemptionPolicy"] = (found or {}).get("preemptionPolicy", "PreemptLowerPriority")


def _tolerate(spec: Json) -> None:
    """Let a pod stay for five minutes on a node that is away, unless it says otherwise."""
    tolerations = spec.setdefault("tolerations", [])
    for taint in NODE_TAINTS:
        if not any(
            one.get("key") in (None, "", taint) and one.get("effect") in (None, "", "NoExecute")
            for one in tolerations
        ):
            five_minutes = {"effect": "NoExecute", "tolerationSeconds": 300}
            tolerations.append({"key": taint, "operator": "Exists", **five_minutes})


def quality(spec: Json) -> str:
    """Return a pod's class of quality of service, which its resources decide."""
    resources = [container.get("resources") or {} for container in containers_of(spec)]
    if not any(one.get(field) for one in resources for field in ("requests", "limits")):
        return "BestEffort"
    for one in resources:
        asked, limit = one.get("requests") or {}, one.get("limits") or {}
        if any(name not in limit or asked.get(name) != limit[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def check_security(state: State, call: Call, obj: Json) -> None:
    """
    Refuse a pod that violates its namespace's level of Pod Security.

    Workloads are not refused, as their pods will be; who makes them is warned
    if the namespace says so.
    """
    if obj["kind"] != "Pod" and obj["kind"] not in TEMPLATES:
        return
    namespace = state.store.get("namespaces", "", call.namespace) or {"metadata": {}}
    labels = namespace["metadata"].get("labels") or {}
    spec = obj["spec"] if obj["kind"] == "Pod" else obj["spec"]["template"]["spec"]
    warned = labels.get(WARN, "privileged")
    if told := pod_security.violations(warned, spec):
        call.warnings.append(f'would violate PodSecurity "{warned}:latest": {", ".join(told)}')
    if obj["kind"] != "Pod":
        return
    enforced = labels.get(ENFORCE, "privileged")
    if told := pod_security.violations(enforced, spec):
        why = f'violates PodSecurity "{enforced}:latest": {", ".join(told)}'
        raise forbidden("pods", obj["metadata"]["name"], why)


def resize(state: State, call: Call, new: Json, old: Json) -> None:
    """Check the new size of a running pod; its kubelet then makes it so."""
    causes = list(check_resize(new["spec"], old["spec"]))
    if causes:
        raise invalid("Pod", call.name, causes)
    if quality(new["spec"]) != quality(old["spec"]):
        why = "Pod QOS Class may not change as a result of resizing"
        raise invalid(
            "Pod", call.name, [{"field": "spec", "reason": "FieldValueInvalid", "message": why}]
        )
    ranges = state.store.all("limitranges", call.namespace)
    if problems := limits.pod_problems(new["spec"], ranges):
        raise forbidden("pods", call.name, problems[0])
