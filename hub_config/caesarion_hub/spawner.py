"""
How a user's server starts: what it is told and what its token may do, wherever it runs.

Called by ``jupyterhub_config.py``; calls ``homes`` for one machine and ``pods``
for a cluster.
"""

from traitlets.config import Config

from caesarion_hub import local_spawner
from caesarion_hub.names import GATEWAY_SCOPE, RUN_VARIABLE
from caesarion_hub.values import Local, Values


def configure(c: Config, values: Values) -> None:
    """Set the spawner, what a server's token may do and what its environment says."""
    c.Spawner.notebook_dir = "~"
    c.Spawner.default_url = values.singleuser.default_url
    c.Spawner.start_timeout = values.singleuser.start_timeout
    c.Spawner.consecutive_failure_limit = values.hub.consecutive_failure_limit
    # Without the user's role (auth.py) the last scope is dropped from the token in silence.
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
    }
    if isinstance(values.place, Local):
        c.Spawner.environment[RUN_VARIABLE] = values.place.run
        local_spawner.configure(c, values.place)
    else:
        from caesarion_hub import pods  # here, since `make up` does without Kubernetes

        pods.configure(c, values.singleuser, values.place)
    c.Spawner.environment.update(values.singleuser.extra_env)


def gateway_url(values: Values) -> str:
    """Return where a user's server finds the model: at the gateway itself, past the proxy."""
    place = values.place
    gateway = (
        f"http://127.0.0.1:{place.gateway_port}" if isinstance(place, Local) else place.gateway_url
    )
    return f"{gateway.rstrip('/')}{values.hub.base_url}services/gateway/v1"
