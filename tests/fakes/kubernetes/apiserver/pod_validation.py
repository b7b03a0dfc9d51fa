"""
What is a valid pod: its containers, volumes, ports, resources, and what may change in it.

Used by ``validation`` for pods and for the templates of workloads. Pure.
"""

import re
from collections.abc import Iterator

from tests.fakes.kubernetes.apiserver.errors import cause
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.quantities import quantity

Causes = Iterator[Json]

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
VARIABLE = re.compile(r"[^=\x00-\x1f\x7f]+")
RESOURCE = re.compile(r"cpu|memory|ephemeral-storage|hugepages-.+|.+[./].+")
ACTIONS = ("exec", "httpGet", "tcpSocket", "grpc")
POLICIES = ("Always", "OnFailure", "Never")
PULLS = ("Always", "IfNotPresent", "Never")


def check_pod_spec(spec: Json, path: str) -> Causes:
    """Yield what is wrong with a pod's spec, which is at ``path`` of its object."""
    if not spec.get("containers"):
        yield cause(f"{path}.containers", "Required", "Required value")
    if spec.get("restartPolicy") not in POLICIES:
        yield _unsupported(f"{path}.restartPolicy", spec.get("restartPolicy"), POLICIES)
    volumes = [volume["name"] for volume in spec.get("volumes") or ()]
    for index, name in enumerate(volumes):
        place = f"{path}.volumes[{index}]"
        yield from _named(name, volumes, f"{place}.name")
        if len(spec["volumes"][index]) > 2:
            why = "Forbidden: may not specify more than 1 volume type"
            yield cause(place, "Forbidden", why)
    named = [
        (f"{path}.{kind}[{index}]", container)
        for kind in ("initContainers", "containers")
        for index, container in enumerate(spec.get(kind) or ())
    ]
    names = [container["name"] for _, container in named]
    for place, container in named:
        yield from _named(container["name"], names, f"{place}.name")
        yield from _container(container, place, volumes)
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        if toleration.get("operator") not in (None, "", "Exists", "Equal"):
            operators = ("Equal", "Exists")
            where = f"{path}.tolerations[{index}].operator"
            yield _unsupported(where, toleration["operator"], operators)


def _named(name: str, names: list[str], place: str) -> Causes:
    if not LABEL.fullmatch(name):
        why = f'Invalid value: "{name}": a lowercase RFC 1123 label must consist of lower case'
        yield cause(place, "Invalid", f"{why} alphanumeric characters or '-'")
    if names.count(name) > 1:
        yield cause(place, "Duplicate", f'Duplicate value: "{name}"')


def _unsupported(place: str, value: object, values: tuple[str, ...]) -> Json:
    listed = ", ".join(f'"{one}"' for one in values)
    return cause(place, "NotSupported", f'Unsupported value: "{value}": supported values: {listed}')


def _container(container: Json, place: str, volumes: list[str]) -> Causes:
    if not container.get("image"):
        yield cause(f"{place}.image", "Required", "Required value")
    if container.get("imagePullPolicy") not in PULLS:
        yield _unsupported(f"{place}.imagePullPolicy", container.get("imagePullPolicy"), PULLS)
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{place}.volumeMounts[{index}]"
        if mount["name"] not in volumes:
            yield cause(f"{where}.name", "NotFound", f'Not found: "{mount["name"]}"')
        if mount["mountPath"] in paths:
            why = f'Invalid value: "{mount["mountPath"]}": must be unique'
            yield cause(f"{where}.mountPath", "Invalid", why)
        paths.add(mount["mountPath"])
        sub = mount.get("subPath", "")
        if sub.startswith("/") or ".." in sub.split("/"):
            why = f'Invalid value: "{sub}": must be a relative path without ".."'
            yield cause(f"{where}.subPath", "Invalid", why)
    for index, variable in enumerate(container.get("env") or ()):
        where = f"{place}.env[{index}]"
        if not VARIABLE.fullmatch(variable["name"]):
            why = (
                f'Invalid value: "{variable["name"]}": a valid environment variable name is wanted'
            )
            yield cause(f"{where}.name", "Invalid", why)
        if variable.get("value") and variable.get("valueFrom"):
            why = "Invalid value: may not be specified when `value` is not empty"
            yield cause(f"{where}.valueFrom", "Invalid", why)
    yield from _ports(container.get("ports") or [], place)
    yield from _resources(container.get("resources") or {}, f"{place}.resources")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container and sum(action in container[name] for action in ACTIONS) != 1:
            why = "Required value: must specify exactly one handler type"
            yield cause(f"{place}.{name}", "Required", why)


def _ports(ports: list[Json], place: str) -> Causes:
    names = [port["name"] for port in ports if "name" in port]
    for index, port in enumerate(ports):
        where = f"{place}.ports[{index}]"
        if not 1 <= port.get("containerPort", 0) <= 65535:
            why = f"Invalid value: {port.get('containerPort')}: must be between 1 and 65535"
            yield cause(f"{where}.containerPort", "Invalid", why)
        if "name" in port and not PORT_NAME.fullmatch(port["name"]):
            why = f'Invalid value: "{port["name"]}": must be at most 15 lower case characters'
            yield cause(f"{where}.name", "Invalid", why)
        if names.count(port.get("name", "")) > 1:
            yield cause(f"{where}.name", "Duplicate", f'Duplicate value: "{port["name"]}"')


def _resources(resources: Json, place: str) -> Causes:
    amounts = {}
    for field in ("requests", "limits"):
        for name, text in (resources.get(field) or {}).items():
            amounts[field, name] = quantity(text)
            if amounts[field, name] < 0:
                why = f'Invalid value: "{text}": must be greater than or equal to 0'
                yield cause(f"{place}.{field}[{name}]", "Invalid", why)
            if not RESOURCE.fullmatch(name):
                why = f'Invalid value: "{name}": must be a standard resource for containers'
                yield cause(f"{place}.{field}[{name}]", "Invalid", why)
    for (field, name), amount in amounts.items():
        limit = amounts.get(("limits", name))
        if field == "requests" and limit is not None and amount > limit:
            told = resources["requests"][name]
            why = f'Invalid value: "{told}": must be less than or equal to {name} limit of '
            yield cause(f"{place}.requests", "Invalid", why + str(resources["limits"][name]))


CHANGEABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
UPDATE = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations`"
    " (only additions to existing tolerations)"
)


def check_pod_update(new: Json, old: Json) -> Causes:
    """Yield what a pod's update changes that nothing may change."""
    if _fixed(new) != _fixed(old):
        yield cause("spec", "Forbidden", UPDATE)


def _fixed(spec: Json) -> Json:
    """Return the part of a pod's spec that stays as it is."""
    fixed = {key: value for key, value in spec.items() if key not in CHANGEABLE}
    for kind in ("containers", "initContainers"):
        if kind in fixed:
            fixed[kind] = [{**container, "image": ""} for container in fixed[kind]]
    return fixed


def check_resize(new: Json, old: Json) -> Causes:
    """Yield what a resize changes other than cpu and memory of containers."""
    if _sized(new) != _sized(old):
        why = "Forbidden: only cpu and memory resources of containers are mutable"
        yield cause("spec", "Forbidden", why)


def _sized(spec: Json) -> Json:
    def without_size(container: Json) -> Json:
        resources = {
            field: {
                key: one for key, one in (amounts or {}).items() if key not in ("cpu", "memory")
            }
            for field, amounts in (container.get("resources") or {}).items()
            if isinstance(amounts, dict)
        }
        return {**container, "resources": resources, "resizePolicy": None}

    return {**spec, "containers": [without_size(container) for container in spec["containers"]]}
