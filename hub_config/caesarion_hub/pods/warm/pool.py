"""
Keeps warm pods: creates them, finds out when they are ready, replaces them, hands them out.

Started by ``claiming`` with the hub; every pod is handed out once by this process, and the API
server lets one of several hubs have it. Follows the reflector instead of polling. A warm pod has
the priority of users' pods, which cannot be changed after its creation; so that it is in nobody's
way, one is given up for each user's pod that finds no room and would have had it there.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import Logger
from typing import Any

from kubernetes_asyncio.client import ApiException, V1DeleteOptions, V1Preconditions

from caesarion_hub.claims import new_nonce
from caesarion_hub.pods.api import backoff, describe_error
from caesarion_hub.pods.diagnosis import kubernetes_messages
from caesarion_hub.pods.reflector import (
    ANY,
    RELEASE,
    PodReflector,
    Resource,
    qualified_name,
)
from caesarion_hub.pods.warm import supply
from caesarion_hub.pods.warm.metrics import WARM_PODS
from caesarion_hub.pods.warm.supply import State
from caesarion_hub.pods.warm.template import Template, is_warm
from caesarion_hub.readiness import UnclaimedError, wait_until_ready

PREFIX = "jupyter-warm---"
"""Begins the names: as those of users' pods, but KubeSpawner 7.1 makes no such name for a user."""

SETTLE = 0.2
"""Seconds between two looks at the pods: in a burst of starts there are hundreds of changes."""

PARALLEL = 4
"""Pods that start at a time; an estimate."""

QUIET = 2.0
"""Seconds after a user's start in which none is created, for the user's first work; an estimate."""

BUSY = 10.0
"""Seconds of users' starts without a pause, after which one pod starts at a time beside them."""

HEARTBEAT = 1.0
"""Seconds until the next look while something is due that no change announces."""

SEEN_TIMEOUT = 5.0
"""Seconds after which the reflector should have seen a pod that was created; an estimate."""

FIRST_RETRY, LONGEST_RETRY = 2.0, 60.0
"""Seconds after which the pool tries again to create a pod."""


@dataclass(frozen=True)
class Place:
    """Where a pool's pods are, how many, and how many seconds each may take to become ready."""

    namespace: str
    release: str
    replicas: int
    patience: float


class WarmPool:
    """The warm pods of a release; without a template it only deletes those of an earlier one."""

    def __init__(
        self,
        place: Place,
        template: Template | None,
        reflector: PodReflector,
        api: Any,
        url_of: Callable[[Resource], str],
        log: Logger,
    ) -> None:
        self.template = template
        self._place, self._reflector, self._log = place, reflector, log
        self._api, self._url_of = api, url_of
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._taken: set[str] = set()
        self._ready: set[str] = set()
        self._stale: dict[str, str] = {}
        """The resource versions that the API server has refused to change, by uid."""
        self._given_up: set[str] = set()
        """Uids of users' pods for which a warm pod was given up."""
        self._seen: dict[str, tuple[bool, float]] = {}
        """Whether each pod has a node, and since when that is known, by uid."""
        self._checks: dict[str, asyncio.Task[None]] = {}
        """The tasks that wait until pods are ready, by uid."""
        self._starts, self._last_start, self._busy_since = 0, -QUIET, 0.0
        self._retries: Iterator[float] | None = None
        """The pauses between retries, while pods fail."""
        self._retry_at = 0.0

    def start(self) -> None:
        """Begin to keep pods, in the background."""
        self._task = asyncio.create_task(self._keep())

    # For starts

    @contextmanager
    def user_starting(self) -> Iterator[None]:
        """Create none while users' servers start, which need the nodes' CPU; later few."""
        if self._is_quiet:
            self._busy_since = _now()
        self._starts += 1
        try:
            yield
        finally:
            self._starts -= 1
            self._last_start = _now()

    @property
    def _is_quiet(self) -> bool:
        return not self._starts and _now() >= self._last_start + QUIET

    @property
    def _parallel(self) -> int:
        if self._is_quiet:
            return PARALLEL
        return 1 if _now() >= self._busy_since + BUSY else 0

    def offers(self, most: int) -> Iterator[Resource]:
        """Hand out ready pods, ``most`` at most, each when it is asked for and to one start."""
        for pod in list(self._mine()):
            uid, version = pod["metadata"]["uid"], pod["metadata"]["resourceVersion"]
            if most and self._is_free(pod) and self._stale.get(uid) != version:
                most -= 1
                self._taken.add(uid)
                yield pod

    def _is_free(self, pod: Resource) -> bool:
        return pod["metadata"]["uid"] not in self._taken and self._state_of(pod) is State.READY

    def give_back(self, pod: Resource) -> None:
        """Offer a pod again that has changed meanwhile, as soon as the change is seen here."""
        uid = pod["metadata"]["uid"]
        self._stale[uid] = pod["metadata"]["resourceVersion"]
        self._taken.discard(uid)

    async def discard(self, pod: Resource) -> None:
        """Delete a pod that was taken, whatever it has become; else the orphan reaper will."""
        await self._delete(pod, V1Preconditions(uid=pod["metadata"]["uid"]))

    async def _delete(self, pod: Resource, preconditions: V1Preconditions) -> bool:
        """Delete a pod; return whether it was there, as the preconditions say, and will be gone."""
        metadata = pod["metadata"]
        options = V1DeleteOptions(grace_period_seconds=0, preconditions=preconditions)
        try:
            await self._api.delete_namespaced_pod(
                metadata["name"], metadata["namespace"], body=options
            )
        except (TimeoutError, ApiException) as problem:
            if getattr(problem, "status", None) not in (404, 409):
                self._log.warning(
                    "%s was not deleted: %s", qualified_name(pod), describe_error(problem)
                )
            return False
        return True

    # Keeping

    async def _keep(self) -> None:
        await self._reflector.loaded()
        while True:
            change = self._reflector.next_change(ANY)
            try:
                is_settled = await self._step()
            except Exception as problem:
                self._failed(describe_error(problem))
                is_settled = False
            woken = asyncio.ensure_future(self._wake.wait())
            changes: list[asyncio.Future[Any]] = [change, woken]
            await asyncio.wait(
                changes,
                timeout=None if is_settled else HEARTBEAT,
                return_when=asyncio.FIRST_COMPLETED,
            )
            woken.cancel()
            self._wake.clear()
            await asyncio.sleep(SETTLE)

    async def _step(self) -> bool:
        """Look at the pods and act once; return whether only a change makes a next look useful."""
        mine = list(self._mine())
        self._check(mine)
        available = [
            (pod, self._state_of(pod)) for pod in mine if pod["metadata"]["uid"] not in self._taken
        ]
        for state in (State.READY, State.STARTING):
            count = sum(each is state for _, each in available)
            WARM_PODS.labels(state.name.lower()).set(count)
        waiting = self._users_without_room()
        replicas = self._place.replicas if self.template else 0
        plan = supply.make_plan(
            available,
            replicas,
            parallel=self._parallel,
            users_wait=len(waiting),
            give_up=len(waiting - self._given_up),
        )
        self._given_up = waiting
        # Before the first await: from now on no start takes them.
        self._taken |= {pod["metadata"]["uid"] for pod in plan.delete}
        for pod in plan.delete:
            self._log_end(pod)
            await self._delete_warm(pod)
        create = plan.create if _now() >= self._retry_at else 0
        await asyncio.gather(*(self._create() for _ in range(create)))
        return len(available) == replicas and all(state is State.READY for _, state in available)

    async def _delete_warm(self, pod: Resource) -> None:
        """Delete a pod unless another hub has claimed it; if that fails, the next look will do."""
        uid, version = pod["metadata"]["uid"], pod["metadata"]["resourceVersion"]
        if not await self._delete(pod, V1Preconditions(uid=uid, resource_version=version)):
            self._taken.discard(uid)

    def _mine(self) -> Iterator[Resource]:
        """Yield the warm pods of the release that are not being deleted."""
        for pod in self._reflector.pods.values():
            metadata = pod["metadata"]
            if (
                is_warm(pod)
                and metadata["labels"].get(RELEASE) == self._place.release
                and not metadata.get("deletionTimestamp")
            ):
                yield pod

    def _state_of(self, pod: Resource) -> State:
        late = _now() - self._place.patience
        overdue = [uid for uid, (_, since) in self._seen.items() if since < late]
        digest = self.template.digest if self.template else ""
        return supply.state_of(pod, digest, self._ready, overdue)

    def _users_without_room(self) -> set[str]:
        """Return the uids of users' pods that find no room, and would in a warm pod's."""
        return {
            pod["metadata"]["uid"]
            for pod in self._reflector.pods.values()
            if supply.is_unschedulable(pod)
            and not is_warm(pod)
            and not pod["metadata"].get("deletionTimestamp")
            and self.template
            and supply.fits_into(pod, self.template.common.rest)
        }

    async def _create(self) -> None:
        assert self.template
        name = f"{PREFIX}{secrets.token_hex(5)}"
        pod = self.template.make_pod(name, new_nonce())
        await self._api.create_namespaced_pod(self._place.namespace, pod)
        key = f"{self._place.namespace}/{name}"
        async with asyncio.timeout(SEEN_TIMEOUT):
            # Until then the next look would count one too few.
            while key not in self._reflector.pods:
                await asyncio.wait([self._reflector.next_change(name)])

    def _check(self, mine: list[Resource]) -> None:
        """Wait in the background for each pod to become ready; forget those that are gone."""
        known = {pod["metadata"]["uid"] for pod in mine}
        for uid in self._checks.keys() - known:
            self._checks.pop(uid).cancel()
        self._ready &= known
        self._taken &= known
        for table in (self._seen, self._stale):
            for uid in table.keys() - known:
                table.pop(uid)
        for pod in mine:
            uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
            has_node = bool(pod["spec"].get("nodeName"))
            if self._seen.get(uid, (None, 0.0))[0] is not has_node:
                self._seen[uid] = (has_node, _now())
            if has_node and uid not in self._checks:
                self._checks[uid] = asyncio.create_task(self._wait_until_ready(name, uid))

    async def _wait_until_ready(self, name: str, uid: str) -> None:
        key = f"{self._place.namespace}/{name}"
        while not ((pod := self._reflector.pods.get(key)) and (pod["status"]).get("podIP")):
            await asyncio.wait([self._reflector.next_change(name)])
        try:
            await wait_until_ready(f"{self._url_of(pod)}/")
        except UnclaimedError:
            self._ready.add(uid)
            self._succeeded()
            self._wake.set()

    def _log_end(self, pod: Resource) -> None:
        name, state = pod["metadata"]["name"], self._state_of(pod)
        if state is State.ENDED:
            self._failed(f"{name} has ended ({kubernetes_messages(pod, [])})")
        elif state is State.OVERDUE:
            self._failed(f"{name} was not ready after {self._place.patience:.0f} seconds")
        else:
            self._log.debug("Deleting %s, which is %s.", name, state.name.lower())

    def _failed(self, sentence: str) -> None:
        """Pause before the next pod is created; log the first of several failures."""
        if self._retries is None:
            self._retries = backoff(FIRST_RETRY, LONGEST_RETRY)
            self._log.warning("Warm servers: %s. Trying again.", sentence.rstrip("."))
        self._retry_at = _now() + next(self._retries)

    def _succeeded(self) -> None:
        if self._retries is not None:
            self._retries, self._retry_at = None, 0.0
            self._log.info("Warm servers: working again.")


def _now() -> float:
    return asyncio.get_running_loop().time()
