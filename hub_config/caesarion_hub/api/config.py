"""
The settings of the api service, from the environment; used by ``__main__`` and ``application``.

JupyterHub sets its own variables for a service that it manages, and the chart sets the same.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


class ConfigError(Exception):
    """A setting that cannot be used; ``str`` of it is one sentence with the remedy."""


@dataclass(frozen=True)
class Config:
    """
    Where the service listens, and whom it calls.

    ``prefix`` is the path of the service at the proxy, with a slash at both ends; ``grace`` are
    the seconds that streams have to end when the service is stopped; ``profile`` is that of a
    sandbox whose request names none.
    """

    host: str
    port: int
    prefix: str
    hub_api_url: str
    proxy_url: str
    origins: tuple[str, ...] = ()
    profile: str = ""
    grace: float = 1.0
    start_timeout: float = 300.0


def from_environment(environment: Mapping[str, str] = os.environ) -> Config:
    """Return the settings; raise ConfigError for one that is missing or wrong."""
    address = urlsplit(_required(environment, "JUPYTERHUB_SERVICE_URL"))
    if not address.hostname or not address.port:
        raise ConfigError("JUPYTERHUB_SERVICE_URL must be an address with a port.")
    return Config(
        host=address.hostname,
        port=address.port,
        prefix=_required(environment, "JUPYTERHUB_SERVICE_PREFIX"),
        hub_api_url=_required(environment, "JUPYTERHUB_API_URL").rstrip("/"),
        proxy_url=_required(environment, "CAESARION_API_PROXY_URL").rstrip("/"),
        origins=tuple(environment.get("CAESARION_API_ORIGINS", "").split()),
        profile=environment.get("CAESARION_API_PROFILE", ""),
        grace=_seconds(environment, "CAESARION_API_GRACE", 1.0),
        start_timeout=_seconds(environment, "CAESARION_API_START_TIMEOUT", 300.0),
    )


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise ConfigError(f"{name} is not set. The hub sets it, or the chart.")
    return value


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{name} is '{text}'; it must be a number of seconds.") from error
