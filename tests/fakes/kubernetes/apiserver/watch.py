"""
Watches: the events of a selection, from a revision on, until time is up.

``handlers`` writes what :func:`lines` yields. A watch sees an object that
enters its selection as ADDED and one that leaves it as DELETED, whatever
happened to it otherwise.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator

from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.errors import ApiError, bad_request, cause, invalid
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.operations import check_version
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.apiserver.store import Event, encoded

BOOKMARK_SECONDS = 30.0
LONGEST_SECONDS = 1800
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def check_watch(state: State, call: Call) -> None:
    """Refuse a watch that a real server refuses before it starts one."""
    check_version(state, call)
    if call.name or call.subresource:
        raise bad_request("a watch is of a collection")
    match = call.query.get("resourceVersionMatch")
    if "sendInitialEvents" in call.query and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise invalid("ListOptions", "", [cause("resourceVersionMatch", "Forbidden", why)])


async def lines(
    state: State, call: Call, show: Callable[[Json], bytes] = encoded
) -> AsyncGenerator[bytes]:
    """
    Yield the events of a watch, one JSON object a line; ``show`` writes its object.

    Ends after ``timeoutSeconds``; an old ``resourceVersion`` ends it at once
    with the event ERROR that carries a 410.
    """
    seconds = call.number("timeoutSeconds", LONGEST_SECONDS) or LONGEST_SECONDS
    deadline = time.monotonic() + seconds
    bookmarks = call.flag("allowWatchBookmarks")
    qualified = call.resource.qualified
    with state.store.watching(qualified) as happened:
        revision = call.number("resourceVersion", 0)
        if not revision or call.flag("sendInitialEvents"):
            revision = state.store.revision
            yield b"".join(_initial(state, call, show))
            if bookmarks and call.flag("sendInitialEvents"):
                yield _bookmark(call, revision, {INITIAL_EVENTS_END: "true"})
        while (left := deadline - time.monotonic()) > 0:
            happened.clear()
            try:
                events = state.store.events_since(qualified, revision)
            except ApiError as error:
                yield _line("ERROR", encoded(error.status))
                return
            if events:
                revision = events[-1].revision
                yield b"".join(_selected(call, events, show))
            try:
                async with asyncio.timeout(min(left, BOOKMARK_SECONDS)):
                    await happened.wait()
            except TimeoutError:
                if happened.is_set():
                    continue  # at the last moment: what happened is not to be passed over
                revision = state.store.revision
                if bookmarks:
                    yield _bookmark(call, revision)


def _initial(state: State, call: Call, show: Callable[[Json], bytes]) -> Iterator[bytes]:
    for obj in state.store.all(call.resource.qualified, call.namespace):
        if call.selection(obj):
            yield _line("ADDED", show(obj))


def _selected(call: Call, events: list[Event], show: Callable[[Json], bytes]) -> Iterator[bytes]:
    for event in events:
        if call.namespace not in ("", event.object["metadata"].get("namespace", "")):
            continue
        now = event.type != "DELETED" and call.selection(event.object)
        before = event.previous is not None and call.selection(event.previous)
        if now:
            yield _line("MODIFIED" if before else "ADDED", show(event.object))
        elif before:
            yield _line("DELETED", show(_as_left(event)))


def _as_left(event: Event) -> Json:
    """Return an object as it was in the selection, with the revision at which it left."""
    if event.type == "DELETED" or event.previous is None:
        return event.object
    version = event.object["metadata"]["resourceVersion"]
    metadata = {**event.previous["metadata"], "resourceVersion": version}
    return {**event.previous, "metadata": metadata}


def _bookmark(call: Call, revision: int, annotations: Json | None = None) -> bytes:
    metadata: Json = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    kind = {"kind": call.resource.kind, "apiVersion": call.resource.api_version}
    return _line("BOOKMARK", encoded({**kind, "metadata": metadata}))


def _line(kind: str, obj: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), obj)
