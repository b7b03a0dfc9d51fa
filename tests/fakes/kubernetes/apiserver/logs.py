"""
The logs of pods, fetched from the node that runs them.

As on a real cluster the API server asks the kubelet: over plain HTTP here, at
the address and the port that the Node's status tells, under
``/containerLogs/<namespace>/<pod>/<container>`` with the query as it came.
"""

from collections.abc import AsyncGenerator

import aiohttp

from tests.fakes.kubernetes.apiserver import operations
from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.errors import ApiError, bad_request
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.state import State

PASSED = (
    "follow",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "tailLines",
    "timestamps",
)


def log_url(state: State, call: Call) -> str:
    """Return where a pod's log is; raises 400 for one that cannot have a log yet."""
    pod = operations.get(state, call)
    container = _container(pod, call.query.get("container", ""))
    node = state.store.get("nodes", "", pod["spec"].get("nodeName", ""))
    if node is None:
        name = pod["metadata"]["name"]
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: Pending')
    status = node.get("status") or {}
    addresses = [one["address"] for one in status.get("addresses") or ()]
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    if not addresses or not port:
        name = node["metadata"]["name"]
        raise ApiError(500, f'node "{name}" does not say in its status where its kubelet listens')
    path = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}/{container}"
    return f"http://{addresses[0]}:{port}/containerLogs/{path}"


def _container(pod: Json, wanted: str) -> str:
    kinds = ("containers", "initContainers")
    names = [one["name"] for kind in kinds for one in pod["spec"].get(kind) or ()]
    name = pod["metadata"]["name"]
    if wanted and wanted not in names:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    default = (pod["metadata"].get("annotations") or {}).get(
        "kubectl.kubernetes.io/default-container"
    )
    if not wanted and len(pod["spec"]["containers"]) > 1 and not default:
        choices = " ".join(names)
        raise bad_request(
            f"a container name must be specified for pod {name}, choose one of: [{choices}]"
        )
    chosen: str = wanted or default or pod["spec"]["containers"][0]["name"]
    return chosen


async def read(state: State, call: Call) -> AsyncGenerator[bytes]:
    """Yield a pod's log as the node gives it, until it ends; raises what the node says."""
    url = log_url(state, call)
    query = {key: call.query[key] for key in PASSED if key in call.query}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            async with session.get(url, params=query) as response:
                if response.status != 200:
                    code = response.status if response.status in (400, 404) else 500
                    raise ApiError(code, (await response.text()).strip())
                async for chunk in response.content.iter_any():
                    yield chunk
        except aiohttp.ClientError as error:
            raise ApiError(500, f'Get "{url}": {error}') from error
