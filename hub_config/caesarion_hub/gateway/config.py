"""
The gateway's settings, read from the environment.

Called by ``__main__`` and ``audit``; of the other modules only ``audit`` reads the environment,
to see whether a settings file is named. The hub sets ``JUPYTERHUB_*`` for every service: its
name, its address, its token. A YAML file that one variable names is the ``gateway`` section of
the values; other variables take precedence over it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from caesarion_hub.gateway.errors import ConfigError
from caesarion_hub.gateway.upstream import settings
from caesarion_hub.gateway.upstream.settings import Upstream
from caesarion_hub.values import gateway
from caesarion_hub.values.gateway import CONFIG_VARIABLE

__all__ = ["Config", "ConfigError", "from_environment"]


@dataclass(frozen=True)
class Config:
    """
    All settings. Without ``upstreams`` the demo model answers.

    ``prefix`` begins and ends with a slash. Port 0 lets the system choose. Without
    ``api_token``, the gateway's own, there are no pages. A gateway that has not updated the
    ledger for ``lease`` seconds counts as dead; answers under way have ``grace`` seconds to
    end after SIGTERM; the audit is verified every ``audit_interval`` seconds. The defaults are
    made up.
    """

    hub_api_url: str
    service_name: str
    prefix: str
    host: str
    port: int
    upstreams: tuple[Upstream, ...]
    values: gateway.Gateway = field(default_factory=gateway.Gateway)
    api_token: str = field(default="", repr=False)
    lease: float = 30.0
    audit_interval: float = 3600.0
    grace: float = 3.0
    warning: str = ""


def from_environment(environment: Mapping[str, str] = os.environ) -> Config:
    """
    Return the settings; raise :class:`ConfigError` for the first that cannot be used.

    ===============================  ==================================================
    JUPYTERHUB_API_URL               where the hub's API answers; needed
    JUPYTERHUB_SERVICE_NAME          ``gateway``; callers need ``access:services`` of it
    JUPYTERHUB_API_TOKEN             the gateway's own; without it there are no pages
    JUPYTERHUB_SERVICE_PREFIX        ``/services/gateway/``
    JUPYTERHUB_SERVICE_URL           ``http://127.0.0.1:8005``: host and port to listen on
    CAESARION_GATEWAY_CONFIG         a YAML file: the ``gateway`` section of the values
    CAESARION_GATEWAY_HOST           another address to listen on, such as 0.0.0.0 in a pod
    OPENAI_BASE_URL                  an OpenAI-compatible endpoint, up to its ``/v1``
    CAESARION_GATEWAY_KEY_FILE       a file that holds the provider's key
    CAESARION_GATEWAY_AUDIT_KEY_FILE a file that holds the key that signs the audit
    OPENAI_API_KEY                   the provider's key, if no file is named
    CAESARION_GATEWAY_DEFAULT_MODEL  the deployment's model, in place of the values' one
    CAESARION_GATEWAY_SILENCE        seconds that the provider may be silent (300)
    CAESARION_GATEWAY_GRACE          seconds for answers under way after SIGTERM (3)
    CAESARION_GATEWAY_LEASE          seconds after which a silent replica is taken for dead (30)
    CAESARION_GATEWAY_AUDIT_INTERVAL seconds between two verifications of the audit (3600)
    CAESARION_GATEWAY_LOG_LEVEL_KEY  the key of the level in a line of the log (level)
    OTEL_EXPORTER_OTLP_ENDPOINT, ... OpenTelemetry's own: the collector that traces are sent to
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
    values = read_values(setting)
    if model := setting.get("CAESARION_GATEWAY_DEFAULT_MODEL"):
        values = values.model_copy(update={"model": model})
    upstreams, warning = settings.find(setting, values)
    return Config(
        hub_api_url=hub_api_url.rstrip("/"),
        service_name=name,
        prefix=f"/{prefix.strip('/')}/",
        host=setting.get("CAESARION_GATEWAY_HOST") or host,
        port=port,
        upstreams=upstreams,
        values=values,
        api_token=setting.get("JUPYTERHUB_API_TOKEN", ""),
        grace=settings.seconds(setting, "CAESARION_GATEWAY_GRACE", "3"),
        lease=settings.seconds(setting, "CAESARION_GATEWAY_LEASE", "30"),
        audit_interval=settings.seconds(setting, "CAESARION_GATEWAY_AUDIT_INTERVAL", "3600"),
        warning=warning,
    )


def log_level_key(environment: Mapping[str, str] = os.environ) -> str:
    """Return the key under which a line of the log has its level."""
    return environment.get("CAESARION_GATEWAY_LOG_LEVEL_KEY", "").strip()


def is_traced(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether OpenTelemetry's own variables name a collector, and do not disable it."""
    collectors = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not is_disabled and any(environment.get(name) for name in collectors)


def read_values(environment: Mapping[str, str] = os.environ) -> gateway.Gateway:
    """Return the section of the values, from the file that a variable names."""
    named = environment.get(CONFIG_VARIABLE, "").strip()
    if not named:
        return _with_audit_key(gateway.Gateway(), environment)
    try:
        table = yaml.safe_load(Path(named).read_text("utf-8"))
    except OSError as problem:
        raise ConfigError(
            f"The settings file {named} cannot be read: {problem.strerror}. {CONFIG_VARIABLE} "
            "must name a file that the gateway's user can open."
        ) from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ConfigError(f"The settings file {named} is not YAML.") from problem
    if not isinstance(table, dict | None):
        raise ConfigError(f"The settings file {named} is not a table of keys.")
    try:
        values = gateway.check(table or {})
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem
    return _with_audit_key(values, environment)


def _with_audit_key(values: gateway.Gateway, environment: Mapping[str, str]) -> gateway.Gateway:
    """Return ``values`` with the audit's key file of the environment, if it names one."""
    file = environment.get("CAESARION_GATEWAY_AUDIT_KEY_FILE", "").strip()
    if not file:
        return values
    audit = values.audit.model_copy(update={"key_file": Path(file)})
    return values.model_copy(update={"audit": audit})


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
