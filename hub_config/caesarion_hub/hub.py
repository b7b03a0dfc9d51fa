"""
Where the hub and its proxy listen and what they remember.

Called by ``jupyterhub_config.py``. Everything listens on the loopback
interface; everything remembered lies in ``local.folder``.
"""

from traitlets.config import Config

from caesarion_hub.values import Values


def configure(c: Config, values: Values) -> None:
    """Set the addresses, the state's files and the command of the proxy."""
    local = values.local
    c.JupyterHub.bind_url = f"http://127.0.0.1:{local.port}"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{local.hub_port}"
    c.JupyterHub.db_url = f"sqlite:///{local.folder / 'jupyterhub.sqlite'}"
    c.JupyterHub.upgrade_db = True
    c.JupyterHub.cookie_secret_file = str(local.folder / "cookie_secret")
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{local.proxy_api_port}"
    c.ConfigurableHTTPProxy.command = list(local.proxy_command)
    c.ConfigurableHTTPProxy.pid_file = str(local.folder / "proxy.pid")
    c.ConfigurableHTTPProxy.log_level = "warn"
