"""
What is a valid Service, Ingress and NetworkPolicy. Called by ``validation``; pure.
"""

import ipaddress
from collections.abc import Iterator

from tests.fakes.kubernetes.apiserver.errors import cause
from tests.fakes.kubernetes.apiserver.objects import Json

Causes = Iterator[Json]


def check_service(obj: Json) -> Causes:
    """Yield what is wrong with a Service."""
    spec = obj["spec"]
    ports = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield cause("spec.ports", "Required", "Required value")
    names = [port.get("name", "") for port in ports]
    for index, port in enumerate(ports):
        if len(ports) > 1 and not port.get("name"):
            yield cause(f"spec.ports[{index}].name", "Required", "Required value")
        if names.count(port.get("name", "")) > 1:
            why = f'Duplicate value: "{port.get("name", "")}"'
            yield cause(f"spec.ports[{index}].name", "Duplicate", why)
        if not 1 <= port.get("port", 0) <= 65535:
            why = f"Invalid value: {port.get('port')}: must be between 1 and 65535, inclusive"
            yield cause(f"spec.ports[{index}].port", "Invalid", why)


def check_ingress(obj: Json) -> Causes:
    """Yield what is wrong with an Ingress."""
    spec = obj.get("spec") or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        why = "Invalid value: either `defaultBackend` or `rules` must be specified"
        yield cause("spec", "Invalid", why)
    for index, rule in enumerate(spec.get("rules") or ()):
        for number, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            place = f"spec.rules[{index}].http.paths[{number}]"
            if path.get("pathType") not in ("Exact", "Prefix", "ImplementationSpecific"):
                yield cause(
                    f"{place}.pathType", "Required", "Required value: pathType must be specified"
                )
            elif path["pathType"] != "ImplementationSpecific" and path.get("path", "")[:1] != "/":
                why = f'Invalid value: "{path.get("path", "")}": must be an absolute path'
                yield cause(f"{place}.path", "Invalid", why)


def check_network_policy(obj: Json) -> Causes:
    """Yield what is wrong with a NetworkPolicy."""
    spec = obj.get("spec") or {}
    for field, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(field) or ()):
            for number, peer in enumerate(rule.get(peers) or ()):
                yield from _peer(peer, f"spec.{field}[{index}].{peers}[{number}]")


def _peer(peer: Json, place: str) -> Causes:
    if not peer:
        yield cause(place, "Required", "Required value: must specify a peer")
    block = peer.get("ipBlock")
    if block is None:
        return
    if len(peer) > 1:
        why = "Forbidden: may not specify both ipBlock and another peer"
        yield cause(place, "Forbidden", why)
    try:
        whole = ipaddress.ip_network(block["cidr"])
    except ValueError:
        why = f'Invalid value: "{block["cidr"]}": must be a valid CIDR value'
        yield cause(f"{place}.ipBlock.cidr", "Invalid", why)
        return
    for index, cidr in enumerate(block.get("except") or ()):
        if not _is_within(cidr, whole):
            why = f'Invalid value: "{cidr}": must be a strict subset of `cidr`'
            yield cause(f"{place}.ipBlock.except[{index}]", "Invalid", why)


def _is_within(cidr: str, whole: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        part = ipaddress.ip_network(cidr)
    except ValueError:
        return False
    # Networks of different versions cannot be compared, nor types told apart otherwise.
    if isinstance(part, ipaddress.IPv4Network) and isinstance(whole, ipaddress.IPv4Network):
        return part != whole and part.subnet_of(whole)
    if isinstance(part, ipaddress.IPv6Network) and isinstance(whole, ipaddress.IPv6Network):
        return part != whole and part.subnet_of(whole)
    return False
