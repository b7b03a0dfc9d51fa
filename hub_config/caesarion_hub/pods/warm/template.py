"""
Which part of a pod is its user's: what a warm pod leaves out, and what a claim delivers.

Called by ``pool``, ``stand_ins`` and ``claiming``. Pure. A :class:`Template` is made of the pods
of two users: what is equal in both is the warm pod, and the claim delivers the variables, labels
and annotations that differ. A start may claim a warm pod only if its own pod differs from the
template in nothing else, so whatever profiles, groups or hooks change leads to a cold start, and
never to a wrong pod. All pods are manifests in the form of the Kubernetes API.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from caesarion_hub.claims import NONCE_VARIABLE, WARM_ARGUMENT

Json = dict[str, Any]

STATE, WAITING = "caesarion.org/state", "warm"
"""The label of a warm pod; a claim removes it."""

DIGEST = "caesarion.org/warm-template"
"""The annotation of a warm pod with the digest of its template; a claim removes it."""

CLAIM = "caesarion.org/claim"
"""The annotation of a pod that was warm, with the id of its claim."""

CONTAINER, COMMAND = "notebook", "caesarion-singleuser"
LISTENS = "JUPYTERHUB_SERVICE_URL"

TOO_EARLY = ("command", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
"""The fields of a container that act before the claim, without the user's variables."""


class NoTemplateError(Exception):
    """No pod can wait for users; ``str`` of it says why, as the end of a sentence."""


class ColdStartError(Exception):
    """A pod that is not a warm one with an identity; ``str`` of it says what differs."""


@dataclass(frozen=True)
class Identity:
    """What makes a warm pod the pod of its user."""

    environment: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def patch(self, resource_version: str, claim: str) -> Json:
        """
        Return the merge patch that claims a pod; ``claim`` is the id of this claim.

        The API server refuses it with 409 if the pod has changed since ``resource_version``,
        so of two hubs that claim the same pod one wins.
        """
        return {
            "metadata": {
                "resourceVersion": resource_version,
                "labels": {**self.labels, STATE: None},
                "annotations": {**self.annotations, CLAIM: claim, DIGEST: None},
            }
        }


@dataclass(frozen=True)
class Parts:
    """A pod without its name, taken apart; ``env`` is that of the server's container."""

    labels: Json
    annotations: Json
    env: Json
    rest: Json

    @classmethod
    def of(cls, pod: Json) -> "Parts":
        """Take a pod apart."""
        rest = deepcopy(pod)
        metadata = rest["metadata"]
        metadata.pop("name", None)
        env = {entry["name"]: entry for entry in container_of(rest).pop("env", [])}
        return cls(metadata.pop("labels", {}), metadata.pop("annotations", {}), env, rest)


@dataclass(frozen=True)
class Template:
    """The warm pod, and the names of what differs from user to user."""

    common: Parts
    labels: frozenset[str]
    annotations: frozenset[str]
    env: frozenset[str]
    url: str
    """Where a warm server listens: ``http://0.0.0.0:8888/``."""

    @classmethod
    def of(cls, one: Json, other: Json) -> "Template":
        """Return the template of two users' pods; raise NoTemplateError if there is none."""
        a, b = Parts.of(one), Parts.of(other)
        if path := difference(a.rest, b.rest):
            raise NoTemplateError(f"{path} depends on the user")
        container = container_of(a.rest)
        if early := [name for name in TOO_EARLY if container.get(name)]:
            raise NoTemplateError(f"{early[0]} of the container would act before there is a user")
        if container.get("args", [])[:1] != [COMMAND]:
            raise NoTemplateError(f"the pod does not run {COMMAND}")
        common = Parts(
            _equal(a.labels, b.labels),
            _equal(a.annotations, b.annotations),
            _equal(a.env, b.env),
            a.rest,
        )
        labels, annotations, env = (
            frozenset((one.keys() | other.keys()) - both.keys())
            for one, other, both in (
                (a.labels, b.labels, common.labels),
                (a.annotations, b.annotations, common.annotations),
                (a.env, b.env, common.env),
            )
        )
        parts = urlsplit(a.env[LISTENS]["value"])
        template = cls(common, labels, annotations, env, f"{parts.scheme}://{parts.netloc}/")
        if name := next(template._references(), ""):
            raise NoTemplateError(f"something refers to $({name}), which depends on the user")
        return template

    def _references(self) -> Iterator[str]:
        """Yield the users' variables that Kubernetes would put into what all pods have."""
        text = json.dumps([self.common.env, self.common.rest])
        yield from (name for name in re.findall(r"\$\(([^)]+)\)", text) if name in self.env)

    @cached_property
    def digest(self) -> str:
        """A word that stands for all that warm pods of this template have in common."""
        common = self.common
        whole = [common.labels, common.annotations, common.env, common.rest, self.url]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

    def make_pod(self, name: str, nonce: str) -> Json:
        """Return a warm pod, which takes a claim with ``nonce``."""
        pod = deepcopy(self.common.rest)
        pod["metadata"] |= {
            "name": name,
            "labels": {**self.common.labels, STATE: WAITING},
            "annotations": {**self.common.annotations, DIGEST: self.digest},
        }
        container = container_of(pod)
        container["args"].insert(1, WARM_ARGUMENT)
        own = {LISTENS: self.url, NONCE_VARIABLE: nonce}
        container["env"] = [
            *self.common.env.values(),
            *({"name": name, "value": value} for name, value in own.items()),
        ]
        return pod

    def identity(self, pod: Json, own: Collection[str] = ()) -> Identity:
        """
        Return what makes a warm pod equal to ``pod``; raise ColdStartError if a claim cannot.

        ``own`` names variables that only this server has and that may come late.
        """
        parts, common = Parts.of(pod), self.common
        if path := difference(common.rest, parts.rest):
            raise ColdStartError(path)
        env = _left(parts.env, common.env, self.env.union(own), "variable")
        for name, entry in env.items():
            # Kubernetes would expand what a container is created with, and a claim does not.
            if "valueFrom" in entry or "$" in entry.get("value", ""):
                raise ColdStartError(f"variable {name}")
        return Identity(
            {name: entry.get("value", "") for name, entry in env.items()},
            _left(parts.labels, common.labels, self.labels, "label"),
            _left(parts.annotations, common.annotations, self.annotations, "annotation"),
        )


def container_of(pod: Json) -> Json:
    """Return the container of the server."""
    found: Json = next(each for each in pod["spec"]["containers"] if each["name"] == CONTAINER)
    return found


def nonce_of(pod: Json) -> str:
    """Return the nonce of a warm pod."""
    env = container_of(pod).get("env", [])
    return str(next(entry["value"] for entry in env if entry["name"] == NONCE_VARIABLE))


def is_warm(pod: Json) -> bool:
    """Return whether a pod waits for a user."""
    return bool((pod["metadata"].get("labels") or {}).get(STATE) == WAITING)


def difference(one: Any, other: Any, path: str = "") -> str:
    """Return the path of the first difference, or an empty string."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        pairs = [(f"{path}.{key}", one.get(key), other.get(key)) for key in keys]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(f"{path}[{i}]", *both) for i, both in enumerate(zip(one, other, strict=True))]
    else:
        return "" if one == other else path.removeprefix(".")
    return next((found for p, a, b in pairs if (found := difference(a, b, p))), "")


def _equal(one: Json, other: Json) -> Json:
    return {name: value for name, value in one.items() if other.get(name) == value}


def _left(table: Json, common: Json, names: Collection[str], what: str) -> Json:
    """Return what ``table`` has besides ``common``; raise ColdStartError for other differences."""
    for name, value in common.items():
        if table.get(name) != value:
            raise ColdStartError(f"{what} {name}")
    left = {name: value for name, value in table.items() if name not in common}
    if strange := sorted(left.keys() - set(names)):
        raise ColdStartError(f"{what} {strange[0]}")
    return left
