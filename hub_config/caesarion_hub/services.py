"""
What the hub runs beside itself: the gateway to the model and the idle culler.

Called by ``jupyterhub_config.py``. Each service gets the rights it needs and
an environment of its own; the hub's is not inherited.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

from traitlets.config import Config

from caesarion_hub.gateway_values import CONFIG_VARIABLE
from caesarion_hub.names import GATEWAY_VALUES_FILE, NETWORK_VARIABLES, RUN_VARIABLE
from caesarion_hub.values import Values

CULLER_SCOPES = ["list:users", "read:users:activity", "read:servers", "delete:servers"]


def configure(c: Config, values: Values) -> None:
    """Add the services and the culler's role."""
    c.JupyterHub.services.append(gateway(values))
    if values.cull.enabled:
        c.JupyterHub.services.append(culler(values))
        c.JupyterHub.load_roles.append(
            {"name": "idle-culler", "scopes": CULLER_SCOPES, "services": ["idle-culler"]}
        )


def gateway(values: Values, inherited: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the gateway as a service; its section of the values lies in a file."""
    environment = {name: inherited[name] for name in NETWORK_VARIABLES if name in inherited}
    environment[RUN_VARIABLE] = values.local.run
    environment[CONFIG_VARIABLE] = str(values.local.folder / GATEWAY_VALUES_FILE)
    return {
        "name": "gateway",
        "url": f"http://127.0.0.1:{values.local.gateway_port}",
        "command": [sys.executable, "-m", "caesarion_hub.gateway"],
        "environment": environment,
    }


def culler(values: Values) -> dict[str, Any]:
    """Return the idle culler as a service."""
    cull = values.cull
    return {
        "name": "idle-culler",
        "command": [
            *(sys.executable, "-m", "jupyterhub_idle_culler"),
            f"--timeout={cull.timeout}",
            f"--cull-every={cull.every}",
            f"--max-age={cull.max_age}",
        ],
        "environment": {RUN_VARIABLE: values.local.run},
    }
