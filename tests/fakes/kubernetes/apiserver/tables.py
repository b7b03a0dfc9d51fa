"""
What ``kubectl get`` shows: lists as tables, which the server writes.

``handlers`` and ``watch`` show objects so to who asks for ``as=Table``. People
read it, in a terminal and in the report of a test that failed; the columns are
the real server's. Pure.
"""

import time
from collections.abc import Callable
from typing import Any

from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.store import encoded
from tests.fakes.kubernetes.times import read

ACCEPT = "as=Table"

# A column's name, what it shows, and whether only ``-o wide`` does.
Column = tuple[str, Callable[[Json], Any], bool]


def as_table(kind: str, listed: Json, include: str = "Metadata") -> Json:
    """Return a list, or one object, as a table; ``include`` is what comes with each row."""
    items = listed.get("items", [listed])
    columns = COLUMNS.get(kind, [AGE])
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {
            key: value
            for key, value in listed["metadata"].items()
            if key in ("resourceVersion", "continue", "remainingItemCount")
        },
        "columnDefinitions": [
            _definition("Name", wide=False),
            *(_definition(name, wide=wide) for name, _, wide in columns),
        ],
        "rows": [
            {
                "cells": [obj["metadata"].get("name", ""), *(show(obj) for _, show, _ in columns)],
                "object": obj if include == "Object" else _metadata(obj),
            }
            for obj in items
        ],
    }


def as_row(kind: str, obj: Json) -> bytes:
    """Return an object that a watch tells of as a table of one row."""
    return encoded(as_table(kind, obj))


def _definition(name: str, *, wide: bool) -> Json:
    return {
        "name": name,
        "type": "string",
        "format": "name" if name == "Name" else "",
        "description": name,
        "priority": int(wide),
    }


def _metadata(obj: Json) -> Json:
    version = "meta.k8s.io/v1"
    return {"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": obj["metadata"]}


def at(path: str, otherwise: Any = "<none>") -> Callable[[Json], Any]:
    """Return what shows a field by its path."""

    def show(obj: Json) -> Any:
        value: Any = obj
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        return otherwise if value is None else value

    return show


def since(text: str | None) -> str:
    """Show how long ago a time was, in its two largest units."""
    if not text:
        return "<unknown>"
    seconds = max(int(time.time() - read(text)), 0)
    for unit, letter, smaller, small in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= unit:
            rest = seconds % unit // smaller
            return (
                f"{seconds // unit}{letter}{rest}{small}" if rest else f"{seconds // unit}{letter}"
            )
    return f"{seconds}s"


def _age(obj: Json) -> str:
    return since(obj["metadata"].get("creationTimestamp"))


def _labels(path: str) -> Callable[[Json], str]:
    def show(obj: Json) -> str:
        labels = at(path, {})(obj)
        return ",".join(f"{key}={value}" for key, value in labels.items()) or "<none>"

    return show


def _ready(of: str) -> Callable[[Json], str]:
    return lambda obj: f"{at('status.readyReplicas', 0)(obj)}/{at(of, 0)(obj)}"


def _pod_ready(pod: Json) -> str:
    states = at("status.containerStatuses", [])(pod)
    return f"{sum(bool(one.get('ready')) for one in states)}/{len(pod['spec']['containers'])}"


def _pod_status(pod: Json) -> str:
    """Show why a pod is not running, where there is a reason."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    status = pod.get("status", {})
    for prefix, kind in (("Init:", "initContainerStatuses"), ("", "containerStatuses")):
        for one in status.get(kind) or ():
            state = one.get("state") or {}
            ended = state.get("terminated") or {}
            if reason := (state.get("waiting") or {}).get("reason"):
                return f"{prefix}{reason}"
            if ended and not (prefix and ended.get("exitCode") == 0):
                return f"{prefix}{ended.get('reason') or ended.get('exitCode')}"
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _restarts(pod: Json) -> str:
    return str(sum(one.get("restartCount", 0) for one in at("status.containerStatuses", [])(pod)))


def _ports(service: Json) -> str:
    ports = service["spec"].get("ports") or ()
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


def _event_object(event: Json) -> str:
    about = event.get("involvedObject") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _last_seen(event: Json) -> str:
    fields = ("lastTimestamp", "eventTime", "firstTimestamp")
    return since(next((event[field] for field in fields if event.get(field)), None))


def _node_status(node: Json) -> str:
    states = {one["type"]: one["status"] for one in at("status.conditions", [])(node)}
    return "Ready" if states.get("Ready") == "True" else "NotReady"


def _hosts(ingress: Json) -> str:
    return ",".join(rule.get("host", "*") for rule in at("spec.rules", [])(ingress)) or "*"


def _job_status(job: Json) -> str:
    done = [one["type"] for one in at("status.conditions", [])(job) if one["status"] == "True"]
    return done[-1] if done else "Running"


def _data(obj: Json) -> str:
    return str(len(obj.get("data") or ()) + len(obj.get("binaryData") or ()))


AGE: Column = ("Age", _age, False)
COLUMNS: dict[str, list[Column]] = {
    "Pod": [
        ("Ready", _pod_ready, False),
        ("Status", _pod_status, False),
        ("Restarts", _restarts, False),
        AGE,
        ("IP", at("status.podIP"), True),
        ("Node", at("spec.nodeName"), True),
    ],
    "Event": [
        ("Last Seen", _last_seen, False),
        ("Type", at("type", ""), False),
        ("Reason", at("reason", ""), False),
        ("Object", _event_object, False),
        ("Message", at("message", ""), False),
        ("Count", at("count", 1), True),
    ],
    "Deployment": [
        ("Ready", _ready("spec.replicas"), False),
        ("Up-to-date", at("status.updatedReplicas", 0), False),
        ("Available", at("status.availableReplicas", 0), False),
        AGE,
        ("Selector", _labels("spec.selector.matchLabels"), True),
    ],
    "ReplicaSet": [
        ("Desired", at("spec.replicas", 0), False),
        ("Current", at("status.replicas", 0), False),
        ("Ready", at("status.readyReplicas", 0), False),
        AGE,
    ],
    "StatefulSet": [("Ready", _ready("spec.replicas"), False), AGE],
    "DaemonSet": [
        ("Desired", at("status.desiredNumberScheduled", 0), False),
        ("Current", at("status.currentNumberScheduled", 0), False),
        ("Ready", at("status.numberReady", 0), False),
        ("Up-to-date", at("status.updatedNumberScheduled", 0), False),
        ("Available", at("status.numberAvailable", 0), False),
        AGE,
    ],
    "Job": [("Status", _job_status, False), ("Succeeded", at("status.succeeded", 0), False), AGE],
    "Service": [
        ("Type", at("spec.type"), False),
        ("Cluster-IP", at("spec.clusterIP"), False),
        ("Port(s)", _ports, False),
        AGE,
        ("Selector", _labels("spec.selector"), True),
    ],
    "PersistentVolumeClaim": [
        ("Status", at("status.phase", ""), False),
        ("Volume", at("spec.volumeName", ""), False),
        ("Capacity", at("status.capacity.storage", ""), False),
        ("StorageClass", at("spec.storageClassName", ""), False),
        AGE,
    ],
    "PodDisruptionBudget": [
        ("Min Available", at("spec.minAvailable", "N/A"), False),
        ("Max Unavailable", at("spec.maxUnavailable", "N/A"), False),
        ("Allowed Disruptions", at("status.disruptionsAllowed", 0), False),
        AGE,
    ],
    "Node": [
        ("Status", _node_status, False),
        AGE,
        ("Version", at("status.nodeInfo.kubeletVersion", ""), False),
    ],
    "Namespace": [("Status", at("status.phase", ""), False), AGE],
    "Ingress": [("Class", at("spec.ingressClassName"), False), ("Hosts", _hosts, False), AGE],
    "NetworkPolicy": [("Pod-Selector", _labels("spec.podSelector.matchLabels"), False), AGE],
    "Secret": [("Type", at("type", ""), False), ("Data", _data, False), AGE],
    "ConfigMap": [("Data", _data, False), AGE],
    "PriorityClass": [("Value", at("value", 0), False), AGE],
    "StorageClass": [("Provisioner", at("provisioner", ""), False), AGE],
}
