"""
The Kubernetes objects of one server: its disk and its pod, made, taken over, ended.

The part of ``spawner`` that speaks with the API, through ``api``, and listens to
it, through ``mirror``. Overrides KubeSpawner where it gives up or polls.
"""

import asyncio
from typing import Any

from kubernetes_asyncio.client import ApiException, V1DeleteOptions
from kubespawner import KubeSpawner
from kubespawner.clients import shared_client
from traitlets import Float, default

from caesarion_hub.pods import startup_cpu
from caesarion_hub.pods.api import PatientApi, pauses, reason_of
from caesarion_hub.pods.reflector import (
    COMPONENT,
    RELEASE,
    EventMirror,
    PodMirror,
    Resource,
    mirror_of,
)
from caesarion_hub.pods.spawn_errors import SpawnFailed, of_another_release


class PodObjects(KubeSpawner):  # type: ignore[misc]
    """What there is of a server in the cluster."""

    cpu_start_limit = Float(
        None,
        allow_none=True,
        config=True,
        help="Cores that a pod may use until its server has answered for a while; then they are "
        "lowered to cpu_limit in place, which needs Kubernetes 1.33. None, or no cpu_limit: "
        "the limit stays what it is.",
    )

    component_label = COMPONENT  # not to be configured: the mirror looks for it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.api: Any = PatientApi(shared_client("CoreV1Api"), self.log)
        self._pvc_exists: bool = False

    @default("db")
    def _db(self) -> Any:
        """Return the hub's session, which KubeSpawner uses, without JupyterHub's warning at it."""
        return self._deprecated_db_session

    async def _start_watching_pods(self, replace: bool = False) -> None:
        """See to it that the pods are watched, and have been listed once."""
        await (await mirror_of(PodMirror, self.namespace, self.log)).loaded()

    async def _start_watching_events(self, replace: bool = False) -> None:
        """See to it that the events are watched, and have been listed once."""
        await (await mirror_of(EventMirror, self.namespace, self.log)).loaded()

    @property
    def pod(self) -> Resource | None:
        """The pod as the API last told it."""
        mirror = self.pod_reflector
        return mirror.pods.get(f"{self.namespace}/{self.pod_name}") if mirror else None

    def events_of(self, pod: Resource) -> list[Resource]:
        """Return what Kubernetes told of ``pod`` and of its user's disk."""
        mirror: EventMirror | None = self.event_reflector
        if mirror is None:
            return []
        about_pod = mirror.about("Pod", self.pod_name, pod["metadata"]["uid"])
        return [*mirror.about("PersistentVolumeClaim", self.pvc_name), *about_pod]

    async def _next_change(self, *also: "asyncio.Future[Any]") -> None:
        """Wait until there is news of the pod or one of ``also`` is done; a second at most."""
        mirrors = [mirror for mirror in (self.pod_reflector, self.event_reflector) if mirror]
        if not mirrors:
            await asyncio.sleep(0.1)  # the very first start is about to begin to watch
            return
        turns = [mirror.turn(self.pod_name) for mirror in mirrors]
        await asyncio.wait([*turns, *also], timeout=1, return_when=asyncio.FIRST_COMPLETED)

    def get_env(self) -> dict[str, Any]:
        """Return the environment; libraries would start a thread for each core that they see."""
        environment: dict[str, Any] = super().get_env()
        if self.cpu_limit:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, round(self.cpu_limit))))
        return environment

    async def get_pod_manifest(self) -> Any:
        """Return the pod, with the processor that it may use while it starts."""
        return startup_cpu.raised(await super().get_pod_manifest(), self.cpu_start_limit)

    async def _ensure_disk(self) -> None:
        """See to it that the user's disk exists."""
        if self.storage_pvc_ensure and not self._pvc_exists:
            claim = self.get_pvc_manifest()
            await self._until(self._make_create_pvc_request, claim, self.k8s_api_request_timeout)
            self._pvc_exists = True

    async def _obtain_pod(self) -> None:
        """
        See to it that the pod exists; here a warm one would be taken instead.

        What the hub must know to find the pod again is in its database before
        the pod is made: whenever the hub dies, the pod is adopted or deleted.
        """
        pod = await self.get_pod_manifest()
        if self.modify_pod_hook:
            pod = await self._hooked(pod)
        self._remember()
        await self._until(self._make_create_pod_request, pod, self.k8s_api_request_timeout)

    async def _hooked(self, pod: Any) -> Any:
        made = self.modify_pod_hook(self, pod)
        return await made if asyncio.iscoroutine(made) else made

    async def _until(self, request: Any, *args: Any) -> None:
        """Make a request of KubeSpawner's until it says that it is done."""
        for pause in pauses(first=0.2):
            if await request(*args):
                return
            await asyncio.sleep(pause)

    async def _make_create_pod_request(self, pod: Any, request_timeout: float) -> bool:
        """Create the pod; False asks for another try."""
        try:
            await asyncio.wait_for(
                self.api.create_namespaced_pod(self.namespace, pod), request_timeout
            )
        except TimeoutError:
            return False
        except ApiException as problem:
            if problem.status != 409:
                raise
            # Of a quota that somebody else has just changed: "Conflict".
            return reason_of(problem) != "Conflict" and await self._take_over()
        return True

    async def _take_over(self) -> bool:
        """
        Keep the pod of our name if this start has made it; end it if it is an older one.

        A request to create that has timed out may have been heard. Who holds
        the token of this start was made by it.
        """
        try:
            pod = await self.api.read_namespaced_pod(self.pod_name, self.namespace)
        except TimeoutError:
            return False
        except ApiException as problem:
            if problem.status == 404:
                return False
            raise
        release = (pod.metadata.labels or {}).get(RELEASE, "")
        if release != self.common_labels.get(RELEASE, release):
            raise SpawnFailed(of_another_release(self.pod_name, release))
        if pod.metadata.deletion_timestamp is None and _token(pod) == self.api_token:
            return True
        self.log.info("%s is left over from an earlier start; it ends first.", self.pod_name)
        # Not at once: while its container runs, its disk must not have a second user.
        await self.stop()
        return False

    def _remember(self) -> None:
        """Write into the database what JupyterHub would write after the start only."""
        if self.orm_spawner is not None:
            self.orm_spawner.state = self.get_state()
            self.user.db.commit()

    async def stop(self, now: bool = False) -> None:
        """End the pod and wait until it is gone."""
        grace = 0 if now else self.delete_grace_period
        options = V1DeleteOptions(grace_period_seconds=grace)
        async with asyncio.timeout(self.start_timeout):
            await self._start_watching_pods()
            await self._until(
                self._make_delete_pod_request,
                *(self.pod_name, options, grace, self.k8s_api_request_timeout),
            )
            while self.pod:
                await self._next_change()


def _token(pod: Any) -> str | None:
    """Return the token that a pod, a model of the client's, was made with."""
    for container in pod.spec.containers:
        for variable in container.env or []:
            if variable.name == "JUPYTERHUB_API_TOKEN":
                return str(variable.value)
    return None
