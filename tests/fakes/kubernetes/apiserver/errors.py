"""
What the API refuses, as the ``Status`` objects that clients of Kubernetes know.

Raised by every module here, turned into an answer by ``handlers`` alone. The
words follow the real server's, since kubectl, helm and KubeSpawner show them
to people, and some of their logic reads ``reason``.
"""

from collections.abc import Sequence

from tests.fakes.kubernetes.apiserver.objects import Json

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class ApiError(Exception):
    """
    The API says no.

    ``causes`` are ``{"field", "reason", "message"}`` of a 422 or a 409;
    ``retry_after`` is in seconds and becomes a header too.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str = "",
        details: Json | None = None,
        causes: Sequence[Json] = (),
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or REASONS[code]
        self.retry_after = retry_after
        self.details = dict(details or {})
        if causes:
            self.details["causes"] = list(causes)
        if retry_after:
            self.details["retryAfterSeconds"] = retry_after

    @property
    def status(self) -> Json:
        """The error as a ``Status`` object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
            **({"details": self.details} if self.details else {}),
        }


def bad_request(message: str) -> ApiError:
    return ApiError(400, message)


def not_found(resource: str, name: str) -> ApiError:
    """``resource`` is the plural with its group, as in ``deployments.apps``."""
    details = named(resource, name)
    return ApiError(404, f'{resource} "{name}" not found', details=details)


def already_exists(resource: str, name: str) -> ApiError:
    message = f'{resource} "{name}" already exists'
    return ApiError(409, message, reason="AlreadyExists", details=named(resource, name))


def conflict(resource: str, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return ApiError(409, message, details=named(resource, name))


def forbidden(resource: str, name: str, why: str) -> ApiError:
    message = (
        f'{resource} "{name}" is forbidden: {why}' if name else f"{resource} is forbidden: {why}"
    )
    return ApiError(403, message, details=named(resource, name))


def invalid(kind: str, name: str, causes: Sequence[Json]) -> ApiError:
    """``causes`` come from :func:`cause`; all of them are told at once."""
    told = [f"{cause['field']}: {cause['message']}" for cause in causes]
    listed = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    details = {"name": name, "kind": kind}
    return ApiError(422, f'{kind} "{name}" is invalid: {listed}', details=details, causes=causes)


def expired(message: str) -> ApiError:
    return ApiError(410, message)


def not_implemented(what: str) -> ApiError:
    message = f"{what} is not known to this API server, which is a test double of Caesarion's tests"
    return ApiError(501, message)


def cause(field: str, reason: str, message: str) -> Json:
    """One reason among those of an invalid object; ``field`` is a path such as spec.ports[0]."""
    return {"field": field, "reason": f"FieldValue{reason}", "message": message}


def named(resource: str, name: str) -> Json:
    plural, _, group = resource.partition(".")
    return {"name": name, **({"group": group} if group else {}), "kind": plural}
