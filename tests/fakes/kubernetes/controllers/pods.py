"""Pods as their controllers see them: made from a template, active, ready. Pure."""

import copy
import hashlib
import json
from collections.abc import Mapping

from tests.fakes.kubernetes.client import Json
from tests.fakes.kubernetes.controllers.world import leaves


def make_pod(
    template: Json, owner: Json, owners: list[Json], labels: Mapping[str, str] = {}
) -> Json:
    """Return a pod of a template, with a name that begins like its owner's."""
    metadata = copy.deepcopy(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    metadata["namespace"] = owner["metadata"]["namespace"]
    metadata["generateName"] = f"{owner['metadata']['name']}-"
    metadata["ownerReferences"] = owners
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": copy.deepcopy(template["spec"]),
    }


def template_hash(template: Json) -> str:
    """Return a short name for a template; the same template has the same."""
    text = json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def phase(pod: Json) -> str:
    return str(pod.get("status", {}).get("phase", "Pending"))


def active(pod: Json) -> bool:
    """Tell whether a pod runs, or will; one that is being deleted does not count."""
    return phase(pod) not in ("Succeeded", "Failed") and not leaves(pod)


def ready(pod: Json) -> bool:
    return any(
        one["type"] == "Ready" and one["status"] == "True"
        for one in pod.get("status", {}).get("conditions") or []
    )
