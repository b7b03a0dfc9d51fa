"""
The environment of a container and its command line, from a pod's spec.

Called by ``pods``; asks ``objects`` for Secrets and ConfigMaps. What is missing
is said in the words of a kubelet, which the API's clients show.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.fakes.kubernetes.client import Json

Find = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
"""Returns what a Secret or ConfigMap of the pod's namespace holds: ``find("secrets", "hub")``."""

ALL_ADDRESSES = re.compile(
    r"(?<![\d.])0\.0\.0\.0(?![\d.]|/\d)"  # not a network such as 0.0.0.0/0
    r"|(?<=//)\[::\](?=[:/]|$)|(?:^|(?<==))::$"
    r"|(?<=ip=)$"  # as configurable-http-proxy has it
)

_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)")


class ConfigError(Exception):
    """A container cannot be made, as its Secret, ConfigMap or user is not there."""


async def make_environment(
    container: Json, pod: Json, services: list[Json], find: Find
) -> dict[str, str]:
    """Return the variables that a container's spec gives it; raises :class:`ConfigError`."""
    variables = service_variables(services, pod)
    for source in container.get("envFrom") or []:
        for kind, key in (("secrets", "secretRef"), ("configmaps", "configMapRef")):
            if key in source:
                held = await _held(find, kind, source[key])
                prefix = source.get("prefix", "")
                variables |= {prefix + name: text.decode() for name, text in held.items()}
    for entry in container.get("env") or []:
        value = await _value(entry, container, pod, find)
        if value is not None:
            variables[entry["name"]] = expand(value, variables)
    return variables


async def _value(entry: Json, container: Json, pod: Json, find: Find) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return str(entry.get("value", ""))
    if "fieldRef" in source:
        return field_of(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_of(container, source["resourceFieldRef"]["resource"])
    for kind, key in (("secrets", "secretKeyRef"), ("configmaps", "configMapKeyRef")):
        if key in source:
            reference = source[key]
            held = await _held(find, kind, reference)
            if reference["key"] in held:
                return held[reference["key"]].decode()
            if reference.get("optional"):
                return None
            what = "Secret" if kind == "secrets" else "ConfigMap"
            where = f"{pod['metadata']['namespace']}/{reference['name']}"
            raise ConfigError(f"couldn't find key {reference['key']} in {what} {where}")
    raise ConfigError(f"the fake node knows no valueFrom {', '.join(source)}")


async def _held(find: Find, kind: str, reference: Json) -> Mapping[str, bytes]:
    held = await find(kind, reference["name"])
    if held is None and not reference.get("optional"):
        raise ConfigError(f'{kind.removesuffix("s")} "{reference["name"]}" not found')
    return held or {}


def service_variables(services: list[Json], pod: Json) -> dict[str, str]:
    """Return where the API server is, and the services of the pod's namespace if it wants them."""
    links = pod["spec"].get("enableServiceLinks", True)
    variables: dict[str, str] = {}
    for service in services:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        address = service["spec"].get("clusterIP", "None")
        ours = links and namespace == pod["metadata"]["namespace"]
        if address == "None" or not (ours or (name, namespace) == ("kubernetes", "default")):
            continue
        word = re.sub(r"\W", "_", name).upper()
        port = service["spec"]["ports"][0]["port"]
        variables |= {
            f"{word}_SERVICE_HOST": address,
            f"{word}_SERVICE_PORT": str(port),
            f"{word}_PORT": f"tcp://{address}:{port}",
        }
    return variables


def field_of(pod: Json, path: str) -> str:
    """Return a field of a pod as the downward API gives it; a label that is not there is empty."""
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path == "status.podIPs":
        value = ",".join(one["ip"] for one in value or [])
    if not isinstance(value, str):
        raise ConfigError(f"the fake node knows no field {path} of a pod")
    return value


def resource_of(container: Json, name: str) -> str:
    """Return a limit or request such as ``limits.memory``, as it is written."""
    kind, _, resource = name.partition(".")
    value = ((container.get("resources") or {}).get(kind) or {}).get(resource)
    if value is None:
        raise ConfigError(f"the container has no {name}")
    return str(value)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put variables in the place of ``$(NAME)``; ``$$`` is a dollar, an unknown name stays."""

    def one(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return _REFERENCE.sub(one, text)


def on_own_address(text: str, address: str) -> str:
    """
    Put a pod's address in the place of "all addresses" in what a program is told.

    Here all pods share the host's network: whoever listens on all addresses
    would listen on those of the other pods too, and beyond this machine. Done
    to arguments, variables and, where it stands in a URL, configuration files.
    """
    return ALL_ADDRESSES.sub(address, text)
