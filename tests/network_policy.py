"""
Who may speak with whom under NetworkPolicies, evaluated on paper.

Law: pure. It follows https://kubernetes.io/docs/concepts/services-networking/network-policies/
and the API reference: a pod that no policy selects is open; the policies that
select it add up; a connection needs the leave of both ends. An ``ipBlock`` here
is about addresses that are no pod's, as most networks have it. Named ports are
refused: whether they match depends on the pod.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Literal

Direction = Literal["Ingress", "Egress"]
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Pod:
    """A pod as a policy sees it."""

    namespace: str
    labels: Labels = field(hash=False)


@dataclass(frozen=True)
class Address:
    """Something that is no pod."""

    ip: str


@dataclass(frozen=True)
class Network:
    """The policies of a cluster, and the labels of its namespaces beside their names."""

    policies: Sequence[Mapping[str, Any]]
    namespaces: Mapping[str, Labels] = field(default_factory=dict)

    def allows(
        self, source: Pod | Address, target: Pod | Address, port: int, protocol: str = "TCP"
    ) -> bool:
        """Return whether ``source`` may open a connection to ``port`` of ``target``."""
        ends: list[tuple[Pod | Address, Pod | Address, Direction]] = [
            (source, target, "Egress"),
            (target, source, "Ingress"),
        ]
        return all(
            self._lets(end, other, direction, port, protocol)
            for end, other, direction in ends
            if isinstance(end, Pod)
        )

    def _lets(
        self, pod: Pod, other: Pod | Address, direction: Direction, port: int, protocol: str
    ) -> bool:
        selecting = [policy for policy in self.policies if selects(policy, pod, direction)]
        return not selecting or any(
            self._peer_matches(rule, direction, other, policy["metadata"]["namespace"])
            and port_matches(rule, port, protocol)
            for policy in selecting
            for rule in policy["spec"].get(direction.lower()) or []
        )

    def _peer_matches(
        self, rule: Mapping[str, Any], direction: Direction, other: Pod | Address, home: str
    ) -> bool:
        peers = rule.get("from" if direction == "Ingress" else "to")
        return not peers or any(self._is(peer, other, home) for peer in peers)

    def _is(self, peer: Mapping[str, Any], other: Pod | Address, home: str) -> bool:
        if isinstance(other, Address):
            return "ipBlock" in peer and in_block(peer["ipBlock"], other.ip)
        if "ipBlock" in peer:
            return False
        if "namespaceSelector" in peer:
            name = {"kubernetes.io/metadata.name": other.namespace}
            labels = {**self.namespaces.get(other.namespace, {}), **name}
            namespace = matches(peer["namespaceSelector"], labels)
        else:
            namespace = other.namespace == home
        return namespace and matches(peer.get("podSelector") or {}, other.labels)


def selects(policy: Mapping[str, Any], pod: Pod, direction: Direction) -> bool:
    """Return whether ``policy`` has a say in one direction of the pod's connections."""
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    return (
        direction in types
        and policy["metadata"]["namespace"] == pod.namespace
        and matches(spec.get("podSelector") or {}, pod.labels)
    )


def matches(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Return whether a label selector selects ``labels``; an empty one selects all."""
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    key: str = expression["key"]
    operator: str = expression["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return (key in labels) == (operator == "Exists")
    if operator in ("In", "NotIn"):
        values: list[str] = expression["values"]
        return (labels.get(key) in values) == (operator == "In")
    raise ValueError(f"There is no operator {operator!r} in label selectors.")


def port_matches(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    """Return whether a rule is about ``port``; one without ports is about all."""
    ports = rule.get("ports")
    return not ports or any(
        protocol == entry.get("protocol", "TCP") and _in_range(entry, port) for entry in ports
    )


def _in_range(entry: Mapping[str, Any], port: int) -> bool:
    if "port" not in entry:
        return True
    first, last = entry["port"], entry.get("endPort", entry["port"])
    if isinstance(first, str):
        raise ValueError(f"The port {first!r} is named; whether it matches depends on the pod.")
    return port in range(first, last + 1)


def in_block(block: Mapping[str, Any], ip: str) -> bool:
    """Return whether an ``ipBlock`` holds ``ip``."""
    address = ip_address(ip)
    return address in ip_network(block["cidr"]) and not any(
        address in ip_network(cidr) for cidr in block.get("except") or []
    )
