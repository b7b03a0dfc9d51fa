"""
The upstreams, from environment variables or from ``gateway.upstreams`` in the values.

Called by ``config``; reads the files with the keys. No setting but OPENAI_API_KEY holds a key,
and no message does. :class:`Upstream` is used by the whole package.
"""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from caesarion_hub.gateway.errors import ConfigError
from caesarion_hub.values import gateway
from caesarion_hub.values.gateway import Timeouts, UpstreamOptions

OPENAI = "https://api.openai.com/v1"

_ADDRESSES = ("OPENAI_BASE_URL", "OPENAI_API_KEY")

MODEL = "{model}"
"""Placeholder in a base URL for the name of the model."""


# A model name that in a path would address another resource, with this deployment's key:
# servers decode escapes before they resolve dots.
_LEADS_ELSEWHERE = re.compile(r"(?:^|[/\\])\.{0,2}(?:[/\\]|$)|[\x00-\x1f\x7f]")


@lru_cache
def _url(base_url: str, path: str, model: str) -> str:
    parts = urlsplit(base_url.replace(MODEL, quote(model, safe="")))
    return parts._replace(path=parts.path.rstrip("/") + path).geturl()


@dataclass(frozen=True)
class Upstream:
    """
    One endpoint: its address, its key if it needs one, and its options.

    ``base_url`` may hold a query and, for servers that have the model in the
    path, ``{model}``. ``proxy`` is the HTTP proxy on the way to it. ``settings``
    are the operator's names for the address and the key, for sentences. It gets the request
    fields ``extra_fields`` beside OpenAI's.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)
    name: str = "provider"
    options: UpstreamOptions = field(default_factory=UpstreamOptions)
    settings: tuple[str, str] = (
        "OPENAI_BASE_URL or gateway.baseUrl",
        "OPENAI_API_KEY or gateway.apiKey",
    )
    extra_fields: frozenset[str] = frozenset()

    @property
    def host(self) -> str:
        """Host and port, for sentences."""
        return urlsplit(self.base_url).netloc

    def takes(self, model: str) -> bool:
        """Whether this upstream may be asked for ``model`` under that very name."""
        if MODEL in self.base_url and _LEADS_ELSEWHERE.search(model):
            return False
        models = self.options.models
        return not models or any(fnmatchcase(model, name) for name in models)

    def url(self, path: str, model: str = "") -> str:
        """Return the address of ``path`` (it begins with a slash), for ``model``."""
        return _url(self.base_url, path, model)

    def credentials(self) -> dict[str, str]:
        """Return the header that carries the key."""
        if not self.key:
            return {}
        if self.options.kind == "azure":
            return {"api-key": self.key}
        return {"Authorization": f"Bearer {self.key}"}


def find(setting: Mapping[str, str], values: gateway.Gateway) -> tuple[tuple[Upstream, ...], str]:
    """
    Return the upstreams (none for the demo model) and a warning for the operator, or "".

    ``gateway.upstreams`` wins; otherwise there is one upstream of the base URL and the key,
    of which either is enough.
    """
    warnings: list[str] = []
    if values.upstreams:
        if other := [name for name in _ADDRESSES if setting.get(name)]:
            warnings.append(f"{other[0]} is not used, since gateway.upstreams is set.")
        found = tuple(_named(upstream, values.requests, warnings) for upstream in values.upstreams)
        return found, " ".join(warnings)
    key = _key(setting, values, warnings)
    base_url = setting.get("OPENAI_BASE_URL") or values.base_url or (OPENAI if key else None)
    if not base_url:
        return (), " ".join(warnings)
    silence = seconds(setting, "CAESARION_GATEWAY_SILENCE", "300")
    upstream = Upstream(
        _checked_address(base_url, "OPENAI_BASE_URL"),
        key,
        _proxy(base_url),
        name=urlsplit(base_url).netloc,
        options=UpstreamOptions(timeouts=Timeouts(firstByte=silence, silence=silence)),
        extra_fields=frozenset(values.requests.extra_fields),
    )
    return (upstream,), " ".join(warnings)


def _named(values: gateway.Upstream, requests: gateway.Requests, warnings: list[str]) -> Upstream:
    where = f"of the upstream '{values.name}'"
    address, key_file = f"baseUrl {where}", f"keyFile {where}"
    return Upstream(
        _checked_address(values.base_url, address),
        _key_in(values.key_file, key_file, warnings) if values.key_file else None,
        _proxy(values.base_url),
        name=values.name,
        options=values,
        settings=(address, key_file),
        extra_fields=frozenset((*requests.extra_fields, *values.extra_fields)),
    )


def _checked_address(base_url: str, where: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        # Not quoted, since it may hold the key.
        raise ConfigError(
            f"{where} is not the web address of an endpoint. Set it to something like "
            "http://127.0.0.1:11434/v1, without a name or a password in it."
        )
    return base_url.rstrip("/")


def _proxy(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def seconds(setting: Mapping[str, str], name: str, default: str) -> float:
    """Return the number of seconds in the variable ``name``."""
    text = setting.get(name) or default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"{name} is {text!r}. It must be a number of seconds above 0.")
    return number


def _key(setting: Mapping[str, str], values: gateway.Gateway, warnings: list[str]) -> str | None:
    named = setting.get("CAESARION_GATEWAY_KEY_FILE")
    if not named and values.key_file and not setting.get("OPENAI_API_KEY"):
        named = str(values.key_file)
    if not named:
        return _checked_key(setting.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY") or None
    return _key_in(Path(named), "CAESARION_GATEWAY_KEY_FILE", warnings)


def _key_in(file: Path, where: str, warnings: list[str]) -> str:
    """Return the key in ``file``; ``where`` is the operator's name for the setting."""
    try:
        key = file.read_text("utf-8").strip()
        mode = stat.S_IMODE(file.stat().st_mode)
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise ConfigError(
            f"The key file {file} cannot be read: {reason}. {where} must "
            "name a file that the gateway's user can open."
        ) from problem
    if not key:
        raise ConfigError(
            f"The key file {file} is empty. Write the provider's key into it, or unset {where}."
        )
    if mode & stat.S_IRWXO:
        warnings.append(f"Every user of this machine can open the key file {file}: chmod 600 it.")
    return _checked_key(key, f"The key file {file}")


def _checked_key(key: str, where: str) -> str:
    """Return ``key`` if it can stand in a header: one word of printable ASCII."""
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(f"{where} is no key: a key is one word of printable ASCII characters.")
    return key
