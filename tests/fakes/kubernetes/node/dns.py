"""Cluster DNS as a file: the ``/etc/hosts`` of a pod, changed in place as Services come and go."""

import os
from pathlib import Path

from tests.fakes.kubernetes.client import Json

DOMAIN = "svc.cluster.local"


def make_hosts(pod: Json, services: list[Json], slices: list[Json]) -> str:
    """
    Return the names that a pod can resolve: its own, and every Service's.

    A headless Service is its ready pods; one that is elsewhere, ExternalName, is
    not there.
    """
    metadata = pod["metadata"]
    address = pod["status"]["podIP"]
    hostname = pod["spec"].get("hostname", metadata["name"])
    lines = ["127.0.0.1 localhost", f"{address} {hostname}"]
    for service in services:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        names = [f"{name}.{namespace}.{DOMAIN}", f"{name}.{namespace}.svc", f"{name}.{namespace}"]
        if namespace == metadata["namespace"]:
            names.append(name)
        cluster = service["spec"].get("clusterIP")
        if cluster == "None":
            addresses = ready_addresses(service, slices)
        else:
            addresses = [cluster] if cluster else []
        lines += [f"{one} {' '.join(names)}" for one in addresses]
    return "\n".join(lines) + "\n"


def ready_addresses(service: Json, slices: list[Json]) -> list[str]:
    """Return the addresses of the pods that may answer for a Service."""
    return [
        address
        for one in of_service(service, slices)
        for endpoint in one["endpoints"] or []
        if endpoint.get("conditions", {}).get("ready", True)
        for address in endpoint["addresses"]
    ]


def of_service(service: Json, slices: list[Json]) -> list[Json]:
    """Return the EndpointSlices of a Service."""
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    return [
        one
        for one in slices
        if one["metadata"]["namespace"] == namespace
        and (one["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name
    ]


def write(file: Path, text: str) -> None:
    """Change a file that is mounted somewhere, which a new file in its place would not do."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        data = text.encode()
        os.pwrite(handle, data, 0)
        os.ftruncate(handle, len(data))
    finally:
        os.close(handle)
