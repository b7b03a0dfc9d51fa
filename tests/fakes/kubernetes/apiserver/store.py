"""
Where objects are kept: one counter of revisions, and a history for those who watch.

``operations`` reads and writes, ``watch`` follows. What is stored is never
changed in place, so that readers need no copies and events can share objects:
a write replaces the whole object.
"""

import asyncio
import contextlib
import functools
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubernetes.apiserver.errors import expired
from tests.fakes.kubernetes.apiserver.objects import Json, Key, key_of


class Stored(dict[str, Any]):
    """An object as it is stored, which nobody changes: its JSON is written once for all."""

    @functools.cached_property
    def json(self) -> bytes:
        return json.dumps(self, separators=(",", ":")).encode()


def encoded(value: Json) -> bytes:
    """Write an object, or a list of objects, as JSON."""
    if isinstance(value, Stored):
        return value.json
    if "items" in value and "metadata" in value:
        whole = {key: item for key, item in value.items() if key != "items"}
        items = b",".join(encoded(item) for item in value["items"])
        return json.dumps(whole, separators=(",", ":")).encode()[:-1] + b',"items":[%s]}' % items
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Event:
    """What happened to an object: ``type`` is ADDED, MODIFIED or DELETED."""

    revision: int
    type: str
    object: Stored
    previous: Stored | None


# Where revisions begin: earlier ones are forgotten, as on a cluster that has run for a while.
FIRST = 100


class Store:
    """
    The objects of all kinds, by :attr:`Resource.qualified` and namespace and name.

    ``history`` is how many events of a kind are remembered: who asks for
    older ones is told 410, as by a real server after a compaction.
    """

    def __init__(self, history: int = 10_000) -> None:
        self.revision = FIRST
        self._objects: dict[str, dict[Key, Stored]] = defaultdict(dict)
        self._history: dict[str, deque[Event]] = defaultdict(lambda: deque(maxlen=history))
        self._forgotten: dict[str, int] = defaultdict(lambda: FIRST)
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.observers: list[Callable[[str, Event], None]] = []
        """Called at once with the kind and the event of every write."""

    def get(self, qualified: str, namespace: str, name: str) -> Json | None:
        return self._objects[qualified].get((namespace, name))

    def all(self, qualified: str, namespace: str = "") -> list[Json]:
        """Return the objects of a kind, of one namespace or all, in the order of their keys."""
        objects = self._objects[qualified]
        return [objects[key] for key in sorted(objects) if namespace in ("", key[0])]

    def count(self, qualified: str, namespace: str) -> int:
        return sum(key[0] == namespace for key in self._objects[qualified])

    def put(self, qualified: str, obj: Json) -> Stored:
        """Keep an object under a new revision, which is written into a copy of its metadata."""
        key = key_of(obj)
        previous = self._objects[qualified].get(key)
        stored = self._stamped(obj)
        self._objects[qualified][key] = stored
        self._happened(qualified, "MODIFIED" if previous else "ADDED", stored, previous)
        return stored

    def remove(self, qualified: str, obj: Json) -> Stored:
        """Forget an object; what is returned and told has the revision of the deletion."""
        previous = self._objects[qualified].pop(key_of(obj))
        stored = self._stamped(obj)
        self._happened(qualified, "DELETED", stored, previous)
        return stored

    def events_since(self, qualified: str, revision: int) -> list[Event]:
        """Return what happened after ``revision``; raises 410 if that is forgotten in part."""
        if revision < self._forgotten[qualified]:
            oldest = self._forgotten[qualified]
            raise expired(f"too old resource version: {revision} ({oldest})")
        events = []
        for event in reversed(self._history[qualified]):
            if event.revision <= revision:
                break
            events.append(event)
        return events[::-1]

    def forget(self) -> None:
        """Forget all history, as a compaction does: older revisions are 410 from now on."""
        self._history.clear()
        revision = self.revision
        self._forgotten = defaultdict(lambda: revision)

    def restore(self, qualified: str, obj: Json, *, is_there: bool) -> None:
        """Have an object as it was written before, or not any more; nobody is told."""
        self.revision = max(self.revision, int(obj["metadata"]["resourceVersion"]))
        if is_there:
            self._objects[qualified][key_of(obj)] = Stored(obj)
        else:
            self._objects[qualified].pop(key_of(obj), None)

    @contextlib.contextmanager
    def watching(self, qualified: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever something happens to objects of a kind."""
        happened = asyncio.Event()
        self._watchers[qualified].add(happened)
        try:
            yield happened
        finally:
            self._watchers[qualified].discard(happened)

    def _stamped(self, obj: Json) -> Stored:
        self.revision += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.revision)}
        return Stored({**obj, "metadata": metadata})

    def _happened(self, qualified: str, kind: str, obj: Stored, previous: Stored | None) -> None:
        history = self._history[qualified]
        if len(history) == history.maxlen:
            self._forgotten[qualified] = history[0].revision
        event = Event(self.revision, kind, obj, previous)
        history.append(event)
        for watcher in self._watchers[qualified]:
            watcher.set()
        for observe in self.observers:
            observe(qualified, event)
