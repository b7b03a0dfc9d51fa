"""
The life of one container in a pod: image, start, probes, restarts, end.

Called by ``pods``, which says when to begin and when to stop; tells it whenever
the container's status has changed.
"""

import asyncio
import contextlib
import functools
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fakes.kubernetes.client import AWAY, ApiError, Json
from tests.fakes.kubernetes.node import containers, orders, probes, status
from tests.fakes.kubernetes.node.environment import ConfigError
from tests.fakes.kubernetes.node.images import PullError, reference
from tests.fakes.kubernetes.node.place import Place
from tests.fakes.kubernetes.times import written

BACKOFF, LONGEST_BACKOFF = 10.0, 300.0
"""Seconds before a second restart or pull, doubled each time: Kubernetes' own."""

LOOK_AGAIN = 2.0
"""Seconds until a container is made again whose Secret or ConfigMap was missing."""


class Lifecycle:
    """One container of a pod, over its restarts."""

    def __init__(self, place: Place, spec: Json, restart: str, changed: Callable[[], None]) -> None:
        self.place = place
        self.spec = spec
        self.status = status.ContainerStatus(spec["name"], spec["image"])
        self.status.resources = spec.get("resources") or {}
        self._restart = restart
        self._changed = changed
        self._container: containers.Container | None = None
        self._order: containers.Order | None = None
        self._ending = False

    async def run(self) -> None:
        """Return when the container has ended and is not to be started again."""
        pause = 0.0
        while True:
            await self._get_image()
            began = time.monotonic()
            await self._run_once()
            if self._ending or not self._again():
                return
            if time.monotonic() - began > 2 * LONGEST_BACKOFF:
                pause = 0.0
            await self._back_off(pause)
            pause = min(max(BACKOFF, 2 * pause), LONGEST_BACKOFF)
            self.status.restarts += 1

    def _again(self) -> bool:
        code = (self.status.terminated or {})["exitCode"]
        return self._restart == "Always" or (self._restart == "OnFailure" and code != 0)

    async def _back_off(self, pause: float) -> None:
        if not pause:  # the first restart is at once
            return
        name = f"{self.spec['name']} in pod {self.place.key}"
        message = f"back-off {pause:g}s restarting failed container={name}"
        self._event("warning", "BackOff", f"Back-off restarting failed container {name}")
        self._wait_with("CrashLoopBackOff", message)
        await asyncio.sleep(pause)

    async def _get_image(self) -> None:
        image, pause = self.spec["image"], BACKOFF
        while True:
            try:
                await self._pull(image)
            except PullError as error:
                self._event("warning", "Failed", f'Failed to pull image "{image}": {error}')
                self._event("warning", "Failed", "Error: ErrImagePull")
                self._wait_with("ErrImagePull", str(error))
            else:
                return
            await asyncio.sleep(min(1.0, pause))
            self._event("normal", "BackOff", f'Back-off pulling image "{image}"')
            self._event("warning", "Failed", "Error: ImagePullBackOff")
            self._wait_with("ImagePullBackOff", f'Back-off pulling image "{image}"')
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_BACKOFF)

    async def _pull(self, image: str) -> None:
        registry, policy = self.place.registry, self._pull_policy(image)
        if policy != "Always" and registry.present(image):
            self._event("normal", "Pulled", f'Container image "{image}" already present on machine')
            return
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            raise PullError(message)
        self._event("normal", "Pulling", f'Pulling image "{image}"')
        began = time.monotonic()
        await registry.pull(image)
        took = f"{time.monotonic() - began:.3f}s"
        self._event("normal", "Pulled", f'Successfully pulled image "{image}" in {took}')

    def _pull_policy(self, image: str) -> str:
        latest = reference(image).endswith(":latest")
        return str(self.spec.get("imagePullPolicy") or ("Always" if latest else "IfNotPresent"))

    async def _run_once(self) -> None:
        """Start the container, watch over it until it ends, and tell how it did."""
        name, id = self.spec["name"], uuid.uuid4().hex
        folder = self.place.folder / "containers" / id
        order = self._order = await self._make_order(folder / containers.ROOT)
        group = self.place.groups.add(self.place.uid, name)
        group.limit(self.status.resources)
        self._event("normal", "Created", f"Created container: {name}")
        container = self._container = await containers.start(
            id,
            order,
            folder,
            self.place.logs / name / f"{self.status.restarts}.log",
            group,
        )
        self.status.id = id
        if container.failure:
            self._event("warning", "Failed", f"Error: {container.failure}")
        else:
            self._event("normal", "Started", f"Started container {name}")
            self.status.state = {"running": {"startedAt": written(container.began)}}
            self._changed()
            await self._watch(container)
        self._ended(container)

    async def _watch(self, container: containers.Container) -> None:
        """Probe the container until it ends."""
        checks = asyncio.ensure_future(self._check(container))
        try:
            await container.wait()
        finally:
            checks.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await checks

    def _ended(self, container: containers.Container) -> None:
        self.status.started = self.status.ready = False
        self.status.state = self.status.last = status.terminated(
            container.code,
            container.reason,
            written(container.began),
            written(container.ended or container.began),
            container.id,
            container.failure,
        )
        self._changed()

    async def _make_order(self, root: Path) -> containers.Order:
        while True:
            try:
                return await orders.make(self.place, self.spec, root)
            except ConfigError as error:
                self._event("warning", "Failed", f"Error: {error}")
                self._wait_with("CreateContainerConfigError", str(error))
            except (ApiError, *AWAY) as error:
                self._wait_with("CreateContainerConfigError", str(error))
            await asyncio.sleep(LOOK_AGAIN)

    async def _check(self, container: containers.Container) -> None:
        """Run the three probes; the others wait for the one of startup."""
        if "startupProbe" in self.spec:
            passed = asyncio.Event()
            startup = self._probe(container, "startup", passed)
            await passed.wait()
            startup.cancel()
        self.status.started = True
        self.status.ready = "readinessProbe" not in self.spec
        self._changed()
        running = [
            self._probe(container, kind)
            for kind in ("readiness", "liveness")
            if f"{kind}Probe" in self.spec
        ]
        try:
            await asyncio.gather(*running)
        finally:
            for probe in running:
                probe.cancel()

    def _probe(
        self, container: containers.Container, kind: str, passed: asyncio.Event | None = None
    ) -> asyncio.Task[None]:
        spec = self.spec[f"{kind}Probe"]
        probe = probes.Probe(spec, functools.partial(self._ask, spec))

        def tell(succeeded: bool, message: str) -> None:
            if not succeeded:
                self._event("warning", "Unhealthy", f"{kind.title()} probe failed: {message}")
            if kind == "readiness":
                if self.status.ready != succeeded:
                    self.status.ready = succeeded
                    self._changed()
            elif succeeded and passed:
                passed.set()
            elif not succeeded:
                self._restart_unhealthy(container, kind)

        return asyncio.ensure_future(probe.run(tell))

    def _restart_unhealthy(self, container: containers.Container, kind: str) -> None:
        name = self.spec["name"]
        message = f"Container {name} failed {kind} probe, will be restarted"
        self._event("normal", "Killing", message)
        grace = float(self.place.pod["spec"].get("terminationGracePeriodSeconds", 30))
        self.place.background(container.stop(grace))

    async def _ask(self, handler: Json) -> None:
        await probes.ask(handler, self.spec, self.place.address, self.place.http, self._execute)

    async def _execute(self, argv: Sequence[str], seconds: float) -> tuple[int, str]:
        if not (self._container and self._order):
            raise probes.ProbeError("the container does not run")
        return await self._container.execute(argv, self._order, seconds)

    async def stop(self, grace: float) -> None:
        """End the container, by its hook and SIGTERM first; it is not started again."""
        self._ending = True
        container = self._container
        if not (container and container.running):
            return
        self._event("normal", "Killing", f"Stopping container {self.spec['name']}")
        deadline = time.monotonic() + grace
        if hook := (self.spec.get("lifecycle") or {}).get("preStop"):
            try:
                await self._ask({**hook, "timeoutSeconds": max(grace, 0.01)})
            except probes.ProbeError as error:
                self._event("warning", "FailedPreStopHook", f"PreStopHook failed: {error}")
        await container.stop(max(deadline - time.monotonic(), 0))

    async def kill(self) -> None:
        """End the container at once."""
        self._ending = True
        if self._container:
            self._container.signal(signal.SIGKILL)
            await self._container.wait()

    def resize(self, resources: Json) -> None:
        """Give the running container other limits."""
        if resources != self.status.resources:
            self.place.groups.add(self.place.uid, self.spec["name"]).limit(resources)
            self.status.resources = resources
            self._changed()

    def _wait_with(self, reason: str, message: str) -> None:
        self.status.state = status.waiting(reason, message)
        self._changed()

    def _event(self, how: str, reason: str, message: str) -> None:
        record = self.place.events.normal if how == "normal" else self.place.events.warning
        record(self.place.pod, "Pod", reason, message)
