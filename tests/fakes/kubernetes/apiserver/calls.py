"""
What a request asks for: a verb on a resource, read from method, path and query.

``handlers`` reads it, ``rbac``, ``faults`` and ``operations`` judge it. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.fakes.kubernetes.apiserver.errors import ApiError, bad_request, not_implemented
from tests.fakes.kubernetes.apiserver.resources import Resource, Resources
from tests.fakes.kubernetes.apiserver.selectors import EVERYTHING, Selection, parse_selection

# All that this server understands; another is 501 rather than ignored.
PARAMETERS = frozenset(
    {
        "allowWatchBookmarks",
        "container",
        "continue",
        "dryRun",
        "fieldManager",
        "fieldSelector",
        "fieldValidation",
        "follow",
        "force",
        "gracePeriodSeconds",
        "includeObject",
        "insecureSkipTLSVerifyBackend",
        "labelSelector",
        "limit",
        "limitBytes",
        "orphanDependents",
        "pretty",
        "previous",
        "propagationPolicy",
        "resourceVersion",
        "resourceVersionMatch",
        "sendInitialEvents",
        "sinceSeconds",
        "sinceTime",
        "stream",
        "tailLines",
        "timeout",
        "timeoutSeconds",
        "timestamps",
        "watch",
    }
)
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True)
class User:
    """Who asks; ``groups`` include system:authenticated, or the opposite."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True)
class Call:
    """
    One request for a resource; ``verb`` is RBAC's word for it.

    ``warnings`` are collected while it is served and told with the answer.
    """

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    selection: Selection = EVERYTHING
    user: User = ANONYMOUS
    agent: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def asked(self) -> str:
        """The resource with its subresource, as RBAC's rules name it: ``pods/log``."""
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural

    @property
    def manager(self) -> str:
        """The field manager: what the client says, else the first word of its user agent."""
        return self.query.get("fieldManager") or self.agent.split("/")[0] or "unknown"

    @property
    def is_dry_run(self) -> bool:
        return bool(self.query.get("dryRun"))

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1", "t")

    def number(self, name: str, otherwise: int) -> int:
        """Return a parameter that is a number; raises 400 if it is none."""
        text = self.query.get(name) or str(otherwise)
        try:
            return int(text)
        except ValueError as error:
            raise bad_request(f"{name}: {text!r} is no number") from error


def parse_call(
    resources: Resources,
    method: str,
    path: str,
    query: Mapping[str, str],
    user: User = ANONYMOUS,
    agent: str = "",
) -> Call:
    """Read a request under ``/api/`` or ``/apis/``; raises 404 or 501 for what is not served."""
    for name in query:
        if name not in PARAMETERS:
            raise not_implemented(f"The parameter {name!r}")
    group, version, steps = _group_version(path)
    namespace = ""
    if steps[0] == "watch":
        raise not_implemented(f"The old path {path} of watches")
    if steps[0] == "namespaces" and len(steps) > 2 and steps[2] not in ("status", "finalize"):
        namespace, steps = steps[1], steps[2:]
    plural, name, subresource = [*steps, "", ""][:3]
    resource = resources.find(group, version, plural)
    if resource is None or len(steps) > 3:
        raise not_implemented(f"The path {path}")
    if subresource and subresource not in resource.subresources:
        raise not_implemented(f"The subresource {plural}/{subresource}")
    if resource.namespaced != bool(namespace) and (name or method == "POST"):
        raise ApiError(404, "the server could not find the requested resource")
    selection = parse_selection(
        resource.qualified, query.get("labelSelector", ""), query.get("fieldSelector", "")
    )
    call = Call("", resource, namespace, name, subresource, query, selection, user, agent)
    return replace(call, verb=_verb(call, method))


def _group_version(path: str) -> tuple[str, str, list[str]]:
    root, *steps = path.strip("/").split("/")
    if root == "api" and len(steps) > 1:
        return "", steps[0], steps[1:]
    if root == "apis" and len(steps) > 2:
        return steps[0], steps[1], steps[2:]
    raise not_implemented(f"The path {path}")


def _verb(call: Call, method: str) -> str:
    if method == "DELETE":
        verb = "delete" if call.name else "deletecollection"
    else:
        verb = VERBS.get(method, method.lower())
    if verb == "get" and not call.name:
        verb = "watch" if call.flag("watch") else "list"
    if verb == "get" and call.flag("watch"):
        raise not_implemented("A watch of one object by its path")
    allowed = ("create", "get", "update", "patch") if call.subresource else call.resource.verbs
    is_of_one = verb in ("get", "update", "patch", "delete") or bool(call.subresource)
    if verb not in allowed or is_of_one != bool(call.name):
        raise ApiError(405, "the server does not allow this method on the requested resource")
    return verb
