"""
What each verb does to the objects of a kind, whichever kind it is.

``handlers`` calls these once a request is authorised. Every function is
synchronous: nothing else happens between reading an object and replacing it.
What differs by kind is in ``admission`` and ``subresources``.
"""

import base64
import binascii
import json
import secrets
import uuid
from typing import Any

from tests.fakes.kubernetes.apiserver import admission
from tests.fakes.kubernetes.apiserver.apply import applied, created_by, updated_by
from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.checks import checked
from tests.fakes.kubernetes.apiserver.errors import (
    ApiError,
    already_exists,
    bad_request,
    cause,
    conflict,
    expired,
    invalid,
    not_found,
)
from tests.fakes.kubernetes.apiserver.objects import Json, copied, key_of
from tests.fakes.kubernetes.apiserver.patches import json_patch, merge_patch, strategic_merge
from tests.fakes.kubernetes.apiserver.schemas import schema_of
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.times import now

SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # the letters of the real server's generated names

# Fields that the server alone writes, whatever a client sends.
KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")

STALE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)

# Built-in kinds that count the generations of their spec; one's own kinds all do.
GENERATIONS = {
    "Pod",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Ingress",
    "CustomResourceDefinition",
}


def get(state: State, call: Call) -> Json:
    """Return the object that a call names; raises 404."""
    found = state.store.get(call.resource.qualified, call.namespace, call.name)
    if found is None:
        raise not_found(call.resource.qualified, call.name)
    return found


def page(state: State, call: Call) -> Json:
    """Return a page of the selected objects as a List; see ``limit`` and ``continue``."""
    check_version(state, call)
    selected = [
        obj
        for obj in state.store.all(call.resource.qualified, call.namespace)
        if call.selection(obj)
    ]
    metadata: Json = {"resourceVersion": str(state.store.revision)}
    if token := call.query.get("continue"):
        revision, after = _read_token(token)
        state.store.events_since(call.resource.qualified, revision)
        metadata["resourceVersion"] = str(revision)
        selected = [obj for obj in selected if key_of(obj) > after]
    limit = call.number("limit", 0)
    if 0 < limit < len(selected):
        metadata["remainingItemCount"] = len(selected) - limit
        selected = selected[:limit]
        metadata["continue"] = _token(int(metadata["resourceVersion"]), selected[-1])
    return {
        "kind": f"{call.resource.kind}List",
        "apiVersion": call.resource.api_version,
        "metadata": metadata,
        "items": selected,
    }


def check_version(state: State, call: Call) -> None:
    """Refuse a ``resourceVersion`` of the future, of the past if it must be exact, or none."""
    version = call.number("resourceVersion", 0)
    if version > state.store.revision:
        message = f"Too large resource version: {version}, current: {state.store.revision}"
        raise ApiError(504, message, retry_after=1)
    if call.query.get("resourceVersionMatch") == "Exact" and version != state.store.revision:
        raise expired(f"The resourceVersion for the provided list is too old: {version}")


def _token(revision: int, last: Json) -> str:
    token = json.dumps([revision, *key_of(last)])
    return base64.urlsafe_b64encode(token.encode()).decode()


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError) as error:
        raise bad_request(f"continue key is not valid: {token!r}") from error
    return revision, (namespace, name)


def create(state: State, call: Call, body: Any, *, is_apply: bool = False) -> Json:
    """Create an object; raises 409 if there is one of this name."""
    wanted = checked(call, body)
    new = copied(wanted)
    metadata = new["metadata"]
    if not metadata.get("name") and metadata.get("generateName"):
        suffix = "".join(secrets.choice(SUFFIX) for _ in range(5))
        metadata["name"] = metadata["generateName"] + suffix
    if not metadata.get("name"):
        missing = cause("metadata.name", "Required", "name or generateName is required")
        raise invalid(call.resource.kind, "", [missing])
    for field in (*KEPT, "resourceVersion", "selfLink"):
        metadata.pop(field, None)
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
    if call.resource.kind in GENERATIONS or call.resource.schema is not None:
        metadata["generation"] = 1
    if call.resource.has_status:
        new.pop("status", None)
    new = admission.admitted(state, call, new, None)
    if state.store.get(call.resource.qualified, *key_of(new)):
        raise already_exists(call.resource.qualified, metadata["name"])
    new = created_by(call, new, wanted) if is_apply else updated_by(call, {}, new)
    if call.is_dry_run:
        return new
    stored = state.store.put(call.resource.qualified, new)
    return state.store.get(call.resource.qualified, *key_of(new)) or stored


def update(state: State, call: Call, body: Any) -> Json:
    """Replace an object, or with the subresource ``status`` its status."""
    old = get(state, call)
    return replace(state, call, old, _checked(call, body))


def patch(state: State, call: Call, content_type: str, body: Any) -> Json:
    """Patch an object in one of the four ways; an apply patch creates what is not there."""
    if content_type == "application/apply-patch+yaml":
        return apply(state, call, body)
    old = get(state, call)
    match content_type:
        case "application/json-patch+json":
            new = json_patch(old, body)
        case "application/merge-patch+json":
            new = merge_patch(old, body)
        case "application/strategic-merge-patch+json":
            if call.resource.schema is not None:
                raise ApiError(415, "custom resources have no strategic merge patch")
            new = strategic_merge(old, body, schema_of(call.resource))
        case other:
            raise ApiError(415, f"the body of the request was in an unknown format - {other}")
    return replace(state, call, old, _checked(call, new))


def _checked(call: Call, body: Any) -> Json:
    """Check what a call may change: of an object with its status, only that."""
    if call.subresource != "status" or not isinstance(body, dict):
        return checked(call, body)
    fields = ("apiVersion", "kind", "metadata", "status")
    return checked(call, {key: body[key] for key in fields if key in body}, is_partial=True)


def apply(state: State, call: Call, body: Any) -> Json:
    """Merge what a field manager wants, which it says anew as a whole each time."""
    if not call.query.get("fieldManager"):
        raise bad_request("fieldManager is required for apply patch")
    wanted = checked(call, body, is_partial=True)
    old = state.store.get(call.resource.qualified, call.namespace, call.name)
    if old is not None:
        return replace(state, call, old, applied(call, old, wanted), is_apply=True)
    if wanted["metadata"].get("uid") or wanted["metadata"].get("resourceVersion"):
        raise conflict(call.resource.qualified, call.name, "there is no such object any more")
    return create(state, call, wanted, is_apply=True)


def replace(state: State, call: Call, old: Json, new: Json, *, is_apply: bool = False) -> Json:
    """
    Put ``new`` in the place of ``old``, as far as the call may change it.

    An update that changes nothing leaves the revision as it is; one that takes
    the last finalizer from an object being deleted removes it.
    """
    new = admission.admitted(state, call, _with_what_is_kept(call, old, new), old)
    if not is_apply and call.subresource != "status":
        new = updated_by(call, old, new)
    if new == old:
        return old
    if "generation" in old["metadata"] and new.get("spec") != old.get("spec"):
        new["metadata"]["generation"] = old["metadata"]["generation"] + 1
    if call.is_dry_run:
        return new
    if is_done(new):
        return state.store.remove(call.resource.qualified, new)
    state.store.put(call.resource.qualified, new)
    return state.store.get(call.resource.qualified, *key_of(new)) or new


def _with_what_is_kept(call: Call, old: Json, new: Json) -> Json:
    before, metadata = old["metadata"], dict(new["metadata"])
    version = metadata.get("resourceVersion")
    if version and version != before["resourceVersion"]:
        raise conflict(call.resource.qualified, before["name"], STALE)
    if metadata.get("uid") not in (None, before["uid"]):
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: "
        raise conflict(call.resource.qualified, before["name"], why + before["uid"])
    if call.subresource == "status":
        return {**old, **({"status": new["status"]} if "status" in new else {})}
    for field in (*KEPT, "resourceVersion"):
        metadata.pop(field, None)
        if field in before:
            metadata[field] = before[field]
    kept = {**new, "metadata": metadata}
    if call.resource.has_status:
        kept.pop("status", None)
        if "status" in old:
            kept["status"] = old["status"]
    return kept


def is_done(obj: Json) -> bool:
    """Tell whether an object that is being deleted has nothing left to wait for."""
    metadata = obj["metadata"]
    waits = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    if obj["kind"] == "Namespace":
        waits = waits or obj["spec"].get("finalizers")
    return "deletionTimestamp" in metadata and not waits
