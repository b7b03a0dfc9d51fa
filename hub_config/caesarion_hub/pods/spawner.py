"""
Runs a user's server in a pod: waits for it, reports progress, adopts it after a restart.

JupyterHub creates one :class:`PodSpawner` for each server. Calls ``claiming`` and
``objects`` for the pod and the volume, ``diagnosis`` and ``spawn_errors`` for messages,
``readiness`` to wait for the server and ``startup_cpu`` for its CPU limit.
Overrides KubeSpawner 7.1 where that gives up, polls or reports nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from textwrap import dedent
from typing import Any, ClassVar

from kubernetes_asyncio.client import ApiException

from caesarion_hub.pods import startup_cpu
from caesarion_hub.pods.api import RetriableApi, describe_error, message_of
from caesarion_hub.pods.claiming import ClaimingPods
from caesarion_hub.pods.diagnosis import (
    describe_end,
    find_problem,
    has_ended,
    kubernetes_messages,
    progress_of,
)
from caesarion_hub.pods.reflector import Resource
from caesarion_hub.pods.spawn_errors import (
    SpawnFailed,
    SpawnProblem,
    api_refusal,
    api_unavailable,
    hub_forbidden,
    invalid_choice,
    timed_out,
    unclaimed,
)
from caesarion_hub.pods.startup_cpu import ResizeRefusal
from caesarion_hub.pods.warm.metrics import STARTS
from caesarion_hub.readiness import UnclaimedError, wait_until_ready
from caesarion_hub.sandboxes import is_sandbox

TIMEOUT_MARGIN = 0.5
"""Seconds before JupyterHub's own timeout at which we end a start, with a better message."""

DISPLAY_DELAY = 3.0
"""Seconds before a problem is shown that most starts have, such as a volume being created."""

MISSING_TIMEOUT = 3.0
"""Seconds after which the reflector should have seen a created pod; an estimate."""


class PodSpawner(ClaimingPods):
    """Spawns a server in its own pod."""

    _can_resize: ClassVar[bool] = True
    """Whether the cluster resizes pods in place for this hub; False after it has refused."""

    _resize_refused = False
    """Whether the cluster refused to resize this pod."""

    _resize: "asyncio.Future[None] | None" = None

    _problem: SpawnProblem | None = None
    _problem_since = 0.0
    _shown: str = ""
    """The text of the problem as last shown to the user and logged."""

    _ended: str = ""
    _notification: "asyncio.Future[Any] | None" = None

    # Starting

    async def _start(self) -> str:
        """
        Start the pod and return the server's URL.

        Replaces KubeSpawner._start (7.1, private) whole, which polls and does not say
        why a pod cannot start. Compare the two at every upgrade of KubeSpawner.

        Raises :class:`SpawnFailed`, whose sentence the user sees: at once for
        permanent problems, otherwise after ``start_timeout``.
        """
        began = time.monotonic()
        self._problem, self._shown, self._ended, self._resize_refused = None, "", "", False
        try:
            async with asyncio.timeout(max(self.start_timeout - TIMEOUT_MARGIN, TIMEOUT_MARGIN)):
                await self.load_user_options()
                await asyncio.gather(self._start_watching_pods(), self._start_watching_events())
                with self.pool.user_starting() if self.pool else nullcontext():
                    await self._ensure_volume()
                    await self._ensure_pod()
                    url = await self._ready_url()
        except TimeoutError as problem:
            seconds = time.monotonic() - began
            raise SpawnFailed(timed_out(seconds, self._problem or self._api_problem())) from problem
        except ApiException as problem:
            refused = api_refusal(problem.status, message_of(problem))
            raise SpawnFailed(refused, log_message=describe_error(problem)) from problem
        seconds, kind = time.monotonic() - began, "warm" if self.is_claimed else "cold"
        STARTS.labels(kind).observe(seconds)
        self.log.info("%s is ready after %.2f s, started %s.", self.pod_name, seconds, kind)
        return url

    async def _run_apply_user_options(self, user_options: dict[str, Any]) -> None:
        """
        Leave the user's choices to :meth:`load_user_options`.

        Private in JupyterHub 6.1, which without the hook warns of "unhandled
        user_options" at every start with a profile.
        """
        if self.apply_user_options:
            await super()._run_apply_user_options(user_options)

    async def load_user_options(self) -> None:
        """Apply the user's choices, which may come from the API instead of the spawn page."""
        try:
            await super().load_user_options()
        except (KeyError, ValueError) as problem:
            raise SpawnFailed(invalid_choice(problem)) from problem
        if is_sandbox(self.name):
            self.drop_volume()

    async def _ready_url(self) -> str:
        """Wait until the pod's server answers, and return its URL."""
        asked = time.monotonic()
        while not (pod := self._checked_pod()) or not (pod.get("status") or {}).get("podIP"):
            if not pod and time.monotonic() - asked > MISSING_TIMEOUT:
                await self.pod_reflector.refresh()
                asked = time.monotonic()
            await self._next_change()
        url: str = self._get_pod_url(pod)  # private in KubeSpawner 7.1
        ready = asyncio.ensure_future(wait_until_ready(f"{url}{self.server.base_url}api"))
        try:
            while not ready.done():
                self._checked_pod()
                await self._next_change(ready)
            await ready
        except UnclaimedError as problem:
            raise SpawnFailed(unclaimed()) from problem
        finally:
            ready.cancel()
        return url

    def _checked_pod(self) -> Resource | None:
        """Return the pod, or None if it is not seen yet; raise SpawnFailed if it cannot start."""
        pod = self.pod
        events = self.events_of(pod) if pod else []
        problem = find_problem(pod, events) if pod else None
        now = time.monotonic()
        if problem is None or self._problem is None or problem.reason != self._problem.reason:
            self._problem_since, self._shown = now, ""
        self._problem = problem
        if pod is None or problem is None:
            return pod
        lasted = now - self._problem_since
        if lasted >= min(problem.patience, DISPLAY_DELAY) and problem.text != self._shown:
            self._shown = problem.text
            raw = kubernetes_messages(pod, events)
            self.log.warning("%s: %s (%s)", self.pod_name, problem.text, raw)
        if lasted >= problem.patience:
            raise SpawnFailed(problem)
        return pod

    def _api_problem(self) -> SpawnProblem | None:
        """Return the problem with the Kubernetes API itself, if there is one."""
        for health in (RetriableApi.health, *(reflector.health for reflector in self._reflectors)):
            problem = health.problem if health else None
            if isinstance(problem, ApiException) and problem.status in (401, 403):
                return hub_forbidden()
            if problem:
                return api_unavailable()
        return None

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the progress of the start when it changes, later also how long it has taken."""
        last: tuple[int, str] | None = None
        began = reminded = time.monotonic()
        while self._start_future is None or not self._start_future.done():
            pod = self.pod
            api_problem = self._api_problem()
            percent, stage = progress_of(pod, self.events_of(pod) if pod else [], self.image)
            current = (percent, self._shown or (api_problem.text if api_problem else stage))
            if current != last:
                yield {"progress": current[0], "message": current[1]}
                last = current
            now = time.monotonic()
            is_slow = 0 < self.slow_spawn_message_threshold <= now - began
            if is_slow and now - reminded >= self.slow_spawn_message_frequency:
                reminded = now
                reminder = dedent(self.slow_spawn_message).format(seconds=int(now - began))
                yield {"message": f"{current[1]} {reminder}"}
            await self._next_change(*([self._start_future] if self._start_future else []))
        if not self._start_future.cancelled() and not self._start_future.exception():
            yield {"progress": 95, "message": "Your server is ready."}

    # Running

    async def get_url(self) -> str:
        """
        Return the server's URL, also for one whose start the previous hub did not finish.

        JupyterHub 6.1 calls this after its restart for every server that
        :meth:`poll` finds. It expects no exception, but drops a server that does
        not answer within ``http_timeout``; for a server that cannot start, that
        timeout is shortened.
        """
        try:
            async with asyncio.timeout(self.start_timeout):
                await self._start_watching_events()
                return f"{await self._ready_url()}{self.server.base_url}"
        except (SpawnFailed, TimeoutError) as problem:
            self.log.warning("Not adopting %s: %s", self.pod_name, problem)
            self.http_timeout = 1
            url: str = self.server.url
            return url

    async def poll(self) -> int | None:
        """Return None while the pod runs, else its exit status; lower its CPU limit if needed."""
        await self._start_watching_pods()
        pod = self.pod
        if pod and not self.owns(pod):
            return 1
        if pod:
            self._ended = describe_end(pod) or self._ended
        status: int | None = await super().poll()
        if status is None and pod and self.ready:
            self._lower_cpu(pod)
        return status

    def start_polling(self) -> None:
        """Poll the server regularly, and whenever its pod changes."""
        super().start_polling()
        self._watch_for_end()

    def _watch_for_end(self) -> None:
        if reflector := self.pod_reflector:
            reflector.next_change(self.pod_name).add_done_callback(self._on_change)

    def _on_change(self, _change: object = None) -> None:
        """Notify the hub at once if the pod has ended."""
        # Private in JupyterHub 6.1: its stop_polling sets it to None when a server is stopped.
        if self._poll_callback is None:
            return
        if not has_ended(self.pod):
            self._watch_for_end()
        elif self.pending:
            # JupyterHub 6.1 ignores an end during a pending start or stop: notify it afterwards.
            asyncio.get_running_loop().call_later(1, self._on_change)
        else:
            self._notification = asyncio.ensure_future(self.poll_and_notify())

    def _lower_cpu(self, pod: Resource) -> None:
        """
        Lower the CPU limit to its final value, in the background.

        JupyterHub's pages wait for :meth:`poll`, which must not wait for the
        Kubernetes API.
        """
        if (reason := startup_cpu.infeasible(pod)) and not self._resize_refused:
            self._refuse_resize(ResizeRefusal.POD, reason)
        is_running = self._resize is not None and not self._resize.done()
        if is_running or self._resize_refused or not PodSpawner._can_resize:
            return
        if patch := startup_cpu.lowering_patch(pod):
            self._resize = asyncio.ensure_future(self._request_resize(patch))

    async def _request_resize(self, patch: Resource) -> None:
        name, namespace = self.pod_name, self.namespace
        try:
            await self.api.patch_namespaced_pod_resize(
                name, namespace, patch, _content_type=startup_cpu.PATCH_TYPE
            )
        except TimeoutError:
            return  # the next poll tries again
        except ApiException as problem:
            refusal = startup_cpu.judge(problem.status, message_of(problem), name)
            self._refuse_resize(refusal, describe_error(problem))

    def _refuse_resize(self, refusal: ResizeRefusal, reason: str) -> None:
        """
        Stop trying to resize this pod, or any pod, and log why.

        After any other refusal the next poll tries again.
        """
        if refusal is ResizeRefusal.CLUSTER:
            PodSpawner._can_resize = False
            self.log.warning(
                "The cluster does not resize pods in place for the hub (%s), so servers keep "
                "singleuser.cpu.startLimit. Use Kubernetes 1.33, allow the hub's role to patch "
                "pods/resize, or set startLimit to null.",
                reason,
            )
        elif refusal is ResizeRefusal.POD:
            self._resize_refused = True
            self.log.warning(
                "%s was not resized and keeps singleuser.cpu.startLimit: %s", self.pod_name, reason
            )

    # State

    @property
    def ended(self) -> str:
        """A sentence on why the last server stopped by itself, or an empty string."""
        return self._ended

    def get_state(self) -> dict[str, Any]:
        """Return the state that a restarted hub needs, also during a start."""
        state: dict[str, Any] = super().get_state()
        if self._ended:
            state["ended"] = self._ended
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the state that an earlier hub saved."""
        super().load_state(state)
        self._ended = state.get("ended", "")
