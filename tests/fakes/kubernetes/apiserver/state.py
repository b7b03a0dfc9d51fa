"""
What the parts of the API server share: objects, kinds, addresses, and what tests read.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.resources import Resources
from tests.fakes.kubernetes.apiserver.store import Store
from tests.fakes.kubernetes.apiserver.tokens import Tokens

SERVICES = ipaddress.IPv4Network("127.96.0.0/16")


@dataclass
class State:
    """
    One cluster's state.

    ``denials`` are the calls that RBAC refused and ``warnings`` what clients
    were warned of, such as fields that no schema knows: a test may assert that
    both are empty. ``services`` is the network of cluster IPs.
    """

    store: Store = field(default_factory=Store)
    resources: Resources = field(default_factory=Resources)
    tokens: Tokens = field(default_factory=Tokens)
    services: ipaddress.IPv4Network = SERVICES
    denials: list[Json] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def free_addresses(self) -> Iterator[str]:
        """Yield the cluster IPs that no Service has; the first is the API server's own."""
        taken = {service["spec"].get("clusterIP") for service in self.store.all("services")}
        return (str(address) for address in self.services.hosts() if str(address) not in taken)
