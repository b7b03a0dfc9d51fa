"""
The pods behind Services, as EndpointSlices and as the older Endpoints.

Called by ``controllers.__main__``; the node's service proxy and DNS read them.
"""

from tests.fakes.kubernetes.client import Json
from tests.fakes.kubernetes.controllers.pods import phase, ready
from tests.fakes.kubernetes.controllers.world import World, leaves, reference

Behind = tuple[Json, bool]
"""A pod and whether it may answer."""


async def reconcile(world: World) -> None:
    """Write the slice of every Service that selects pods, or has Endpoints of its own."""
    for service in world.cache.all("services"):
        metadata = service["metadata"]
        own = world.cache.find("endpoints", metadata["namespace"], metadata["name"])
        if leaves(service):
            continue
        if service["spec"].get("selector"):
            behind = _behind(world, service)
            slice = make_slice(service, _endpoints(behind), _ports(service, behind))
            await _write(world, "endpointslices", slice)
            await _write(world, "endpoints", make_endpoints(service, behind))
        elif own and own.get("subsets"):
            subset = own["subsets"][0]
            endpoints = [{"addresses": [one["ip"]]} for one in subset.get("addresses") or []]
            slice = make_slice(service, endpoints, subset.get("ports") or [])
            await _write(world, "endpointslices", slice)


async def _write(world: World, plural: str, wanted: Json) -> None:
    metadata = wanted["metadata"]
    known = world.cache.find(plural, metadata["namespace"], metadata["name"])
    if known is None:
        await world.create(plural, wanted)
    else:
        keys = ("endpoints", "ports", "subsets")
        await world.merge(plural, known, {key: wanted[key] for key in keys if key in wanted})


def _behind(world: World, service: Json) -> list[Behind]:
    selector, namespace = service["spec"]["selector"], service["metadata"]["namespace"]
    unready_too = service["spec"].get("publishNotReadyAddresses", False)
    pods = [
        pod
        for pod in world.cache.all("pods")
        if pod["metadata"]["namespace"] == namespace
        and selector.items() <= (pod["metadata"].get("labels") or {}).items()
        and pod.get("status", {}).get("podIP")
        and phase(pod) not in ("Succeeded", "Failed")
    ]
    pods.sort(key=lambda pod: str(pod["metadata"]["name"]))
    return [(pod, unready_too or (ready(pod) and not leaves(pod))) for pod in pods]


def make_slice(service: Json, endpoints: list[Json], ports: list[Json]) -> Json:
    """Return a Service's slice; one is enough here."""
    metadata = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-pods",
            "namespace": metadata["namespace"],
            "labels": {
                "kubernetes.io/service-name": metadata["name"],
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": reference(service, "v1", "Service"),
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    }


def _endpoints(behind: list[Behind]) -> list[Json]:
    return [
        {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": able, "serving": ready(pod), "terminating": leaves(pod)},
            "nodeName": pod["spec"]["nodeName"],
            "targetRef": _reference(pod),
        }
        for pod, able in behind
    ]


def make_endpoints(service: Json, behind: list[Behind]) -> Json:
    """Return a Service's Endpoints."""

    def addresses(wanted: bool) -> list[Json]:
        return [
            {"ip": pod["status"]["podIP"], "targetRef": _reference(pod)}
            for pod, able in behind
            if able == wanted
        ]

    kinds = {"addresses": addresses(True), "notReadyAddresses": addresses(False)}
    subset = {key: found for key, found in kinds.items() if found}
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": service["metadata"]["name"],
            "namespace": service["metadata"]["namespace"],
        },
        "subsets": [{**subset, "ports": _ports(service, behind)}] if subset else [],
    }


def _ports(service: Json, behind: list[Behind]) -> list[Json]:
    found = []
    for port in service["spec"].get("ports") or []:
        target = port.get("targetPort", port["port"])
        numbers = {_number(target, pod) for pod, _ in behind} - {None}
        found += [
            {"name": port.get("name", ""), "protocol": port.get("protocol", "TCP"), "port": number}
            for number in sorted(number for number in numbers if number)
        ][:1]
    return found


def _number(target: int | str, pod: Json) -> int | None:
    """Return the number of a port of a pod that may be given by name."""
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == target:
                return int(port["containerPort"])
    return None


def _reference(pod: Json) -> Json:
    keys = ("name", "namespace", "uid")
    return {"kind": "Pod", **{key: pod["metadata"][key] for key in keys}}
