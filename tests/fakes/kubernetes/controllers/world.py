"""
What the controllers share: the objects, the way to change them, and the clock.

Called by all of them. A change is put into the cache at once, so that nobody
acts twice on what was before it.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.kubernetes.client import Api, ApiError, Cache, Json
from tests.fakes.kubernetes.events import Recorder


@dataclass
class World:
    """The cluster, as the controllers see it."""

    api: Api
    cache: Cache
    events: Recorder
    folder: Path
    """For the volumes."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    memory: dict[str, float] = field(default_factory=dict)
    """When something that is measured began, by a key of the controller's."""

    def again_in(self, seconds: float) -> None:
        """Have everything looked at again, though nothing may have changed."""
        asyncio.get_running_loop().call_later(seconds, self.changed.set)

    async def create(self, plural: str, body: Json) -> Json:
        made = await self.api.create(plural, body["metadata"].get("namespace"), body)
        self.cache.put(plural, made)
        return made

    async def merge(self, plural: str, thing: Json, body: Json, sub: str = "") -> Json:
        """Lay ``body`` over an object, or over its subresource, unless it says so already."""
        if contains(thing, body):
            return thing
        metadata = thing["metadata"]
        changed = await self.api.merge(
            plural, metadata.get("namespace"), metadata["name"], body, sub
        )
        self.cache.put(plural, changed)
        return changed

    async def set_status(self, plural: str, thing: Json, status: Json) -> None:
        """Say how an object is, unless it has gone meanwhile."""
        try:
            await self.merge(plural, thing, {"status": status}, "status")
        except ApiError as error:
            if error.status != 404:
                raise

    async def delete(self, plural: str, thing: Json) -> None:
        metadata = thing["metadata"]
        await self.api.delete(plural, metadata.get("namespace"), metadata["name"])


def contains(thing: object, part: object) -> bool:
    """Tell whether laying ``part`` over ``thing`` would change nothing."""
    if isinstance(thing, dict) and isinstance(part, dict):
        return all(
            (key not in thing) if value is None else (key in thing and contains(thing[key], value))
            for key, value in part.items()
        )
    return thing == part


def reference(owner: Json, api_version: str, kind: str) -> list[Json]:
    """Return the ownerReferences of what an object controls."""
    return [
        {
            "apiVersion": api_version,
            "kind": kind,
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def leaves(thing: Json) -> bool:
    """Tell whether an object is being deleted."""
    return "deletionTimestamp" in thing["metadata"]


def conditions(thing: Json, now: str, *wanted: tuple[str, str, str, str]) -> list[Json]:
    """
    Return an object's conditions with some set: (type, status, reason, message).

    One whose status stays keeps its time.
    """
    known = {one["type"]: one for one in thing.get("status", {}).get("conditions") or []}
    for kind, status, reason, message in wanted:
        before = known.get(kind, {})
        same = before.get("status") == status
        since = before["lastTransitionTime"] if same else now
        known[kind] = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": since,
        }
    return list(known.values())
