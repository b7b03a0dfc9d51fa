"""
What runs beside the hub: the gateway to the model, the idle culler, the operator's services.

Called by ``jupyterhub_config.py``. Each service gets the rights it needs and
an environment of its own; the hub's is not inherited. In a cluster the gateway
is a Deployment of its own.
"""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlets.config import Config

from caesarion_hub.names import GATEWAY_SCOPE, GATEWAY_VALUES_FILE, NETWORK_VARIABLES, RUN_VARIABLE
from caesarion_hub.values import Local, Values
from caesarion_hub.values.gateway import CONFIG_VARIABLE

TEMPLATES = Path(__file__).with_name("templates")
"""What we say otherwise than JupyterHub's pages, wherever servers run."""

GATEWAY_SCOPES = ["list:users", "read:groups:name", "read:users:activity", "read:servers"]
"""For the gateway's pages on who runs what now, and on budgets by name."""

GATEWAY = {
    "name": "gateway",
    "display": True,
    # Its pages ask nobody for consent, and learn whether somebody may administer.
    "oauth_no_confirm": True,
    "oauth_client_allowed_scopes": [GATEWAY_SCOPE, "admin-ui"],
}

CULLER_SCOPES = ["list:users", "read:users:activity", "read:servers", "delete:servers"]


def configure(c: Config, values: Values) -> None:
    """Add the services, what the hub's menu calls them, and the roles."""
    c.JupyterHub.template_paths.prepend([str(TEMPLATES)])
    logging.getLogger("JupyterHub").addFilter(_is_news)
    c.JupyterHub.services.append(gateway(values))
    c.JupyterHub.load_roles.append(
        {"name": "gateway", "scopes": GATEWAY_SCOPES, "services": ["gateway"]}
    )
    if values.cull.enabled:
        c.JupyterHub.services.append(culler(values))
        c.JupyterHub.load_roles.append(culler_role(values))
    c.JupyterHub.services.extend(extra_services(values))
    c.JupyterHub.load_roles.extend(
        {"name": name, **role.model_dump(mode="json", exclude_unset=True)}
        for name, role in values.hub.load_roles.items()
    )


def _is_news(record: logging.LogRecord) -> bool:
    """
    Whether a line of the hub's log tells anything.

    That the gateway asks whether somebody may administer, and most may not, does not: the hub
    warns of it each time somebody opens the pages.
    """
    return "JupyterHub service gateway requested scopes" not in record.getMessage()


def gateway(values: Values, inherited: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the gateway as a service; its section of the values lies in a file."""
    place = values.place
    if not isinstance(place, Local):
        token = place.gateway_token.get_secret_value()
        # A hub that starts while the gateway does not answer must not wait for it.
        return {**GATEWAY, "url": place.gateway_url, "api_token": token, "timeout": 1}
    environment = {name: inherited[name] for name in NETWORK_VARIABLES if name in inherited}
    environment[RUN_VARIABLE] = place.run
    environment[CONFIG_VARIABLE] = str(place.folder / GATEWAY_VALUES_FILE)
    return {
        **GATEWAY,
        "url": f"http://127.0.0.1:{place.gateway_port}",
        "command": [sys.executable, "-m", "caesarion_hub.gateway"],
        "environment": environment,
    }


def culler(values: Values) -> dict[str, Any]:
    """Return the idle culler as a service."""
    cull, place = values.cull, values.place
    return {
        "name": "idle-culler",
        "command": [
            *(sys.executable, "-m", "jupyterhub_idle_culler"),
            f"--timeout={cull.timeout}",
            f"--cull-every={cull.every}",
            f"--max-age={cull.max_age}",
            *(["--cull-users"] if cull.users else []),
        ],
        "environment": {RUN_VARIABLE: place.run} if isinstance(place, Local) else {},
    }


def culler_role(values: Values) -> dict[str, Any]:
    """Return the rights of the culler; to delete users is one only if it is to do so."""
    deletes = ["admin:users"] if values.cull.users else []
    return {
        "name": "idle-culler",
        "scopes": [*CULLER_SCOPES, *deletes],
        "services": ["idle-culler"],
    }


def extra_services(values: Values) -> list[dict[str, Any]]:
    """Return the operator's services as JupyterHub spells them."""
    services = []
    for name, service in values.hub.services.items():
        told = service.model_dump(exclude_unset=True)
        if service.api_token:
            told["api_token"] = service.api_token.get_secret_value()
        if service.command:
            told["command"] = list(service.command)
        services.append({"name": name, **told})
    return services
