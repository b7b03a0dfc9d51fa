"""
A user's server in a pod: waited for, told about, adopted after the hub's restart.

JupyterHub runs :class:`PodSpawner`, one for each server. Calls ``objects`` for
the pod and the disk, ``diagnosis``, ``trouble`` and ``progress`` for words,
``knock`` to notice readiness, ``burst`` for the processor at the start. Overrides
KubeSpawner where it gives up, waits or is silent, and nothing else.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from kubernetes_asyncio.client import ApiException

from caesarion_hub.pods import startup_cpu
from caesarion_hub.pods.api import PatientApi, message_of, shown
from caesarion_hub.pods.diagnosis import has_ended, how_ended, in_kubernetes_words, trouble_of
from caesarion_hub.pods.objects import PodObjects
from caesarion_hub.pods.progress import stage_of
from caesarion_hub.pods.readiness import until_answered
from caesarion_hub.pods.reflector import Resource
from caesarion_hub.pods.spawn_errors import (
    SpawnFailed,
    Trouble,
    of_choice,
    of_no_right,
    of_patience,
    of_silence,
    refusal,
)

MARGIN = 0.5
"""Seconds before JupyterHub's own time-out at which a start ends, with words of its own."""

FLEETING = 3.0
"""Seconds of a trouble that most starts have, such as a disk being made, before it is told."""

UNSEEN = 3.0
"""Seconds after which a pod that was made should be seen by its mirror; a made-up number."""


class PodSpawner(PodObjects):
    """Starts a server in a pod of its own."""

    _resizes: ClassVar[bool] = True
    """Whether the cluster can change what a pod may use in place, as far as we know."""

    _trouble: Trouble | None = None
    _trouble_since = 0.0
    _told: str = ""
    """What of the trouble the user and the log have been told."""

    _ended: str = ""
    _noticing: "asyncio.Future[Any] | None" = None

    # Starting

    async def _start(self) -> str:
        """
        Start the pod and return where its server answers.

        Raises :class:`SpawnFailed`, whose sentence the user is told: at once
        for what does not heal, otherwise when ``start_timeout`` is over.
        """
        began = time.monotonic()
        self._trouble, self._told, self._ended = None, "", ""
        try:
            async with asyncio.timeout(max(self.start_timeout - MARGIN, MARGIN)):
                await self.load_user_options()
                await asyncio.gather(self._start_watching_pods(), self._start_watching_events())
                await self._ensure_disk()
                await self._obtain_pod()
                url = await self._answering_url()
        except TimeoutError as problem:
            seconds = time.monotonic() - began
            raise SpawnFailed(of_patience(seconds, self._trouble or self._silence())) from problem
        except ApiException as problem:
            trouble = refusal(problem.status, message_of(problem))
            raise SpawnFailed(trouble, log_message=shown(problem)) from problem
        self.log.info("%s answers after %.2f s.", self.pod_name, time.monotonic() - began)
        return url

    async def _run_apply_user_options(self, user_options: dict[str, Any]) -> None:
        """Leave what the user has chosen to :meth:`load_user_options`, with no warning."""
        if self.apply_user_options:
            await super()._run_apply_user_options(user_options)

    async def load_user_options(self) -> None:
        """Apply what the user has chosen, which may have come past the spawn page's form."""
        try:
            await super().load_user_options()
        except (KeyError, ValueError) as problem:
            raise SpawnFailed(of_choice(problem)) from problem

    async def _answering_url(self) -> str:
        """Return where the pod's server answers, as soon as it does."""
        asked = time.monotonic()
        while not (pod := self._checked()) or not (pod.get("status") or {}).get("podIP"):
            if not pod and time.monotonic() - asked > UNSEEN:
                await self.pod_reflector.refresh()
                asked = time.monotonic()
            await self._next_change()
        url: str = self._get_pod_url(pod)
        knocking = asyncio.ensure_future(until_answered(f"{url}{self.server.base_url}api"))
        try:
            while not knocking.done():
                self._checked()
                await self._next_change(knocking)
        finally:
            knocking.cancel()
        return url

    def _checked(self) -> Resource | None:
        """Return the pod; raise SpawnFailed if it has no hope left."""
        pod = self.pod
        events = self.events_of(pod) if pod else []
        trouble = trouble_of(pod, events) if pod else None
        now = time.monotonic()
        if trouble is None or self._trouble is None or trouble.reason != self._trouble.reason:
            self._trouble_since, self._told = now, ""
        self._trouble = trouble
        if pod is None or trouble is None:
            return pod
        lasted = now - self._trouble_since
        if lasted >= min(trouble.patience, FLEETING) and trouble.text != self._told:
            self._told = trouble.text
            raw = in_kubernetes_words(pod, events)
            self.log.warning("%s: %s (%s)", self.pod_name, trouble.text, raw)
        if lasted >= trouble.patience:
            raise SpawnFailed(trouble)
        return pod

    def _silence(self) -> Trouble | None:
        """Return what is told while the API does not answer, or does not answer this hub."""
        mirrors = [mirror for mirror in (self.pod_reflector, self.event_reflector) if mirror]
        for health in (PatientApi.health, *(mirror.health for mirror in mirrors)):
            problem = health.problem if health else None
            if isinstance(problem, ApiException) and problem.status in (401, 403):
                return of_no_right()
            if problem:
                return of_silence()
        return None

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield how far the start has come, in words, whenever that changes."""
        last: tuple[int, str] | None = None
        while self._start_future is None or not self._start_future.done():
            pod = self.pod
            silence = self._silence()
            done, doing = stage_of(pod, self.events_of(pod) if pod else [], self.image)
            shown_now = (done, self._told or (silence.text if silence else doing))
            if shown_now != last:
                yield {"progress": shown_now[0], "message": shown_now[1]}
                last = shown_now
            await self._next_change(*([self._start_future] if self._start_future else []))
        if not self._start_future.cancelled() and not self._start_future.exception():
            yield {"progress": 95, "message": "Your server answers."}

    # Running

    async def get_url(self) -> str:
        """
        Return where the server answers; of one that the hub died in the start of, too.

        JupyterHub asks after its restart, for every server that :meth:`poll`
        says is there. It takes no exception, but gives up a server that does not
        answer within ``http_timeout``; so that is cut for one without hope.
        """
        try:
            async with asyncio.timeout(self.start_timeout):
                await self._start_watching_events()
                return f"{await self._answering_url()}{self.server.base_url}"
        except (SpawnFailed, TimeoutError) as problem:
            self.log.warning("%s is not adopted: %s", self.pod_name, problem)
            self.http_timeout = 1
            url: str = self.server.url
            return url

    async def poll(self) -> int | None:
        """Return None while the pod is there, else how it ended; lower the burst in passing."""
        await self._start_watching_pods()
        pod = self.pod
        if pod:
            self._ended = how_ended(pod) or self._ended
        status: int | None = await super().poll()
        if status is None and pod and self.ready and PodSpawner._resizes:
            await self._lower_cpu(pod)
        return status

    def start_polling(self) -> None:
        """Look after the server every now and then, and whenever there is news of its pod."""
        super().start_polling()
        self._listen()

    def _listen(self) -> None:
        if mirror := self.pod_reflector:
            mirror.turn(self.pod_name).add_done_callback(self._heard)

    def _heard(self, _turn: object = None) -> None:
        """Tell the hub at once that the pod has ended, if that is the news."""
        if self._poll_callback is None:
            return  # It is being stopped, or has been.
        if not has_ended(self.pod):
            self._listen()
        elif self.pending:
            # JupyterHub hears of an end only once it has done what it is at.
            asyncio.get_running_loop().call_later(1, self._heard)
        else:
            self._noticing = asyncio.ensure_future(self.poll_and_notify())

    async def _lower_cpu(self, pod: Resource) -> None:
        """Take back what the server needed more of the processor while it started."""
        patch = startup_cpu.lowering(pod)
        if not patch:
            return
        name, namespace = self.pod_name, self.namespace
        try:
            await self.api.patch_namespaced_pod_resize(
                name, namespace, patch, _content_type=startup_cpu.RESIZE
            )
        except TimeoutError:
            return  # at the next poll, then
        except ApiException as problem:
            if problem.status == 404 and not self.pod:
                return
            PodSpawner._resizes = False
            self.log.warning(
                "The cluster does not lower a pod's processor in place (%s): servers keep "
                "singleuser.cpu.startLimit. Kubernetes 1.33 can; or set startLimit to null.",
                shown(problem),
            )

    # Remembering

    @property
    def ended(self) -> str:
        """How the last server ended, if not because somebody stopped it: a sentence, or nothing."""
        return self._ended

    def get_state(self) -> dict[str, Any]:
        """Return what a restarted hub must know; also of a start that is under way."""
        state: dict[str, Any] = super().get_state()
        if self._ended:
            state["ended"] = self._ended
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what an earlier hub has written."""
        super().load_state(state)
        self._ended = state.get("ended", "")
