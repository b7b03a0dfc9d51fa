"""
Configures how people log in and what their role allows.

Called by ``jupyterhub_config.py``. With our authenticator anybody who knows the
users' password logs in under any name; an administrator's name requires the
administrators' password. ``values`` checks the lengths of both. An operator may
name another authenticator in ``hub.config``, which then makes that decision.
"""

from traitlets.config import Config

from caesarion_hub.values import OUR_AUTHENTICATOR, Values

GATEWAY_SCOPE = "access:services!service=gateway"
"""
Allows a user, and the user's server, to call the gateway.

JupyterHub 6.1 grants a server's token only scopes that its user holds too and
drops the others silently: so this one is in the user's role here and in
``Spawner.server_token_scopes`` (``spawner``).
"""

API_SCOPE = "access:services!service=api"
"""
Allows a user to call the api service.

Not the user's server, whose token the agent's code can read: it shall start no sandboxes.
"""


def configure(c: Config, values: Values) -> None:
    """Set JupyterHub's authenticator and the role that every user has."""
    auth = values.auth
    c.Authenticator.admin_users = set(auth.admin_users)
    if values.authenticator == OUR_AUTHENTICATOR and auth.user_password and auth.admin_password:
        c.JupyterHub.authenticator_class = OUR_AUTHENTICATOR
        c.Authenticator.allow_all = True
        c.SharedPasswordAuthenticator.user_password = auth.user_password.get_secret_value()
        c.SharedPasswordAuthenticator.admin_password = auth.admin_password.get_secret_value()
    scopes = ["self", GATEWAY_SCOPE, *([API_SCOPE] if values.api.enabled else [])]
    c.JupyterHub.load_roles.append({"name": "user", "scopes": scopes})
