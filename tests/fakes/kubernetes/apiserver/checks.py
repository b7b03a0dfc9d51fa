"""
What a body must be before anything is done with it: of the right kind, name and shape.

Called by ``operations``. Strictness follows the ``fieldValidation`` that the
client asks for, as on a real server: an unknown field is refused (Strict,
which kubectl and helm ask for), dropped with a warning (the default) or
dropped in silence (Ignore).
"""

from typing import Any

from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.errors import ApiError, bad_request, cause, invalid
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.schemas import (
    problems_of,
    pruned,
    schema_named,
    schema_of,
)


def checked(
    call: Call, body: Any, api_version: str = "", kind: str = "", *, is_partial: bool = False
) -> Json:
    """
    Return a clean copy of a body: without nulls and without fields nobody knows.

    ``api_version`` and ``kind`` are those of a subresource's body if they are
    not the resource's own; a partial body lacks what it does not change. Raises
    400 and 422 as the real server does.
    """
    schema = schema_named(api_version, kind) if kind else schema_of(call.resource)
    api_version, kind = api_version or call.resource.api_version, kind or call.resource.kind
    if not isinstance(body, dict):
        raise bad_request(f"the body is no object of kind {kind}")
    told = (body.get("apiVersion"), body.get("kind"))
    if told != (api_version, kind) and any(told):
        raise bad_request(
            f"{told[1]} in version {told[0]!r} cannot be handled as a {kind}:"
            f" no kind {told[1]!r} is served here in version {told[0]!r}"
        )
    _check_shape(call, body, schema, kind, is_partial=is_partial)
    clean: Json = {"apiVersion": api_version, "kind": kind, **pruned(body, schema)}
    clean["metadata"] = _named(call, clean.get("metadata") or {})
    return clean


def _check_shape(call: Call, body: Json, schema: Json, kind: str, *, is_partial: bool) -> None:
    problems = problems_of(body, schema)
    wrong = [f"{problem.path}: {problem.message}" for problem in problems if problem.kind == "type"]
    if wrong:
        told = (body.get("apiVersion"), kind)
        raise bad_request(f"{kind} in version {told[0]!r} cannot be handled: {'; '.join(wrong)}")
    unknown = [problem.message for problem in problems if problem.kind == "unknown"]
    validation = call.query.get("fieldValidation") or "Warn"
    if unknown and validation == "Strict":
        raise bad_request(f"strict decoding error: {', '.join(unknown)}")
    if validation == "Warn":
        call.warnings.extend(unknown)
    missing = [problem for problem in problems if problem.kind == "missing"]
    if missing and not is_partial:
        name = (body.get("metadata") or {}).get("name", "")
        causes = [cause(problem.path, "Required", problem.message) for problem in missing]
        raise invalid(kind, name, causes)


def _named(call: Call, metadata: Json) -> Json:
    """Return metadata with the namespace and the name that the path says."""
    metadata = dict(metadata)
    namespace, name = metadata.get("namespace"), metadata.get("name")
    if call.namespace and namespace not in (None, "", call.namespace):
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if call.name and name not in (None, "", call.name):
        message = (
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )
        raise ApiError(400, message)
    if call.namespace:
        metadata["namespace"] = call.namespace
    else:
        metadata.pop("namespace", None)
    if call.name:
        metadata["name"] = call.name
    return metadata
