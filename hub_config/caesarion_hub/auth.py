"""
Who may log in and what a user may do; called by ``jupyterhub_config.py``.

Everybody who knows the users' password, under any name; an administrator's
name takes the administrators' password. The passwords' lengths are checked
with the values. An operator may name another authenticator in ``hub.config``,
which then says itself who may log in.
"""

from traitlets.config import Config

from caesarion_hub.names import GATEWAY_SCOPE
from caesarion_hub.values import OUR_AUTHENTICATOR, Values


def configure(c: Config, values: Values) -> None:
    """Set JupyterHub's authenticator and the role that every user has."""
    auth = values.auth
    c.Authenticator.admin_users = set(auth.admin_users)
    if values.authenticator == OUR_AUTHENTICATOR and auth.user_password and auth.admin_password:
        c.JupyterHub.authenticator_class = OUR_AUTHENTICATOR
        c.Authenticator.allow_all = True
        c.SharedPasswordAuthenticator.user_password = auth.user_password.get_secret_value()
        c.SharedPasswordAuthenticator.admin_password = auth.admin_password.get_secret_value()
    # A server's token holds GATEWAY_SCOPE only if its user holds it too: see spawner.py.
    c.JupyterHub.load_roles.append({"name": "user", "scopes": ["self", GATEWAY_SCOPE]})
