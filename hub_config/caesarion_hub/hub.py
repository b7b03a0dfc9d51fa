"""
Where the hub and its proxy listen, what they remember and how much they take on.

Called by ``jupyterhub_config.py``. On one machine everything listens on the
loopback interface, and everything remembered lies in ``local.folder``. In a
cluster the proxy is a Deployment of its own, and secrets come from the
environment as JupyterHub reads it (JPY_COOKIE_SECRET, CONFIGPROXY_AUTH_TOKEN).
"""

import sqlite3
from typing import Any

from traitlets.config import Config

from caesarion_hub.values import Cluster, Local, Values

DATABASE = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"
"""Where the hub's volume is mounted in a cluster."""

ROUTES_EVERY = 30
"""Seconds between looks at the proxy's routes: a proxy that started anew has none."""


class WriteAhead(sqlite3.Connection):
    """
    A connection to SQLite whose commits wait for the disk once instead of three times.

    The hub stands still meanwhile, for everybody, and a server's start has many commits.
    Nothing that was committed is lost, even without power.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode = WAL")


def configure(c: Config, values: Values) -> None:
    """Set the addresses, the state's files, the limits and the command of the proxy."""
    hub = values.hub
    c.JupyterHub.upgrade_db = True
    c.JupyterHub.allow_named_servers = hub.allow_named_servers
    c.JupyterHub.named_server_limit_per_user = hub.named_server_limit_per_user
    c.JupyterHub.concurrent_spawn_limit = hub.concurrent_spawn_limit
    c.JupyterHub.active_server_limit = hub.active_server_limit
    if isinstance(values.place, Local):
        on_one_machine(c, values.place, hub.base_url)
    else:
        in_a_cluster(c, values.place, hub.base_url)
    if hub.db.url:
        c.JupyterHub.db_url = hub.db.url
    # An operator may name another one past our values.
    if hub.config.get("JupyterHub", {}).get("db_url", c.JupyterHub.db_url).startswith("sqlite"):
        c.JupyterHub.db_kwargs = {
            "connect_args": {"check_same_thread": False, "factory": WriteAhead}
        }


def on_one_machine(c: Config, local: Local, base_url: str) -> None:
    """Set what ``make up`` has found."""
    c.JupyterHub.bind_url = f"http://127.0.0.1:{local.port}{base_url}"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{local.hub_port}"
    c.JupyterHub.db_url = f"sqlite:///{local.folder / 'jupyterhub.sqlite'}"
    c.JupyterHub.cookie_secret_file = str(local.folder / "cookie_secret")
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{local.proxy_api_port}"
    c.ConfigurableHTTPProxy.command = list(local.proxy_command)
    c.ConfigurableHTTPProxy.pid_file = str(local.folder / "proxy.pid")
    c.ConfigurableHTTPProxy.log_level = "warn"


def in_a_cluster(c: Config, cluster: Cluster, base_url: str) -> None:
    """Set what the chart has found; servers outlive the hub."""
    c.JupyterHub.bind_url = f"http://:8000{base_url}"  # the proxy's, and JupyterHub's base URL
    c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
    c.JupyterHub.hub_connect_url = cluster.hub_url
    c.JupyterHub.db_url = DATABASE
    # Servers that the last hub left are looked for in the background.
    c.JupyterHub.init_spawners_timeout = 1
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False
    c.JupyterHub.last_activity_interval = ROUTES_EVERY
    # Who asks for a server sees its progress at once.
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    c.JupyterHub.proxy_class = "caesarion_hub.pods.orphan_reaper.SweepingProxy"
    c.SweepingProxy.namespace = cluster.user_namespace
    c.SweepingProxy.release = cluster.release
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = cluster.proxy_api_url
