"""
Garbage collection: what an owner leaves behind goes too.

An observer of the store that ``server`` attaches. On a real cluster a
controller does this a moment later; here it is done at once. See
https://kubernetes.io/docs/concepts/architecture/garbage-collection/.
"""

from collections import defaultdict
from typing import Any

from tests.fakes.kubernetes.apiserver.deletion import FINALIZERS, Options, mark
from tests.fakes.kubernetes.apiserver.objects import Json, Key, key_of
from tests.fakes.kubernetes.apiserver.operations import is_done
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.apiserver.store import Event

FOREGROUND, ORPHAN = FINALIZERS["Foreground"], FINALIZERS["Orphan"]

Place = tuple[str, Key]


class Garbage:
    """``_dependents`` finds by an owner's uid what names it as an owner."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._dependents: dict[str, set[Place]] = defaultdict(set)
        for resource in state.resources.stored():
            for obj in state.store.all(resource.qualified):
                for owner in owners_of(obj):
                    self._dependents[owner["uid"]].add((resource.qualified, key_of(obj)))

    def observe(self, qualified: str, event: Event) -> None:
        """See to what follows from an event for owners and for what they own."""
        obj = event.object
        self._note_owners(qualified, event)
        if event.type == "DELETED":
            self._collect(obj["metadata"]["uid"])
            for owner in owners_of(obj):
                self._end_foreground(owner, obj)
        elif "deletionTimestamp" in obj["metadata"]:
            self._finalize(qualified, obj)
        elif event.type == "ADDED" and self._is_abandoned(obj):
            self._delete(qualified, obj)

    def _is_abandoned(self, obj: Json) -> bool:
        owners = owners_of(obj)
        return bool(owners) and not any(self._found(owner, obj) for owner in owners)

    def _note_owners(self, qualified: str, event: Event) -> None:
        place = (qualified, key_of(event.object))
        for owner in owners_of(event.previous or {}):
            self._dependents[owner["uid"]].discard(place)
        if event.type != "DELETED":
            for owner in owners_of(event.object):
                self._dependents[owner["uid"]].add(place)

    def _owned(self, uid: str) -> list[tuple[str, Json]]:
        places = sorted(self._dependents.get(uid, ()))
        found = [(qualified, self.state.store.get(qualified, *key)) for qualified, key in places]
        return [(qualified, obj) for qualified, obj in found if obj is not None]

    def _found(self, owner: Json, dependent: Json) -> tuple[str, Json] | None:
        """Return the owner that a dependent names, None if it is not there any more."""
        resource = self.state.resources.of_kind(owner["apiVersion"], owner["kind"])
        if resource is None:
            return None
        namespace = dependent["metadata"].get("namespace", "") if resource.namespaced else ""
        obj = self.state.store.get(resource.qualified, namespace, owner["name"])
        if obj is None or obj["metadata"]["uid"] != owner["uid"]:
            return None
        return resource.qualified, obj

    def _collect(self, uid: str) -> None:
        """Delete what only the owner that has gone has kept."""
        for qualified, obj in self._owned(uid):
            others = [one for one in owners_of(obj) if one["uid"] != uid]
            if any(self._found(owner, obj) for owner in others):
                self._put(qualified, obj, ownerReferences=others)
            else:
                self._delete(qualified, obj)
        self._dependents.pop(uid, None)

    def _finalize(self, qualified: str, obj: Json) -> None:
        """Do what the finalizers of the garbage collector wait for."""
        finalizers, uid = obj["metadata"].get("finalizers") or (), obj["metadata"]["uid"]
        if ORPHAN in finalizers:
            for place, dependent in self._owned(uid):
                others = [one for one in owners_of(dependent) if one["uid"] != uid]
                self._put(place, dependent, ownerReferences=others)
            self._drop_finalizer(qualified, obj, ORPHAN)
        elif FOREGROUND in finalizers:
            for place, dependent in self._owned(uid):
                self._delete(place, dependent, "Foreground")
            self._end_if_alone(qualified, obj)

    def _end_foreground(self, owner: Json, gone: Json) -> None:
        if found := self._found(owner, gone):
            qualified, obj = found
            if FOREGROUND in (obj["metadata"].get("finalizers") or ()):
                self._end_if_alone(qualified, obj)

    def _end_if_alone(self, qualified: str, obj: Json) -> None:
        """Let an owner go that was waiting for its dependents, if none blocks it any more."""
        uid = obj["metadata"]["uid"]
        owners = [owner for _, dependent in self._owned(uid) for owner in owners_of(dependent)]
        if not any(one["uid"] == uid and one.get("blockOwnerDeletion") for one in owners):
            self._drop_finalizer(qualified, obj, FOREGROUND)

    def _drop_finalizer(self, qualified: str, obj: Json, finalizer: str) -> None:
        current = self.state.store.get(qualified, *key_of(obj))
        if current is None or finalizer not in (current["metadata"].get("finalizers") or ()):
            return
        left = [one for one in current["metadata"]["finalizers"] if one != finalizer]
        self._put(qualified, current, finalizers=left)

    def _put(self, qualified: str, obj: Json, **metadata: Any) -> None:
        changed = {**obj, "metadata": {**obj["metadata"], **metadata}}
        if is_done(changed):
            self.state.store.remove(qualified, changed)
        else:
            self.state.store.put(qualified, changed)

    def _delete(self, qualified: str, obj: Json, policy: str = "Background") -> None:
        plural, _, group = qualified.partition(".")
        if "deletionTimestamp" not in obj["metadata"]:
            mark(self.state, self.state.resources.of(plural, group), obj, Options(policy=policy))


def owners_of(obj: Json) -> list[Json]:
    return obj.get("metadata", {}).get("ownerReferences") or []
