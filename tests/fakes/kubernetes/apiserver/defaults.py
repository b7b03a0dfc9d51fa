"""
What a real API server fills in where an object says nothing, kind by kind.

``admission`` calls :func:`fill` on a copy that nobody else has, at creation
and at every update, so that a client that sends only what it set changes
nothing. Only the kinds' own defaults are here: what depends on other objects,
such as a namespace's limits, is in ``admission``.
"""

import base64
from collections.abc import Callable, Iterator

from tests.fakes.kubernetes.apiserver.objects import Json

MODE = 0o644
A_QUARTER = {"maxSurge": "25%", "maxUnavailable": "25%"}


def fill(obj: Json) -> None:
    """Write the defaults of an object's kind into it."""
    if filler := FILLERS.get(obj["kind"]):
        filler(obj)


def default(obj: Json, **values: object) -> Json:
    """Set what is not set."""
    for key, value in values.items():
        if obj.get(key) is None:
            obj[key] = value
    return obj


def _pod(obj: Json) -> None:
    fill_pod_spec(obj.setdefault("spec", {}))
    default(obj["spec"], enableServiceLinks=True)


def fill_pod_spec(spec: Json) -> None:
    """Fill a pod's spec, or a template's."""
    default(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=30,
        securityContext={},
    )
    if name := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = name
    for container in containers_of(spec):
        _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)


def containers_of(spec: Json) -> Iterator[Json]:
    """Yield the init containers and the containers of a pod's spec."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _container(container: Json) -> None:
    _, _, tag = container.get("image", "").rpartition("/")[2].partition(":")
    is_latest = tag in ("", "latest") and "@" not in container.get("image", "")
    default(
        container,
        imagePullPolicy="Always" if is_latest else "IfNotPresent",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    limits = container["resources"].get("limits")
    if limits:
        requests = container["resources"].setdefault("requests", {})
        default(requests, **{key: limit for key, limit in limits.items() if key not in requests})
    for port in container.get("ports") or ():
        default(port, protocol="TCP")
    for variable in container.get("env") or ():
        if field := (variable.get("valueFrom") or {}).get("fieldRef"):
            default(field, apiVersion="v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            _probe(probe)


def _probe(probe: Json) -> None:
    default(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if "httpGet" in probe:
        default(probe["httpGet"], scheme="HTTP", path="/")


def _volume(volume: Json) -> None:
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        if source := volume.get(kind):
            default(source, defaultMode=MODE)
    if "hostPath" in volume:
        default(volume["hostPath"], type="")
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for source in (volume.get("projected") or {}).get("sources") or ():
        if "serviceAccountToken" in source:
            default(source["serviceAccountToken"], expirationSeconds=3600)


def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    default(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        default(
            spec,
            ipFamilies=["IPv4"],
            ipFamilyPolicy="SingleStack",
            internalTrafficPolicy="Cluster",
        )
    if spec["type"] in ("NodePort", "LoadBalancer"):
        default(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        default(spec, allocateLoadBalancerNodePorts=True)
    for port in spec.get("ports") or ():
        default(port, protocol="TCP", targetPort=port.get("port"))


def _secret(obj: Json) -> None:
    default(obj, type="Opaque")
    written = obj.pop("stringData", None) or {}
    if written:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in written.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _namespace(obj: Json) -> None:
    name = obj["metadata"]["name"]
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    default(obj.setdefault("spec", {}), finalizers=["kubernetes"])


def _template(obj: Json) -> Json:
    spec: Json = obj.setdefault("spec", {})
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    fill_pod_spec(template.setdefault("spec", {}))
    return spec


def _deployment(obj: Json) -> None:
    spec = default(_template(obj), replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = default(spec.setdefault("strategy", {}), type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        default(strategy.setdefault("rollingUpdate", {}), **A_QUARTER)


def _replica_set(obj: Json) -> None:
    default(_template(obj), replicas=1)


def _stateful_set(obj: Json) -> None:
    spec = default(
        _template(obj), replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady"
    )
    strategy = default(spec.setdefault("updateStrategy", {}), type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        default(strategy.setdefault("rollingUpdate", {}), partition=0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    default(retention, whenDeleted="Retain", whenScaled="Retain")
    for claim in spec.get("volumeClaimTemplates") or ():
        default(claim, apiVersion="v1", kind="PersistentVolumeClaim", status={"phase": "Pending"})
        default(claim.setdefault("spec", {}), volumeMode="Filesystem")


def _daemon_set(obj: Json) -> None:
    spec = default(_template(obj), revisionHistoryLimit=10)
    strategy = default(spec.setdefault("updateStrategy", {}), type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        default(strategy.setdefault("rollingUpdate", {}), maxSurge=0, maxUnavailable=1)


def _job(obj: Json) -> None:
    spec = default(
        _template(obj),
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
    )
    if "completions" not in spec and spec["parallelism"] == 1:
        spec["completions"] = 1
    default(spec, podReplacementPolicy="TerminatingOrFailed")


def _own_pods_by_label(obj: Json) -> None:
    """Select a Job's pods by its uid, as the real server does at creation."""
    spec, uid = obj["spec"], obj["metadata"].get("uid")
    if spec["manualSelector"] or not uid or "selector" in spec:
        return
    own = {"batch.kubernetes.io/controller-uid": uid}
    spec["selector"] = {"matchLabels": own}
    labels = spec["template"]["metadata"].setdefault("labels", {})
    name = obj["metadata"]["name"]
    labels |= {**own, "controller-uid": uid, "batch.kubernetes.io/job-name": name, "job-name": name}


def _job_with_selector(obj: Json) -> None:
    _job(obj)
    _own_pods_by_label(obj)


def _cron_job(obj: Json) -> None:
    default(
        obj.setdefault("spec", {}),
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    template = obj["spec"].get("jobTemplate") or {}
    if "spec" in template:
        fill_pod_spec(template["spec"].setdefault("template", {}).setdefault("spec", {}))


def _claim(obj: Json) -> None:
    default(obj.setdefault("spec", {}), volumeMode="Filesystem")


def _volume_object(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    default(spec, volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")


def _storage_class(obj: Json) -> None:
    default(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _priority_class(obj: Json) -> None:
    default(obj, preemptionPolicy="PreemptLowerPriority")


def _autoscaler(obj: Json) -> None:
    default(obj.setdefault("spec", {}), minReplicas=1)


def _network_policy(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    egress = ["Egress"] if spec.get("egress") else []
    default(spec, policyTypes=["Ingress", *egress], podSelector={})
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            default(port, protocol="TCP")


def _binding(obj: Json) -> None:
    group = "rbac.authorization.k8s.io"
    default(obj.get("roleRef") or {}, apiGroup=group)
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            default(subject, apiGroup=group)


FILLERS: dict[str, Callable[[Json], None]] = {
    "Pod": _pod,
    "Service": _service,
    "Secret": _secret,
    "Namespace": _namespace,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job_with_selector,
    "CronJob": _cron_job,
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _volume_object,
    "StorageClass": _storage_class,
    "PriorityClass": _priority_class,
    "HorizontalPodAutoscaler": _autoscaler,
    "NetworkPolicy": _network_policy,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
}
