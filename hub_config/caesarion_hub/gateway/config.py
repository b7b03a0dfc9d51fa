"""
The gateway's settings, from its environment alone: the only reader of it here.

Called by ``__main__``. What the hub sets for every service (``JUPYTERHUB_*``)
says who it is and where it listens; ``OPENAI_*`` and ``CAESARION_GATEWAY_*``
say where the model is.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

OPENAI = "https://api.openai.com/v1"


class ConfigError(Exception):
    """A setting that cannot be used; ``str`` of it is a sentence for the operator."""


@dataclass(frozen=True)
class Upstream:
    """
    The provider: where it is, and its key if it wants one.

    ``base_url`` has no slash at its end. ``proxy`` is the HTTP proxy on the way
    to it. ``silence`` is the seconds that it may send nothing, before its
    answer begins or within it; a model that thinks is silent for long.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)
    silence: float = 300.0

    @property
    def host(self) -> str:
        """Host and port, for sentences."""
        return urlsplit(self.base_url).netloc


@dataclass(frozen=True)
class Config:
    """
    All settings. Without ``upstream`` the demo model answers.

    ``prefix`` begins and ends with a slash. Port 0 lets the system choose.
    """

    hub_api_url: str
    service_name: str
    prefix: str
    host: str
    port: int
    default_model: str
    upstream: Upstream | None
    warning: str = ""
    grace: float = 3.0
    """Seconds that answers under way get to end after SIGTERM."""


def from_environment(environment: Mapping[str, str] = os.environ) -> Config:
    """
    Return the settings; raise :class:`ConfigError` for the first that cannot be used.

    ===============================  ==================================================
    JUPYTERHUB_API_URL               where the hub's API answers; needed
    JUPYTERHUB_SERVICE_NAME          ``gateway``; callers need ``access:services`` of it
    JUPYTERHUB_SERVICE_PREFIX        ``/services/gateway/``
    JUPYTERHUB_SERVICE_URL           ``http://127.0.0.1:8005``: host and port to listen on
    CAESARION_GATEWAY_HOST           another address to listen on, such as 0.0.0.0 in a pod
    OPENAI_BASE_URL                  an OpenAI-compatible endpoint, up to its ``/v1``
    CAESARION_GATEWAY_KEY_FILE       a file that holds the provider's key
    OPENAI_API_KEY                   the provider's key, if no file is named
    CAESARION_GATEWAY_DEFAULT_MODEL  the model to list if the provider has no list
    CAESARION_GATEWAY_SILENCE        seconds that the provider may be silent (300)
    CAESARION_GATEWAY_GRACE          seconds for answers under way after SIGTERM (3)
    HTTPS_PROXY, HTTP_PROXY, ...     the way to the provider, as for other programs
    ===============================  ==================================================
    """
    setting = {name: value.strip() for name, value in environment.items()}
    hub_api_url = setting.get("JUPYTERHUB_API_URL")
    if not hub_api_url:
        raise ConfigError(
            "JUPYTERHUB_API_URL is not set. It says where the hub's API answers, for example "
            "http://127.0.0.1:8081/hub/api."
        )
    name = setting.get("JUPYTERHUB_SERVICE_NAME") or "gateway"
    prefix = setting.get("JUPYTERHUB_SERVICE_PREFIX") or f"/services/{name}/"
    host, port = _address(setting.get("JUPYTERHUB_SERVICE_URL") or "http://127.0.0.1:8005")
    key, warning = _key(setting)
    base_url = setting.get("OPENAI_BASE_URL") or (OPENAI if key else None)
    return Config(
        hub_api_url=hub_api_url.rstrip("/"),
        service_name=name,
        prefix=f"/{prefix.strip('/')}/",
        host=setting.get("CAESARION_GATEWAY_HOST") or host,
        port=port,
        default_model=setting.get("CAESARION_GATEWAY_DEFAULT_MODEL") or "gpt-4.1",
        upstream=_upstream(base_url, key, setting) if base_url else None,
        warning=warning,
        grace=_seconds(setting, "CAESARION_GATEWAY_GRACE", 3.0),
    )


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None:
        raise ConfigError(
            f"JUPYTERHUB_SERVICE_URL is {url!r}, which names no host and port to listen on. "
            "Set it to something like http://127.0.0.1:8005."
        )
    return host, port


def _upstream(base_url: str, key: str | None, setting: Mapping[str, str]) -> Upstream:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        # Not quoted: somebody may have put the key into it.
        raise ConfigError(
            "OPENAI_BASE_URL is not the web address of an endpoint. Set it to something like "
            "http://127.0.0.1:11434/v1, without a name or a password in it."
        )
    seconds = _seconds(setting, "CAESARION_GATEWAY_SILENCE", 300.0)
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    return Upstream(base_url.rstrip("/"), key, proxy, seconds)


def _seconds(setting: Mapping[str, str], name: str, default: float) -> float:
    text = setting.get(name)
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{name} is {text!r}. It must be a number of seconds above 0.")
    return seconds


def _key(setting: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the provider's key and what the operator should hear about its file."""
    named = setting.get("CAESARION_GATEWAY_KEY_FILE")
    if not named:
        return _checked(setting.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY") or None, ""
    file = Path(named)
    try:
        key = file.read_text("utf-8").strip()
        mode = stat.S_IMODE(file.stat().st_mode)
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise ConfigError(
            f"The key file {named} cannot be read: {reason}. CAESARION_GATEWAY_KEY_FILE must "
            "name a file that the gateway's user can open."
        ) from problem
    if not key:
        raise ConfigError(
            f"The key file {named} is empty. Write the provider's key into it, or unset "
            "CAESARION_GATEWAY_KEY_FILE."
        )
    warning = ""
    if mode & stat.S_IRWXO:
        warning = f"Every user of this machine can open the key file {named}: chmod 600 it."
    return _checked(key, f"The key file {named}"), warning


def _checked(key: str, where: str) -> str:
    """A key goes into a header, so it must be one word of plain characters."""
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(f"{where} holds more than one word of plain characters, which no key is.")
    return key
