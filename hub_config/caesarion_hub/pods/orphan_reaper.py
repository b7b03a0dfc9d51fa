"""
Pods that no server of the hub owns are deleted: what a hub's death or a lost request left.

JupyterHub runs :class:`SweepingProxy` where it compares the proxy's routes with
its servers, at its start and every half a minute; that is the moment to compare
the pods, too. Calls ``mirror`` for what there is. Its law: disks are not touched,
and a pod is only deleted as the one that was seen, by its uid.
"""

from collections.abc import Iterable
from typing import Any

from jupyterhub.proxy import ConfigurableHTTPProxy
from kubernetes_asyncio.client import ApiException, V1DeleteOptions, V1Preconditions
from kubespawner.clients import load_config, shared_client
from traitlets import Unicode

from caesarion_hub.pods.api import PatientApi, shown
from caesarion_hub.pods.reflector import RELEASE, PodMirror, Resource, key, mirror_of


class SweepingProxy(ConfigurableHTTPProxy):  # type: ignore[misc]
    """The proxy, and the pods behind it."""

    namespace = Unicode(config=True, help="The namespace of the users' pods.")
    release = Unicode(config=True, help="The release whose pods are ours, by their label.")

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        """Compare pods and routes with the hub's servers."""
        await self._sweep(user_dict)
        await super().check_routes(user_dict, service_dict, routes)

    async def _sweep(self, users: Any) -> None:
        load_config()
        mirror = await mirror_of(PodMirror, self.namespace, self.log)
        if not (mirror.is_loaded and mirror.health.is_good):
            return  # The next round will know more.
        api = PatientApi(shared_client("CoreV1Api"), self.log)
        for pod in orphans(mirror.pods.values(), self.release, owned(users)):
            metadata = pod["metadata"]
            self.log.warning("%s belongs to no server of this hub; it is deleted.", key(pod))
            options = V1DeleteOptions(preconditions=V1Preconditions(uid=metadata["uid"]))
            try:
                await api.delete_namespaced_pod(
                    metadata["name"], metadata["namespace"], body=options
                )
            except (TimeoutError, ApiException) as problem:
                self.log.warning("%s is still there: %s", key(pod), shown(problem))


def owned(users: Any) -> set[str]:
    """Return the pods, as ``namespace/name``, of servers that run, start, stop or are checked."""
    return {
        f"{spawner.namespace}/{spawner.pod_name}"
        for user in users.values()
        for spawner in user.spawners.values()
        if spawner.active
    }


def orphans(pods: Iterable[Resource], release: str, owned: set[str]) -> list[Resource]:
    """Return the pods of ``release`` that nobody owns and that are not ending already."""
    return [
        pod
        for pod in pods
        if pod["metadata"].get("labels", {}).get(RELEASE) == release
        and key(pod) not in owned
        and not pod["metadata"].get("deletionTimestamp")
    ]
