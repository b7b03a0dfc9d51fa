"""Values for unit tests of the hub's side: whole tables to lay changes over."""

from copy import deepcopy
from typing import Any

from caesarion_hub import values

USER_PASSWORD = "the users' password"
ADMIN_PASSWORD = "the administrators' password, which is longer"
GATEWAY_TOKEN = "the gateway's token, which is no user's"

AUTH = {"userPassword": USER_PASSWORD, "adminPassword": ADMIN_PASSWORD}

LOCAL = {
    "folder": "/state",
    "run": "abc",
    "port": 8000,
    "hubPort": 8081,
    "proxyApiPort": 8001,
    "gatewayPort": 8082,
    "apiPort": 8083,
    "proxyCommand": ["node", "proxy"],
}

CLUSTER = {
    "name": "caesarion",
    "release": "caesarion",
    "namespace": "hub",
    "userNamespace": "people",
    "hubUrl": "http://caesarion-hub.hub:8081",
    "proxyApiUrl": "http://caesarion-proxy-api:8001",
    "gatewayUrl": "http://caesarion-gateway.hub",
    "apiUrl": "http://caesarion-api.hub",
    "gatewayToken": GATEWAY_TOKEN,
    "labels": {"helm.sh/chart": "caesarion-0.1.0"},
}


def make_table(**changes: Any) -> dict[str, Any]:
    """Return a complete table for one machine with ``changes`` on top, by section."""
    return deepcopy(values.merge([{"auth": AUTH, "local": LOCAL}, changes]))


def make_cluster_table(**changes: Any) -> dict[str, Any]:
    """Return a complete table for a cluster with ``changes`` on top, by section."""
    return deepcopy(values.merge([{"auth": AUTH, "cluster": CLUSTER}, changes]))


def make_values(**changes: Any) -> values.Values:
    """Return checked values for one machine with ``changes`` on top, by section."""
    return values.check(make_table(**changes))


def make_cluster_values(**changes: Any) -> values.Values:
    """Return checked values for a cluster with ``changes`` on top, by section."""
    return values.check(make_cluster_table(**changes))
