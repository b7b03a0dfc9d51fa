"""
What is a valid object beyond its schema: names, references within it, what never changes.

``admission`` calls :func:`check` after the defaults are in. Pure. Not all that
a real server checks, but what people and charts get wrong.
"""

import re
from collections.abc import Callable, Iterator

from caesarion_hub.pods.pod_security import LEVELS

from tests.fakes.kubernetes.apiserver.errors import cause, invalid
from tests.fakes.kubernetes.apiserver.network_validation import (
    check_ingress,
    check_network_policy,
    check_service,
)
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.pod_validation import check_pod_spec, check_pod_update
from tests.fakes.kubernetes.apiserver.pods import ENFORCE, WARN
from tests.fakes.kubernetes.apiserver.resources import Resource
from tests.fakes.kubernetes.apiserver.selectors import matches_selector

Causes = Iterator[Json]

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)
SEGMENT = re.compile(r"(?!\.{1,2}$)[^/%]+")
QUALIFIED = re.compile(
    r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

MOST_ANNOTATIONS = 256 * 1024  # bytes in all
MOST_DATA = 1024 * 1024  # bytes of a Secret or a ConfigMap, whose limit is helm's too

RBAC_KINDS = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
WORKLOADS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")


def check(resource: Resource, new: Json, old: Json | None) -> None:
    """Raise 422 with everything that is wrong with an object."""
    causes = [*_metadata(resource, new), *_kind(new)]
    if old is not None:
        causes += _changes(new, old)
    if causes:
        raise invalid(resource.kind, new["metadata"]["name"], causes)


def _metadata(resource: Resource, obj: Json) -> Causes:
    metadata = obj["metadata"]
    name = metadata["name"]
    pattern, what = _name_rule(resource)
    if not pattern.fullmatch(name):
        yield cause("metadata.name", "Invalid", f'Invalid value: "{name}": {what}')
    for key, value in (metadata.get("labels") or {}).items():
        if not QUALIFIED.fullmatch(key) or not VALUE.fullmatch(value):
            why = (
                f'Invalid value: "{key}={value}": a valid label must be an empty string or consist'
            )
            why += " of at most 63 alphanumeric characters, '-', '_' or '.'"
            yield cause("metadata.labels", "Invalid", why)
    annotations = metadata.get("annotations") or {}
    if sum(len(key) + len(value) for key, value in annotations.items()) > MOST_ANNOTATIONS:
        why = f"Too long: may not be more than {MOST_ANNOTATIONS} bytes"
        yield cause("metadata.annotations", "TooLong", why)
    for key in annotations:
        if not QUALIFIED.fullmatch(key.lower()):
            why = f'Invalid value: "{key}": name part must consist of alphanumeric characters'
            yield cause("metadata.annotations", "Invalid", why)


def _name_rule(resource: Resource) -> tuple[re.Pattern[str], str]:
    if resource.kind in RBAC_KINDS:
        return SEGMENT, "may not contain '/' or '%'"
    if resource.kind == "Service":
        return SERVICE, "a DNS-1035 label must consist of lower case alphanumeric characters or '-'"
    lower = "must consist of lower case alphanumeric characters"
    if resource.kind == "Namespace":
        return LABEL, f"a lowercase RFC 1123 label {lower} or '-'"
    return SUBDOMAIN, f"a lowercase RFC 1123 subdomain {lower}, '-' or '.'"


def _kind(obj: Json) -> Causes:
    kind = obj["kind"]
    if kind == "Pod":
        yield from check_pod_spec(obj["spec"], "spec")
    elif kind in WORKLOADS:
        yield from _workload(obj)
    elif kind in CHECKS:
        yield from CHECKS[kind](obj)


def _workload(obj: Json) -> Causes:
    spec = obj["spec"]
    template = spec["template"]
    yield from check_pod_spec(template["spec"], "spec.template.spec")
    if template["spec"].get("restartPolicy") != "Always":
        why = (
            f'Unsupported value: "{template["spec"]["restartPolicy"]}": supported values: "Always"'
        )
        yield cause("spec.template.spec.restartPolicy", "NotSupported", why)
    if not matches_selector(spec.get("selector"), template["metadata"].get("labels") or {}):
        why = "Invalid value: `selector` does not match template `labels`"
        yield cause("spec.template.metadata.labels", "Invalid", why)


def _job(obj: Json) -> Causes:
    template = obj["spec"]["template"]["spec"]
    yield from check_pod_spec(template, "spec.template.spec")
    if template.get("restartPolicy") not in ("OnFailure", "Never"):
        why = 'Required value: valid values: "OnFailure", "Never"'
        yield cause("spec.template.spec.restartPolicy", "Required", why)


def _claim(obj: Json) -> Causes:
    spec = obj["spec"]
    if not spec.get("accessModes"):
        yield cause("spec.accessModes", "Required", "Required value: at least 1 access mode")
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield cause("spec.resources[storage]", "Required", "Required value")


def _data(obj: Json) -> Causes:
    size = sum(
        len(value) * 3 // 4 if field == "binaryData" or obj["kind"] == "Secret" else len(value)
        for field in ("data", "binaryData")
        for value in (obj.get(field) or {}).values()
    )
    if size > MOST_DATA:
        yield cause("data", "TooLong", f"Too long: may not be more than {MOST_DATA} bytes")
    for key in (*(obj.get("data") or {}), *(obj.get("binaryData") or {})):
        if not DATA_KEY.fullmatch(key):
            why = f'Invalid value: "{key}": a valid config key must consist of alphanumeric'
            yield cause(f"data[{key}]", "Invalid", f"{why} characters, '-', '_' or '.'")


def _binding(obj: Json) -> Causes:
    for index, subject in enumerate(obj.get("subjects") or ()):
        namespaced = subject.get("namespace") or obj["kind"] == "RoleBinding"
        if subject.get("kind") == "ServiceAccount" and not namespaced:
            yield cause(f"subjects[{index}].namespace", "Required", "Required value")


def _role(obj: Json) -> Causes:
    for index, rule in enumerate(obj.get("rules") or ()):
        place = f"rules[{index}]"
        if not rule.get("verbs"):
            yield cause(f"{place}.verbs", "Required", "Required value: verbs must contain a value")
        if rule.get("nonResourceURLs"):
            continue
        for field in ("apiGroups", "resources"):
            if not rule.get(field):
                why = f"Required value: resource rules must supply at least one {field}"
                yield cause(f"{place}.{field}", "Required", why)


def _budget(obj: Json) -> Causes:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        why = "Invalid value: minAvailable and maxUnavailable cannot be both set"
        yield cause("spec", "Invalid", why)


def _namespace(obj: Json) -> Causes:
    for key, value in (obj["metadata"].get("labels") or {}).items():
        if key in (ENFORCE, WARN) and value not in LEVELS:
            why = f'Invalid value: "{value}": must be one of {", ".join(LEVELS)}'
            yield cause(f"metadata.labels[{key}]", "Invalid", why)


CHECKS: dict[str, Callable[[Json], Causes]] = {
    "Namespace": _namespace,
    "Job": _job,
    "Service": check_service,
    "PersistentVolumeClaim": _claim,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "Role": _role,
    "ClusterRole": _role,
    "PodDisruptionBudget": _budget,
    "Ingress": check_ingress,
    "Secret": _data,
    "ConfigMap": _data,
    "NetworkPolicy": check_network_policy,
}

# What may never change after creation, by kind.
IMMUTABLE = {
    "Deployment": ("spec.selector",),
    "ReplicaSet": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"),
    "Job": ("spec.selector", "spec.template", "spec.completions"),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "Secret": ("type",),
    "PriorityClass": ("value", "preemptionPolicy"),
    "StorageClass": ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
}


def _changes(new: Json, old: Json) -> Causes:
    kind = new["kind"]
    for path in IMMUTABLE.get(kind, ()):
        if _at(new, path) != _at(old, path):
            yield cause(path, "Invalid", "Invalid value: field is immutable")
    if kind in ("ConfigMap", "Secret") and old.get("immutable"):
        for field in ("data", "binaryData"):
            if new.get(field) != old.get(field):
                why = "Forbidden: field is immutable when `immutable` is set"
                yield cause(field, "Forbidden", why)
    if kind == "Service" and new["spec"]["type"] != "ExternalName":
        before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
        if before and before != after:
            why = f'Invalid value: "{after}": field is immutable'
            yield cause("spec.clusterIPs[0]", "Invalid", why)
    if kind == "PersistentVolumeClaim":
        yield from _claim_changes(new["spec"], old["spec"])
    if kind == "Pod":
        yield from check_pod_update(new["spec"], old["spec"])


def _claim_changes(new: Json, old: Json) -> Causes:
    grows = ("resources", "volumeName", "volumeAttributesClassName")
    if any(new.get(key) != old.get(key) for key in {*new, *old} - {*grows}):
        why = (
            "Forbidden: spec is immutable after creation except resources.requests"
            " and volumeAttributesClassName for bound claims"
        )
        yield cause("spec", "Forbidden", why)


def _at(obj: Json, path: str) -> object:
    value: object = obj
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value
