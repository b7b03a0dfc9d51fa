"""
Configures users' servers: their environment and the scopes of their tokens.

Called by ``jupyterhub_config.py``; calls ``local_spawner`` on one machine and
``pods`` in a cluster, which choose the spawner class.
"""

import json

from traitlets.config import Config

from caesarion_hub import local_spawner, logs
from caesarion_hub.auth import GATEWAY_SCOPE
from caesarion_hub.values import RUN_VARIABLE, Local, Values

ACTIVITY_INTERVAL = 300
"""
Seconds between two reports of a server to the hub of when it was last in use: JupyterHub's default.

A culler with a shorter timeout would stop servers at work, so with a short ``cull.timeout``
servers report more often.
"""


def configure(c: Config, values: Values) -> None:
    """Set the spawner class, the scopes of a server's token and its environment."""
    c.Spawner.notebook_dir = "~"
    c.Spawner.default_url = values.singleuser.default_url
    # Code in a kernel can write into the home, and would act with the session of its reader.
    c.Spawner.disable_user_config = not values.singleuser.user_configuration
    c.Spawner.start_timeout = values.singleuser.start_timeout
    c.Spawner.consecutive_failure_limit = values.hub.consecutive_failure_limit
    c.Spawner.server_token_scopes = [
        "users:activity!user",
        "access:servers!server",
        GATEWAY_SCOPE,
    ]
    c.Spawner.environment = {
        "CAESARION_MODEL_BASE_URL": gateway_url(values),
        "CAESARION_MODEL_NAME": values.gateway.model,
        "CAESARION_AGENT_APPROVAL": values.agent.approval,
        "CAESARION_AGENT_MAX_APPROVAL": values.agent.max_approval,
        "CAESARION_AGENT_PROGRAM_APPROVALS": str(values.agent.program_approvals).lower(),
        "CAESARION_AGENT_BACKGROUND_MAX_MINUTES": str(values.agent.background_max_minutes),
        **values.monitoring.traces.environment("server"),
    }
    if values.cull.enabled and values.cull.timeout < 3 * ACTIVITY_INTERVAL:
        interval = max(1, values.cull.timeout // 3)
        c.Spawner.environment["JUPYTERHUB_ACTIVITY_INTERVAL"] = str(interval)
    if isinstance(values.deployment, Local):
        c.Spawner.environment[RUN_VARIABLE] = values.deployment.run
        local_spawner.configure(c, values, values.deployment)
    else:
        # Not at the top: `make up` does not import the Kubernetes client.
        from caesarion_hub.pods import configuration

        configuration.configure(c, values, values.deployment)
    # Last, so that an operator can replace any variable, also those of the agent's limits above:
    # extraEnv is the operator's own, and users cannot set it.
    c.Spawner.environment.update(values.singleuser.extra_env)
    if options := server_options(values):
        c.Spawner.args = [*c.Spawner.get("args", []), *options]


def server_options(values: Values) -> list[str]:
    """Return options of users' servers, which override the user's own configuration files."""
    options = []
    policy, log = values.singleuser.content_security_policy, values.monitoring.logs
    if policy.enabled:
        settings = {"headers": {"Content-Security-Policy": policy.header}}
        options.append(f"--ServerApp.tornado_settings={json.dumps(settings)}")
    if log.format == "json":
        shape = logs.config("server", log.level_key, "caesarion.logs.ServerFormatter")
        options.append(f"--Application.logging_config={json.dumps(shape)}")
    return options


def gateway_url(values: Values) -> str:
    """Return the model's base URL for users' servers: the gateway itself, not through the proxy."""
    deployment = values.deployment
    gateway = (
        f"http://127.0.0.1:{deployment.gateway_port}"
        if isinstance(deployment, Local)
        else deployment.gateway_url
    )
    return f"{gateway.rstrip('/')}{values.hub.base_url}services/gateway/v1"
