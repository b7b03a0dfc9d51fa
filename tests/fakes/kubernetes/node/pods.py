"""
The life of one pod on its node, from its being bound until it is deleted.

Called by ``kubelet``. Runs init containers one after the other, then the
containers together, and tells the API how they are; a pod that is to go is
ended within its grace and then deleted for good.
"""

import asyncio
import contextlib
import logging
import shutil
import time

from tests.fakes.kubernetes.client import AWAY, ApiError, Json
from tests.fakes.kubernetes.node import dns, volumes
from tests.fakes.kubernetes.node.lifecycle import Lifecycle
from tests.fakes.kubernetes.node.objects import Objects
from tests.fakes.kubernetes.node.place import Place
from tests.fakes.kubernetes.node.status import make_status
from tests.fakes.kubernetes.times import now, written

log = logging.getLogger(__name__)

MOUNT_AGAIN, MOUNT_AGAIN_AT_LEAST = 0.5, 8.0
"""Seconds until a volume that could not be made is tried again: the first pause, the longest."""

TELL_AGAIN = 0.5
"""Seconds until a status is sent again that the API server did not take."""

UNKNOWN = ("hostNetwork", "hostPID", "hostIPC", "ephemeralContainers", "hostUsers")


class Pod:
    """A pod that runs here."""

    def __init__(self, place: Place) -> None:
        self.place = place
        spec = place.pod["spec"]
        policy = spec.get("restartPolicy", "Always")
        of_first = "OnFailure" if policy == "Always" else policy
        self.first = [
            Lifecycle(place, one, of_first, self._changed)
            for one in spec.get("initContainers") or []
        ]
        self.main = [Lifecycle(place, one, policy, self._changed) for one in spec["containers"]]
        self.ending = False
        self._began = time.time()
        self._dirty = asyncio.Event()
        self._working = asyncio.ensure_future(self._work())
        self._telling = asyncio.ensure_future(self._tell())

    def _changed(self) -> None:
        self._dirty.set()

    async def _work(self) -> None:
        """Run everything until nothing is to run any more."""
        if refusal := unknown(self.place.pod):
            self.place.events.warning(
                self.place.pod, "Pod", "FailedCreatePodSandBox", f"The fake node knows no {refusal}"
            )
            return
        self._changed()
        await self._make_volumes()
        for one in self.first:
            await one.run()
            if (one.status.terminated or {"exitCode": 1})["exitCode"]:
                return
            one.status.ready = True
        await asyncio.gather(*(one.run() for one in self.main))

    async def _make_volumes(self) -> None:
        place, pause = self.place, MOUNT_AGAIN
        objects = Objects(place.node.api, place.pod["metadata"]["namespace"])
        made = {}
        for volume in place.pod["spec"].get("volumes") or []:
            name = volume["name"]
            while name not in made:
                folder = place.folder / "volumes" / name
                try:
                    made[name] = await volumes.make_volume(volume, place.pod, objects, folder)
                except volumes.MountError as error:
                    message = f'MountVolume.SetUp failed for volume "{name}" : {error}'
                    place.events.warning(place.pod, "Pod", "FailedMount", message)
                except (ApiError, *AWAY) as error:
                    log.info("%s: volume %s: %r", place.key, name, error)
                if name not in made:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, MOUNT_AGAIN_AT_LEAST)
        place.volumes = made

    def update(self, pod: Json) -> None:
        """Take in what the API says of the pod now: limits may be others than before."""
        self.place.pod = {**pod, "status": {**pod.get("status", {}), "podIP": self.place.address}}
        specs = {one["name"]: one for one in pod["spec"]["containers"]}
        for one in self.main:
            one.resize(specs[one.spec["name"]].get("resources") or {})

    def refresh_names(self, services: list[Json], slices: list[Json]) -> None:
        """Write the names of the cluster's Services into the pod's hosts file."""
        dns.write(self.place.hosts, dns.make_hosts(self.place.pod, services, slices))

    async def stop(self, grace: float) -> None:
        """End the pod within ``grace`` seconds and tell the API that it is gone."""
        self.ending = True
        await asyncio.gather(*(one.stop(grace) for one in (*self.first, *self.main)))
        await self.discard()
        await self._delete()

    async def discard(self) -> None:
        """End the pod at once, if it has not ended, and leave nothing of it but its logs."""
        self.ending = True
        for task in (self._working, self._telling, *self.place.tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(one.kill() for one in (*self.first, *self.main)))
        self.place.groups.remove(self.place.uid)
        shutil.rmtree(self.place.folder, ignore_errors=True)

    async def _delete(self) -> None:
        metadata = self.place.pod["metadata"]
        while True:
            try:
                await self._send()
                await self.place.node.api.delete(
                    "pods",
                    metadata["namespace"],
                    metadata["name"],
                    gracePeriodSeconds=0,
                    preconditions={"uid": metadata["uid"]},
                )
            except ApiError as error:
                if error.status != 409:  # another pod of that name: this one is gone
                    log.warning("%s could not be deleted: %s", self.place.key, error)
            except AWAY:
                await asyncio.sleep(TELL_AGAIN)
                continue
            return

    async def _tell(self) -> None:
        """Send the status whenever it has changed, for ever."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._send()
            except (ApiError, *AWAY) as error:
                log.info("the status of %s was not taken: %r", self.place.key, error)
                self._dirty.set()
                await asyncio.sleep(TELL_AGAIN)

    async def _send(self) -> None:
        """Send the status; a pod that is gone, or another of its name, has none."""
        place, metadata = self.place, self.place.pod["metadata"]
        status = make_status(
            place.pod,
            [one.status for one in self.first],
            [one.status for one in self.main],
            now(),
        )
        address = place.address
        status |= {
            "startTime": written(self._began),
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "podIP": address,
            "podIPs": [{"ip": address}],
            "qosClass": place.pod.get("status", {}).get("qosClass", "Burstable"),
        }
        place.pod["status"] = {**place.pod.get("status", {}), **status}
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        try:
            await place.node.api.merge(
                "pods", metadata["namespace"], metadata["name"], body, "status"
            )
        except ApiError as error:
            if error.status not in (404, 409):
                raise


def unknown(pod: Json) -> str:
    """Return what of a pod's spec this node would have to pretend; empty if nothing."""
    spec = pod["spec"]
    found = [key for key in UNKNOWN if spec.get(key)]
    found += [
        f"restartPolicy of the init container {one['name']}"
        for one in spec.get("initContainers") or []
        if one.get("restartPolicy")
    ]
    return ", ".join(found)
