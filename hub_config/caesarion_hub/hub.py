"""
Configures the hub and its proxy: addresses, database, limits.

Called by ``jupyterhub_config.py``. On one machine everything listens on the
loopback interface and stores its state in ``local.folder``. In a cluster the
proxy is a Deployment of its own, and JupyterHub reads its secrets from the
environment (JPY_COOKIE_SECRET, CONFIGPROXY_AUTH_TOKEN).
"""

import sqlite3
from typing import Any
from urllib.parse import urlsplit

from traitlets.config import Config

from caesarion_hub import logs
from caesarion_hub.values import Cluster, Local, Values

DATABASE = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"
"""In a cluster: on the volume that the chart mounts at this path."""

STICKY_COOKIE = "caesarion-release"
"""The cookie by which ``deploy/bluegreen`` tells the browsers of two releases apart."""

ROUTE_CHECK_INTERVAL = 30
"""Seconds between comparisons with the proxy's routes: a restarted proxy has lost them all."""

ACTIVITY_RESOLUTION = 120
"""
Seconds within which a token's or a user's activity is not written again; JupyterHub's are 30.

Whoever works has the gateway ask the hub every few seconds whose token that is, and a commit is
almost half of what an answer costs. Servers' own reports are always written.
"""


class WalConnection(sqlite3.Connection):
    """
    A SQLite connection in write-ahead mode: a commit syncs to disk once instead of three times.

    The hub commits on its event loop, several times for each server that starts,
    and answers nobody until the disk has. A power failure loses no committed data.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode = WAL")


def configure(c: Config, values: Values) -> None:
    """Set addresses, database, limits, the log's form, and the proxy's class or command."""
    hub = values.hub
    c.JupyterHub.upgrade_db = True
    boxes = values.api.sandboxes
    c.JupyterHub.allow_named_servers = hub.allow_named_servers or values.has_sandboxes
    c.JupyterHub.template_vars = {"other_named_servers": hub.allow_named_servers}
    c.CaesarionHub.other_named_servers = hub.allow_named_servers
    c.CaesarionHub.sandbox_profiles = [profile.name for profile in values.singleuser.profile_list]
    c.CaesarionHub.sandboxes_enabled = values.has_sandboxes
    c.CaesarionHub.sandboxes_per_user = boxes.per_user
    c.CaesarionHub.sandbox_timeout = min(boxes.timeout, boxes.max_timeout)
    c.CaesarionHub.sandbox_max_timeout = boxes.max_timeout
    c.JupyterHub.named_server_limit_per_user = hub.named_server_limit_per_user
    c.JupyterHub.concurrent_spawn_limit = hub.concurrent_spawn_limit
    c.JupyterHub.active_server_limit = hub.active_server_limit
    # The culler of users looks at what was written.
    c.JupyterHub.activity_resolution = min(ACTIVITY_RESOLUTION, values.cull.timeout // 3)
    if hub.subdomain_host:
        c.JupyterHub.subdomain_host = hub.subdomain_host
    if values.monitoring.logs.format == "json":
        c.JupyterHub.logging_config = logs.config("hub", values.monitoring.logs.level_key)
    if isinstance(values.deployment, Local):
        configure_local(c, values.deployment, hub.base_url)
    else:
        configure_cluster(c, values.deployment, hub.base_url, values.singleuser.warm.replicas > 0)
        if hub.sticky_cookie:
            cookie = make_sticky_cookie(hub.sticky_cookie, hub.base_url, hub.subdomain_host)
            c.JupyterHub.tornado_settings["headers"] = {"Set-Cookie": cookie}
    if hub.db.url:
        c.JupyterHub.db_url = hub.db.url
    # hub.config may name another database than our values; overrides.py applies it later.
    if hub.config.get("JupyterHub", {}).get("db_url", c.JupyterHub.db_url).startswith("sqlite"):
        c.JupyterHub.db_kwargs = {
            "connect_args": {"check_same_thread": False, "factory": WalConnection}
        }


def make_sticky_cookie(value: str, base_url: str, subdomain_host: str | None) -> str:
    """
    Return the Set-Cookie header of ``hub.stickyCookie``.

    The browser sends it to the users' host names too, and forgets it when it is closed.
    JupyterHub 6.1 adds its own cookies to this header instead of replacing it.
    """
    attributes = [f"{STICKY_COOKIE}={value}", f"Path={base_url}", "HttpOnly", "SameSite=Lax"]
    if subdomain_host:
        url = urlsplit(subdomain_host)
        attributes += [f"Domain={url.hostname}", *(["Secure"] if url.scheme == "https" else [])]
    return "; ".join(attributes)


def configure_local(c: Config, local: Local, base_url: str) -> None:
    """Set the ports, files and commands that ``make up`` has determined."""
    c.JupyterHub.bind_url = f"http://127.0.0.1:{local.port}{base_url}"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{local.hub_port}"
    c.JupyterHub.db_url = f"sqlite:///{local.folder / 'jupyterhub.sqlite'}"
    c.JupyterHub.cookie_secret_file = str(local.folder / "cookie_secret")
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{local.proxy_api_port}"
    c.ConfigurableHTTPProxy.command = list(local.proxy_command)
    c.ConfigurableHTTPProxy.pid_file = str(local.folder / "proxy.pid")
    c.ConfigurableHTTPProxy.log_level = "warn"


def configure_cluster(c: Config, cluster: Cluster, base_url: str, keeps_warm: bool) -> None:
    """Set the addresses that the chart has determined; servers survive a restart of the hub."""
    c.JupyterHub.bind_url = f"http://:8000{base_url}"  # the proxy's, and JupyterHub's base URL
    c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
    c.JupyterHub.hub_connect_url = cluster.hub_url
    c.JupyterHub.db_url = DATABASE
    # Look for the servers of the previous hub in the background.
    c.JupyterHub.init_spawners_timeout = 1
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False
    c.JupyterHub.last_activity_interval = ROUTE_CHECK_INTERVAL
    # Show the progress page at once instead of after ten seconds.
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    c.JupyterHub.proxy_class = "caesarion_hub.pods.orphan_reaper.OrphanReapingProxy"
    c.OrphanReapingProxy.namespace = cluster.user_namespace
    c.OrphanReapingProxy.release = cluster.release
    c.OrphanReapingProxy.spare_warm = keeps_warm
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = cluster.proxy_api_url
