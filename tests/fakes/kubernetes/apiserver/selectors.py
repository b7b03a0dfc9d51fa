"""
Label and field selectors, read strictly and matched against objects.

Pure. ``operations`` and ``watch`` select with them what a client asked for,
``eviction`` and the controllers' double match label selectors of objects.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubernetes.apiserver.errors import bad_request
from tests.fakes.kubernetes.apiserver.objects import Json

Labels = Mapping[str, str]
Requirement = Callable[[Labels], bool]

NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
ABSENT = re.compile(rf"\s*!\s*({NAME})\s*")
PRESENT = re.compile(rf"\s*({NAME})\s*")
EQUAL = re.compile(rf"\s*({NAME})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)\s*")
IN = re.compile(rf"\s*({NAME})\s+(in|notin)\s*\(([^()]*)\)\s*")
ORDER = re.compile(rf"\s*({NAME})\s*([<>])\s*(-?\d+)\s*")

FIELDS = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "secrets": ("type",),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
    "replicasets.apps": ("status.replicas",),
    "jobs.batch": ("status.successful",),
}


@dataclass(frozen=True)
class Selection:
    """What a list or a watch asks for: everything, if neither selector says anything."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[tuple[str, bool, str], ...] = ()

    def __call__(self, obj: Json) -> bool:
        if self.labels:
            labels = obj["metadata"].get("labels") or {}
            if not all(matches(labels) for matches in self.labels):
                return False
        return all((field_of(obj, path) == value) is equal for path, equal, value in self.fields)

    @property
    def name(self) -> str:
        """The one name that ``metadata.name=...`` asks for, which RBAC may allow by name."""
        names = [value for path, equal, value in self.fields if path == "metadata.name" and equal]
        return names[0] if names else ""


EVERYTHING = Selection()


def parse_selection(qualified: str, labels: str, fields: str) -> Selection:
    """Read both selectors of a request; raises 400 for what cannot be read."""
    return Selection(parse_labels(labels), parse_fields(qualified, fields))


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Read ``a=b,c!=d,e in (f,g),h notin (i),j,!k,l>3``."""
    if not text.strip():
        return ()
    return tuple(_requirement(part) for part in re.split(r",(?![^()]*\))", text))


def _requirement(text: str) -> Requirement:
    if match := IN.fullmatch(text):
        key, operator, listed = match.groups()
        return _one_of(key, {value.strip() for value in listed.split(",")}, operator == "in")
    if match := EQUAL.fullmatch(text):
        key, operator, value = match.groups()
        return _one_of(key, {value}, operator != "!=")
    if match := ORDER.fullmatch(text):
        key, operator, value = match.groups()
        return _ordered(key, operator, int(value))
    if match := ABSENT.fullmatch(text):
        absent = match.group(1)
        return lambda labels: absent not in labels
    if match := PRESENT.fullmatch(text):
        present = match.group(1)
        return lambda labels: present in labels
    raise bad_request(f"unable to parse requirement: {text!r} is no label requirement")


def _one_of(key: str, values: set[str], wanted: bool) -> Requirement:
    if wanted:
        return lambda labels: key in labels and labels[key] in values
    return lambda labels: key not in labels or labels[key] not in values


def _ordered(key: str, operator: str, bound: int) -> Requirement:
    def matches(labels: Labels) -> bool:
        value = labels.get(key, "")
        if not re.fullmatch(r"-?\d+", value):
            return False
        return int(value) > bound if operator == ">" else int(value) < bound

    return matches


def matches_selector(selector: Json | None, labels: Labels) -> bool:
    """
    Match a ``LabelSelector`` object: no selector is nothing, an empty one is everything.

    Raises ValueError for an operator that does not exist.
    """
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_matches(one, labels) for one in selector.get("matchExpressions") or ())


def _matches(expression: Json, labels: Labels) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case operator:
            raise ValueError(f"{operator!r} is no operator: In, NotIn, Exists or DoesNotExist are.")


def parse_fields(qualified: str, text: str) -> tuple[tuple[str, bool, str], ...]:
    """Read ``metadata.name=a,status.phase!=Running`` of the fields that the kind offers."""
    parsed = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: {text!r}; can't understand {part!r}")
        path, operator, value = match.groups()
        if path not in ("metadata.name", "metadata.namespace", *FIELDS.get(qualified, ())):
            raise bad_request(f"field label not supported: {path}")
        parsed.append((path, operator != "!=", value))
    return tuple(parsed)


def field_of(obj: Json, path: str) -> str:
    """Return a field as field selectors compare it: as a string, "" if it is not there."""
    if path == "source":
        return str((obj.get("source") or {}).get("component") or obj.get("reportingComponent", ""))
    value: Any = obj
    for part in path.split("."):
        value = (value or {}).get(part)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "false" if path in ("spec.unschedulable", "spec.hostNetwork") else ""
    return str(value)
