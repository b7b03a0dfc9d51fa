"""
Configures JupyterHub's services: gateway, api, idle culler, Prometheus, the operator's own.

Called by ``jupyterhub_config.py``. Each service gets only the scopes and the
environment that it needs: JupyterHub's services do not inherit the hub's
environment. In a cluster the gateway and the api service are Deployments of their own.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlets.config import Config

from caesarion_hub.auth import GATEWAY_SCOPE
from caesarion_hub.local_spawner import NETWORK_VARIABLES
from caesarion_hub.values import RUN_VARIABLE, Local, Values
from caesarion_hub.values.gateway import CONFIG_VARIABLE

TEMPLATES = Path(__file__).with_name("templates")
"""Our extensions of JupyterHub's page templates, on one machine and in a cluster."""

GATEWAY_SCOPES = ["list:users", "read:groups:name", "read:users:activity", "read:servers"]
"""For the gateway's pages: running servers, and budgets of users and groups."""

GATEWAY = {
    "name": "gateway",
    "display": True,
    # Its pages skip the OAuth consent page and need to know who is an administrator.
    "oauth_no_confirm": True,
    "oauth_client_allowed_scopes": [GATEWAY_SCOPE, "admin-ui"],
}

CULLER_SCOPES = ["list:users", "read:users:activity", "read:servers", "delete:servers"]


def configure(c: Config, values: Values) -> None:
    """Add the services, their entries in the hub's menu, and the roles."""
    c.JupyterHub.template_paths.prepend([str(TEMPLATES)])
    c.JupyterHub.services.append(gateway(values))
    c.JupyterHub.load_roles.append(
        {"name": "gateway", "scopes": GATEWAY_SCOPES, "services": ["gateway"]}
    )
    if values.api.enabled:
        c.JupyterHub.services.append(api(values))
    if values.cull.enabled:
        c.JupyterHub.services.append(culler(values))
        c.JupyterHub.load_roles.append(culler_role(values))
    if not isinstance(values.deployment, Local) and values.deployment.metrics_token:
        token = values.deployment.metrics_token.get_secret_value()
        c.JupyterHub.services.append({"name": "metrics", "display": False, "api_token": token})
        c.JupyterHub.load_roles.append(
            {"name": "metrics", "scopes": ["read:metrics"], "services": ["metrics"]}
        )
    c.JupyterHub.services.extend(extra_services(values))
    c.JupyterHub.load_roles.extend(
        {"name": name, **role.model_dump(mode="json", exclude_unset=True)}
        for name, role in values.hub.load_roles.items()
    )


def gateway(values: Values, inherited: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the gateway as a service; on one machine it reads its values from a file."""
    deployment = values.deployment
    if not isinstance(deployment, Local):
        token = deployment.gateway_token.get_secret_value()
        # Do not hold up the hub's start while the gateway is away.
        return {**GATEWAY, "url": deployment.gateway_url, "api_token": token, "timeout": 1}
    environment = {name: inherited[name] for name in NETWORK_VARIABLES if name in inherited}
    environment[RUN_VARIABLE] = deployment.run
    environment[CONFIG_VARIABLE] = str(deployment.gateway_file)
    environment |= values.monitoring.traces.environment("gateway")
    return {
        **GATEWAY,
        "url": f"http://127.0.0.1:{deployment.gateway_port}",
        "command": [sys.executable, "-m", "caesarion_hub.gateway"],
        "environment": environment,
    }


def api(values: Values) -> dict[str, Any]:
    """
    Return the api service, which has no role: it acts with its callers' tokens.

    JupyterHub 6.1 makes each service with a URL an OAuth client, with the service's token as
    its secret. In a cluster that is a value which nobody is given.
    """
    deployment = values.deployment
    service: dict[str, Any] = {"name": "api", "display": False}
    if not isinstance(deployment, Local):
        secret = f"api {deployment.gateway_token.get_secret_value()}"
        token = hashlib.sha256(secret.encode()).hexdigest()
        return {**service, "url": deployment.api_url, "api_token": token, "timeout": 1}
    return {
        **service,
        "url": f"http://127.0.0.1:{deployment.api_port}",
        "command": [sys.executable, "-m", "caesarion_hub.api"],
        "environment": {
            RUN_VARIABLE: deployment.run,
            "CAESARION_API_PROXY_URL": f"http://127.0.0.1:{deployment.port}",
            "CAESARION_API_ORIGINS": " ".join(values.api.origins),
            "CAESARION_API_PROFILE": values.api.sandboxes.profile or "",
        },
    }


def culler(values: Values) -> dict[str, Any]:
    """Return the idle culler as a service."""
    cull, deployment = values.cull, values.deployment
    return {
        "name": "idle-culler",
        "command": [
            *(sys.executable, "-m", "jupyterhub_idle_culler"),
            f"--timeout={cull.timeout}",
            f"--cull-every={cull.every}",
            f"--max-age={cull.max_age}",
            *(["--cull-users"] if cull.users else []),
        ],
        "environment": {RUN_VARIABLE: deployment.run} if isinstance(deployment, Local) else {},
    }


def culler_role(values: Values) -> dict[str, Any]:
    """Return the culler's role; it may delete users only if ``cull.users`` is set."""
    deletes = ["admin:users"] if values.cull.users else []
    return {
        "name": "idle-culler",
        "scopes": [*CULLER_SCOPES, *deletes],
        "services": ["idle-culler"],
    }


def extra_services(values: Values) -> list[dict[str, Any]]:
    """Return the operator's services with JupyterHub's own keys."""
    services = []
    for name, service in values.hub.services.items():
        table = service.model_dump(exclude_unset=True)
        if service.api_token:
            table["api_token"] = service.api_token.get_secret_value()
        if service.command:
            table["command"] = list(service.command)
        services.append({"name": name, **table})
    return services
