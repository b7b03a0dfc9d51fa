"""
Creates, adopts and deletes the Kubernetes objects of one server: its volume and its pod.

Base class of ``claiming``; calls the API through ``api`` and reads it through
``reflector``. Overrides KubeSpawner 7.1 where that gives up or polls.
"""

import asyncio
from typing import Any, ClassVar

from kubernetes_asyncio.client import ApiException, V1DeleteOptions
from kubespawner import KubeSpawner
from kubespawner.clients import shared_client
from traitlets import Enum, Float, default

from caesarion_hub import sandboxes
from caesarion_hub.logs import server_log
from caesarion_hub.pods import startup_cpu
from caesarion_hub.pods.api import RetriableApi, backoff, reason_of, serialized
from caesarion_hub.pods.pod_security import LEVELS, violations
from caesarion_hub.pods.reflector import (
    COMPONENT,
    RELEASE,
    EventReflector,
    PodReflector,
    Reflector,
    Resource,
    shared_reflector,
)
from caesarion_hub.pods.spawn_errors import SpawnFailed, insecure_pod, name_taken


class PodObjects(KubeSpawner):  # type: ignore[misc]
    """A server's objects in the cluster."""

    cpu_start_limit = Float(
        None,
        allow_none=True,
        config=True,
        help="CPU limit, in cores, until the server is ready; then it is lowered to cpu_limit in "
        "place, which needs Kubernetes 1.33. None, or no cpu_limit: the limit never changes.",
    )

    pod_security = Enum(
        LEVELS,
        "restricted",
        config=True,
        help="The level of Kubernetes' Pod Security Standards that pods must comply with, "
        "whatever profiles, hooks and users' choices say. The namespace may enforce it as well.",
    )

    component_label = COMPONENT  # not a trait: the reflector selects by it

    unsupported_traits: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            ("common_labels", "component_label"),
            "The hub and the NetworkPolicies select pods by these labels; add others with "
            "singleuser.extraLabels.",
        ),
        "namespace": "Set singleuser.namespace.name.",
        **dict.fromkeys(
            (
                *("enable_user_namespaces", "user_namespace_template"),
                *("user_namespace_labels", "user_namespace_annotations"),
            ),
            "The hub's role and the NetworkPolicies cover one namespace; set "
            "singleuser.namespace.name.",
        ),
        **dict.fromkeys(
            (
                *("services_enabled", "secret_name_template", "secret_mount_path"),
                *("ssl_alt_names", "ssl_alt_names_include_local"),
            ),
            "The hub's role allows neither Services nor Secrets for users' servers; the hub "
            "connects to the pod's address.",
        ),
    }
    """KubeSpawner's traits that have no effect here or would undo isolation, with the remedy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.api: Any = RetriableApi(shared_client("CoreV1Api"), self.log)
        self._pvc_exists: bool
        self.pvc_name: str

    @default("log")
    def _log(self) -> Any:
        return server_log(self.user.name if self.user else "", self.name)

    @default("db")
    def _db(self) -> Any:
        """Return the database session that KubeSpawner 7.1 uses, without JupyterHub's warning."""
        return self._deprecated_db_session

    async def _start_watching_pods(self, replace: bool = False) -> None:
        """Start watching pods unless that is done, and wait for the first list."""
        await (await shared_reflector(PodReflector, self.namespace, self.log.logger)).loaded()

    async def _start_watching_events(self, replace: bool = False) -> None:
        """Start watching events unless that is done or disabled, and wait for the first list."""
        if not self.events_enabled:
            return
        await (await shared_reflector(EventReflector, self.namespace, self.log.logger)).loaded()

    @property
    def pod(self) -> Resource | None:
        """The pod as last seen in the API, or None."""
        reflector = self.pod_reflector
        return reflector.pods.get(f"{self.namespace}/{self.pod_name}") if reflector else None

    @property
    def _reflectors(self) -> list[Reflector]:
        """The reflectors that run; none before the first start."""
        return [each for each in (self.pod_reflector, self.event_reflector) if each]

    def events_of(self, pod: Resource) -> list[Resource]:
        """Return the events about ``pod`` and about its user's volume."""
        reflector: EventReflector | None = self.event_reflector
        if reflector is None:
            return []
        about_pod = reflector.about("Pod", self.pod_name, pod["metadata"]["uid"])
        return [*reflector.about("PersistentVolumeClaim", self.pvc_name), *about_pod]

    async def _next_change(self, *also: "asyncio.Future[Any]") -> None:
        """Wait until the pod changes or one of ``also`` is done; a second at most."""
        reflectors = self._reflectors
        if not reflectors:
            await asyncio.sleep(0.1)  # the first start has not begun to watch yet
            return
        changes = [reflector.next_change(self.pod_name) for reflector in reflectors]
        await asyncio.wait([*changes, *also], timeout=1, return_when=asyncio.FIRST_COMPLETED)

    def get_env(self) -> dict[str, Any]:
        """Return the environment; numeric libraries get one thread per core of the limit."""
        environment: dict[str, Any] = super().get_env()
        if self.cpu_limit:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, round(self.cpu_limit))))
        return environment | sandboxes.environment(self.name, self.user_options)

    def drop_volume(self) -> None:
        """Give a sandbox an emptyDir instead of its user's volume, whatever profiles say."""
        self.storage_pvc_ensure = False
        capacity = {"sizeLimit": self.storage_capacity} if self.storage_capacity else {}
        volumes: Any = self.volumes
        volumes = volumes.values() if isinstance(volumes, dict) else volumes
        self.volumes: Any = [
            {"name": each["name"], "emptyDir": capacity}
            if "{pvc_name}" in str(each.get("persistentVolumeClaim"))
            else each
            for each in volumes
        ]

    def _expand_user_properties(self, template: str, slug_scheme: str | None = None) -> str:
        """
        Return a text with its fields in braces filled in.

        KubeSpawner 7.1 computes all fields anew for each text of a pod's manifest, and few
        texts have any.
        """
        if "{" not in template and "}" not in template:
            return template
        expanded: str = super()._expand_user_properties(template, slug_scheme)
        return expanded

    async def get_pod_manifest(self) -> Any:
        """Return the pod with the CPU limit that applies while it starts."""
        return startup_cpu.raise_limit(await super().get_pod_manifest(), self.cpu_start_limit)

    async def _ensure_volume(self) -> None:
        """Create the user's volume claim unless it exists."""
        if self.storage_pvc_ensure and not self._pvc_exists:
            await self._find_legacy_volume()
        if self.storage_pvc_ensure and not self._pvc_exists:
            claim = self.get_pvc_manifest()
            await self._repeat(self._make_create_pvc_request, claim, self.k8s_api_request_timeout)
            self._pvc_exists = True

    async def _find_legacy_volume(self) -> None:
        """
        Use a volume claim that a KubeSpawner before version 7 named, if there is one.

        As KubeSpawner 7.1 does for users whose saved state is that old, in a method
        that we replace; can go when KubeSpawner drops ``handle_legacy_names``.
        """
        is_legacy = self._state_kubespawner_version == "unknown"
        if not (is_legacy and self.handle_legacy_names and self.remember_pvc_name):
            return
        legacy_name = self._expand_user_properties(self.pvc_name_template, slug_scheme="escape")
        for name in dict.fromkeys((self.pvc_name, legacy_name)):
            if await self._check_pvc_exists(name, self.namespace):
                self.pvc_name, self._pvc_exists = name, True
                return

    async def _check_pvc_exists(self, pvc_name: str, namespace: str) -> bool:
        """Return whether a volume claim exists."""
        claim = await self._read(self.api.read_namespaced_persistent_volume_claim, pvc_name)
        return claim is not None

    async def _read(self, method: Any, name: str) -> Any:
        """Return an object, a model of the client's, or None; retry until there is an answer."""
        found = None

        async def read() -> bool:
            nonlocal found
            try:
                found = await method(name, self.namespace)
            except TimeoutError:
                return False
            except ApiException as problem:
                if problem.status != 404:
                    raise
            return True

        await self._repeat(read)
        return found

    async def _ensure_pod(self) -> None:
        """Make the pod's manifest, with the operator's hooks, and obtain the pod."""
        pod = await self.get_pod_manifest()
        if self.modify_pod_hook:
            pod = await self._modified(pod)
        manifest = serialized(pod)
        self._check_security(manifest)
        await self._obtain_pod(manifest)
        if self.after_pod_created_hook:
            await self._run_after_pod_created_hook()

    async def _obtain_pod(self, pod: Resource) -> None:
        """
        Create the pod, or adopt it if this start has already created it.

        The state that the hub needs to find the pod again is saved first: if the
        hub crashes at any moment, its successor adopts or deletes the pod.
        """
        self._save_state()
        await self._repeat(self._make_create_pod_request, pod, self.k8s_api_request_timeout)

    def _check_security(self, pod: Resource) -> None:
        """Raise SpawnFailed if the pod exceeds :attr:`pod_security`."""
        if found := violations(self.pod_security, pod["spec"]):
            raise SpawnFailed(insecure_pod(self.pod_security, found))

    async def _run_after_pod_created_hook(self) -> None:
        """Call the operator's hook with the pod as a dict, as KubeSpawner 7.1 does."""
        pod = await self._read(self.api.read_namespaced_pod, self.pod_name)
        done = self.after_pod_created_hook(self, serialized(pod))
        if asyncio.iscoroutine(done):
            await done

    async def _modified(self, pod: Any) -> Any:
        """Return the pod as the operator's hook wants it."""
        modified = self.modify_pod_hook(self, pod)
        return await modified if asyncio.iscoroutine(modified) else modified

    async def _repeat(self, request: Any, *args: Any) -> None:
        """
        Call one of KubeSpawner's request methods until it returns True.

        Raises TimeoutError after ``k8s_api_request_retry_timeout``.
        """
        async with asyncio.timeout(self.k8s_api_request_retry_timeout):
            for pause in backoff(first=0.2):
                if await request(*args):
                    return
                await asyncio.sleep(pause)

    async def _make_create_pod_request(self, pod: Any, request_timeout: float) -> bool:
        """Create the pod; return False if the request must be retried."""
        try:
            await asyncio.wait_for(
                self.api.create_namespaced_pod(self.namespace, pod), request_timeout
            )
        except TimeoutError:
            return False
        except ApiException as problem:
            if problem.status != 409:
                raise
            # The quota admission answers 409 "Conflict" when another request changed the quota.
            return reason_of(problem) != "Conflict" and await self._adopt_or_stop()
        return True

    async def _adopt_or_stop(self) -> bool:
        """
        Keep an existing pod of our name if this start created it; stop it otherwise.

        A request that timed out here may have succeeded in the cluster. The pod
        belongs to this start if it carries this start's API token.
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
            raise SpawnFailed(name_taken(self.pod_name, release))
        if pod.metadata.deletion_timestamp is None and _token(pod) == self.api_token:
            return True
        self.log.info("Stopping %s first: an earlier start left it behind.", self.pod_name)
        # Gracefully: two pods must not use the volume at the same time.
        await self.stop()
        return False

    def _save_state(self) -> None:
        """Save the state in the database now; JupyterHub does so only after the start."""
        if self.orm_spawner is None or self.orm_spawner.state == (state := self.get_state()):
            return
        self.orm_spawner.state = state
        self.user.db.commit()

    async def stop(self, now: bool = False) -> None:
        """Delete the pod and wait until it is gone."""
        grace = 0 if now else self.delete_grace_period
        options = V1DeleteOptions(grace_period_seconds=grace)
        async with asyncio.timeout(self.start_timeout):
            await self._start_watching_pods()
            await self._repeat(
                self._make_delete_pod_request,
                *(self.pod_name, options, grace, self.k8s_api_request_timeout),
            )
            while self.pod:
                await self._next_change()


def _token(pod: Any) -> str | None:
    """Return the API token in the environment of a V1Pod."""
    for container in pod.spec.containers:
        for variable in container.env or []:
            if variable.name == "JUPYTERHUB_API_TOKEN":
                return str(variable.value)
    return None
