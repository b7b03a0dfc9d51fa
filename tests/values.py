"""Values for unit tests of the hub's side: a whole table to lay changes over."""

from typing import Any

from caesarion_hub import values

USER_PASSWORD = "the users' password"
ADMIN_PASSWORD = "the administrators' password, which is longer"


def make_table(**changes: Any) -> dict[str, Any]:
    """Return a complete table with ``changes`` on top, by section."""
    table = {
        "auth": {"userPassword": USER_PASSWORD, "adminPassword": ADMIN_PASSWORD},
        "local": {
            "folder": "/state",
            "run": "abc",
            "port": 8000,
            "hubPort": 8081,
            "proxyApiPort": 8001,
            "gatewayPort": 8082,
            "proxyCommand": ["node", "proxy"],
        },
    }
    return values.merge([table, changes])


def make_values(**changes: Any) -> values.Values:
    """Return checked values with ``changes`` on top, by section."""
    return values.check(make_table(**changes))
