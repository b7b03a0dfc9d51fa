"""
Tells the API what happened to an object, as ``kubectl get events`` shows it.

Node and controllers record here. Events are sent one after the other; the same
event again raises the count of the one before.
"""

import asyncio
import logging
import uuid

from tests.fakes.kubernetes.client import AWAY, Api, ApiError, Json
from tests.fakes.kubernetes.times import now

log = logging.getLogger(__name__)

TRIES = 60
"""How often an event is sent, a second apart, while there is no API server."""


class Recorder:
    """Records the events that one component sees."""

    def __init__(self, api: Api, component: str, host: str = "") -> None:
        self._api = api
        self._source = {"component": component, **({"host": host} if host else {})}
        self._queue: asyncio.Queue[Json] = asyncio.Queue()
        self._known: dict[tuple[str, str, str], tuple[str, int]] = {}

    def normal(self, thing: Json, kind: str, reason: str, message: str) -> None:
        self._record(thing, kind, "Normal", reason, message)

    def warning(self, thing: Json, kind: str, reason: str, message: str) -> None:
        self._record(thing, kind, "Warning", reason, message)

    def _record(self, thing: Json, kind: str, type: str, reason: str, message: str) -> None:
        metadata = thing["metadata"]
        log.info("%s %s: %s: %s", kind, metadata["name"], reason, message)
        involved = {
            "apiVersion": thing.get("apiVersion", "v1"),
            "kind": kind,
            **{key: metadata[key] for key in ("name", "namespace", "uid") if key in metadata},
        }
        self._queue.put_nowait(
            {
                "metadata": {"namespace": metadata.get("namespace", "default")},
                "involvedObject": involved,
                "type": type,
                "reason": reason,
                "message": message,
                "source": self._source,
                "reportingComponent": self._source["component"],
                "reportingInstance": self._source.get("host", ""),
                "firstTimestamp": now(),
                "lastTimestamp": now(),
                "count": 1,
            }
        )

    async def run(self) -> None:
        """Send what is recorded, for ever."""
        while True:
            event = await self._queue.get()
            for _ in range(TRIES):
                try:
                    await self._send(event)
                except AWAY:
                    await asyncio.sleep(1)
                except ApiError as error:
                    log.info("an event is lost: %s", error)
                    break
                else:
                    break

    async def _send(self, event: Json) -> None:
        namespace = event["metadata"]["namespace"]
        key = event["involvedObject"]["uid"], event["reason"], event["message"]
        name, count = self._known.get(key, ("", 0))
        if name:
            again = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
            await self._api.merge("events", namespace, name, again)
        else:
            name = f"{event['involvedObject']['name']}.{uuid.uuid4().hex[:16]}"
            whole = {**event, "metadata": {"namespace": namespace, "name": name}}
            await self._api.create("events", namespace, whole)
        self._known[key] = name, count + 1
