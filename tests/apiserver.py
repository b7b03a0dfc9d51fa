"""A state of the tests' API server with a namespace, and calls on it without HTTP."""

from typing import Any

from tests.fakes.kubernetes.apiserver import bootstrap, deletion, operations, subresources
from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.garbage import Garbage
from tests.fakes.kubernetes.apiserver.housekeeping import Housekeeping
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.resources import Resource
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.apiserver.tokens import ADMIN

MERGE = "application/merge-patch+json"


def make_state() -> State:
    """Return the state of a new cluster with the namespace ``here``."""
    state = State()
    state.store.observers += [Garbage(state).observe, Housekeeping(state, "none").observe]
    bootstrap.fill(state, "127.0.0.1", 6443)
    ask(state, "create", "namespaces", "", make("Namespace", "here"))
    return state


def ask(
    state: State,
    verb: str,
    qualified: str,
    name: str,
    body: Any = None,
    *,
    subresource: str = "",
    kind: str = MERGE,
    query: dict[str, str] | None = None,
    warnings: list[str] | None = None,
) -> Json:
    """Make a call as the administrator; ``qualified`` may be left to the body's kind."""
    resource = _resource(state, qualified, body)
    call = Call(
        verb,
        resource,
        "here" if resource.namespaced else "",
        name,
        subresource,
        query or {},
        user=ADMIN,
        agent="test",
        warnings=[] if warnings is None else warnings,
    )
    if subresource not in ("", "status"):
        return subresources.answer(state, call, kind, body)[1]
    match verb:
        case "get":
            return operations.get(state, call)
        case "list":
            return operations.page(state, call)
        case "create":
            return operations.create(state, call, body)
        case "update":
            return operations.update(state, call, body)
        case "patch":
            return operations.patch(state, call, kind, body)
        case _:
            return deletion.delete(state, call, deletion.parse_options({}, body))


def _resource(state: State, qualified: str, body: Any) -> Resource:
    if qualified:
        plural, _, group = qualified.partition(".")
        return state.resources.of(plural, group)
    found = state.resources.of_kind(body["apiVersion"], body["kind"])
    if found is None:
        raise LookupError(f"{body['kind']} is not served")
    return found


def make(kind: str, name: str, api_version: str = "v1", **parts: Any) -> Json:
    """Return an object; labels, annotations and the like go to its metadata."""
    ours = ("labels", "annotations", "finalizers", "ownerReferences", "generateName", "uid")
    metadata = {"name": name, **{key: value for key, value in parts.items() if key in ours}}
    rest = {key: value for key, value in parts.items() if key not in ours}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def make_pod(
    name: str, /, *, spec: Json | None = None, labels: Json | None = None, **container: Any
) -> Json:
    """Return a pod of one container."""
    own = {"name": "main", "image": "none:1", **container}
    return make("Pod", name, labels=labels or {}, spec={"containers": [own], **(spec or {})})
