"""
Questions about access: ``kubectl auth can-i``, ``whoami``, and the reviews of tokens.

A review is created and answered, never kept. ``handlers`` calls
:func:`answer` for the kinds that can only be created.
"""

from typing import Any

from tests.fakes.kubernetes.apiserver.calls import Call, User
from tests.fakes.kubernetes.apiserver.checks import checked
from tests.fakes.kubernetes.apiserver.errors import ApiError, bad_request
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.rbac import MASTERS, Access, is_allowed, rules_of
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.times import now

EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


def answer(state: State, call: Call, body: Any) -> Json:
    """Return a review with its status filled in."""
    if isinstance(body, dict) and body.get("metadata") is None:
        body = {**body, "metadata": {}}
    review = checked(call, body)
    spec = review.get("spec") or {}
    match call.resource.kind:
        case "SelfSubjectAccessReview":
            review["status"] = _access(state, call.user, spec)
        case "SubjectAccessReview" | "LocalSubjectAccessReview":
            user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
            review["status"] = _access(state, user, spec)
        case "SelfSubjectRulesReview":
            review["status"] = _rules(state, call.user, spec.get("namespace", ""))
        case "SelfSubjectReview":
            review["metadata"]["creationTimestamp"] = now()
            review["status"] = {"userInfo": _info(call.user)}
        case "TokenReview":
            review["status"] = _token(state, spec.get("token", ""))
    return review


def _access(state: State, user: User, spec: Json) -> Json:
    attributes = spec.get("resourceAttributes") or {}
    other = spec.get("nonResourceAttributes") or {}
    if bool(attributes) == bool(other):
        raise bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )
    if attributes:
        parts = [attributes.get("resource", ""), attributes.get("subresource", "")]
        access = Access(
            attributes.get("verb", ""),
            attributes.get("group", ""),
            "/".join(part for part in parts if part),
            attributes.get("namespace", ""),
            attributes.get("name", ""),
        )
    else:
        access = Access(other.get("verb", ""), path=other.get("path", ""))
    return {"allowed": is_allowed(state.store, user, access)}


def _rules(state: State, user: User, namespace: str) -> Json:
    rules = [EVERYTHING] if MASTERS in user.groups else []
    rules += rules_of(state.store, user, namespace)
    return {
        "resourceRules": [rule for rule in rules if "resources" in rule],
        "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
        "incomplete": False,
    }


def _info(user: User) -> Json:
    info: Json = {"username": user.name, "groups": list(user.groups)}
    return {**info, "uid": user.uid} if user.uid else info


def _token(state: State, token: str) -> Json:
    try:
        user = state.tokens.user(f"Bearer {token}", state.store)
    except ApiError:
        return {"authenticated": False, "error": "the token is not valid"}
    return {"authenticated": True, "user": _info(user)}
