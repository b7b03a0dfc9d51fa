"""
How clients find out what is served: versions, groups and resources.

Both the old form, one document a group, and the aggregated one that kubectl
and helm prefer. Pure; ``handlers`` serves it.
"""

from collections import defaultdict
from collections.abc import Iterable

from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.resources import Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}
SUBRESOURCE_VERBS = {
    "binding": ["create"],
    "eviction": ["create"],
    "token": ["create"],
    "log": ["get"],
    "finalize": ["update"],
}
VERSION: Json = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.1+fake",
    "gitCommit": "a-test-double-of-caesarion",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": "linux/amd64",
}


def api_versions(address: str) -> Json:
    """Return what ``/api`` says."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def groups(resources: Iterable[Resource]) -> dict[str, dict[str, list[Resource]]]:
    """Sort resources by group and version, in the order in which they were defined."""
    found: dict[str, dict[str, list[Resource]]] = defaultdict(lambda: defaultdict(list))
    for resource in resources:
        found[resource.group][resource.version].append(resource)
    return found


def group_list(resources: Iterable[Resource]) -> Json:
    """Return what ``/apis`` says."""
    listed = [group(name, versions) for name, versions in groups(resources).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(name: str, versions: Iterable[str]) -> Json:
    """Return what ``/apis/<group>`` says; its first version is the preferred one."""
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(resources: Iterable[Resource], api_version: str) -> Json | None:
    """Return what ``/api/v1`` and ``/apis/<group>/<version>`` say; None if it is not served."""
    listed = [
        entry
        for resource in resources
        if resource.api_version == api_version
        for entry in (_resource(resource), *_subresources(resource))
    ]
    if not listed:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": listed,
    }


def _resource(resource: Resource) -> Json:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    return entry | _other_names(resource)


def _other_names(resource: Resource) -> Json:
    """Return what else a resource is called, alone and with others, if it is."""
    names = {"shortNames": list(resource.short), "categories": list(resource.categories)}
    return {field: listed for field, listed in names.items() if listed}


def _subresources(resource: Resource) -> list[Json]:
    entries = []
    for name in resource.subresources:
        group, version, kind = SUBRESOURCE_KINDS.get(name, ("", "", resource.kind))
        entry = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": SUBRESOURCE_VERBS.get(name, ["get", "patch", "update"]),
        }
        if version:
            entry |= {"group": group, "version": version}
        entries.append(entry)
    return entries


def aggregated(resources: Iterable[Resource], *, core: bool) -> Json:
    """Return all groups, their versions and resources at once: ``/api`` or ``/apis``."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None} if name else {},
            "versions": [
                {
                    "version": version,
                    "resources": [_aggregated(resource) for resource in served],
                    "freshness": "Current",
                }
                for version, served in versions.items()
            ],
        }
        for name, versions in groups(resources).items()
        if core == (not name)
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated(resource: Resource) -> Json:
    own = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    entry: Json = {
        "resource": resource.plural,
        "responseKind": own,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    entry |= _other_names(resource)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": one["name"].partition("/")[2],
                "responseKind": {
                    "group": one.get("group", resource.group),
                    "version": one.get("version", resource.version),
                    "kind": one["kind"],
                },
                "verbs": one["verbs"],
            }
            for one in _subresources(resource)
        ]
    return entry
