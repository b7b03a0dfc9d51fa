"""
Deletes pods that belong to no server of the hub, left by a crash or a lost request.

JupyterHub calls :class:`OrphanReapingProxy` to compare the proxy's routes with
its servers, at its start and every half minute; the pods are compared at the
same moment. ``reflector`` lists the pods. Invariant: volumes are never deleted,
and a pod is deleted only with the uid that was seen. Warm pods belong to their pool, as long as
there is one.
"""

from collections.abc import Iterable
from typing import Any

from jupyterhub.proxy import ConfigurableHTTPProxy
from kubernetes_asyncio.client import ApiException, V1DeleteOptions, V1Preconditions
from kubespawner.clients import load_config, shared_client
from traitlets import Bool, Unicode

from caesarion_hub.pods.api import RetriableApi, describe_error
from caesarion_hub.pods.reflector import (
    RELEASE,
    PodReflector,
    Resource,
    qualified_name,
    shared_reflector,
)
from caesarion_hub.pods.warm.template import is_warm


class OrphanReapingProxy(ConfigurableHTTPProxy):  # type: ignore[misc]
    """JupyterHub's proxy, which also deletes orphaned pods when routes are checked."""

    namespace = Unicode(config=True, help="Namespace of the users' pods.")
    release = Unicode(config=True, help="Release whose pods are deleted, by their label.")
    spare_warm = Bool(config=True, help="Whether pods that wait for a user are left to their pool.")

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        """Delete orphaned pods, then compare the routes with the hub's servers."""
        await self.delete_orphans(user_dict)
        await super().check_routes(user_dict, service_dict, routes)

    async def delete_orphans(self, users: Any) -> None:
        """Delete the pods that belong to none of the servers of ``users``."""
        load_config()
        reflector = await shared_reflector(PodReflector, self.namespace, self.log)
        if not (reflector.is_loaded and reflector.health.is_healthy):
            return  # The list may be outdated; the next check will do.
        api = RetriableApi(shared_client("CoreV1Api"), self.log)
        orphans = find_orphans(
            reflector.pods.values(), self.release, owned_pods(users), spare_warm=self.spare_warm
        )
        for pod in orphans:
            metadata, name = pod["metadata"], qualified_name(pod)
            self.log.warning("Deleting %s: it belongs to no server of this hub.", name)
            options = V1DeleteOptions(preconditions=V1Preconditions(uid=metadata["uid"]))
            try:
                await api.delete_namespaced_pod(
                    metadata["name"], metadata["namespace"], body=options
                )
            except (TimeoutError, ApiException) as problem:
                self.log.warning("%s was not deleted: %s", name, describe_error(problem))


def owned_pods(users: Any) -> set[str]:
    """Return ``namespace/name`` of the pods of all servers that are running or in transition."""
    return {
        f"{spawner.namespace}/{spawner.pod_name}"
        for user in users.values()
        for spawner in user.spawners.values()
        if spawner.active
    }


def find_orphans(
    pods: Iterable[Resource], release: str, owned: set[str], *, spare_warm: bool = False
) -> list[Resource]:
    """Return the pods of ``release`` that are neither owned nor already being deleted."""
    return [
        pod
        for pod in pods
        if pod["metadata"].get("labels", {}).get(RELEASE) == release
        and qualified_name(pod) not in owned
        and not pod["metadata"].get("deletionTimestamp")
        and not (spare_warm and is_warm(pod))
    ]
