"""
Where the models are, from what the operator set: variables, or the values' upstreams.

Called by ``config``; reads the files that hold keys. A key stands in no
setting but OPENAI_API_KEY, and in no sentence.
"""

import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from caesarion_hub.gateway.errors import ConfigError
from caesarion_hub.gateway.upstream.spec import Breaker, Timeouts, Upstream
from caesarion_hub.values import gateway

OPENAI = "https://api.openai.com/v1"

_ADDRESSES = ("OPENAI_BASE_URL", "OPENAI_API_KEY")


def find(setting: Mapping[str, str], values: gateway.Gateway) -> tuple[tuple[Upstream, ...], str]:
    """
    Return the upstreams, none for the demo, and what the operator should hear.

    The values' own upstreams come before all; else one is made of the base URL
    and the key, of which either is enough.
    """
    warnings: list[str] = []
    if values.upstreams:
        if other := [name for name in _ADDRESSES if setting.get(name)]:
            warnings.append(f"{other[0]} is not used, since gateway.upstreams is set.")
        found = tuple(_named(upstream, warnings) for upstream in values.upstreams)
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
        timeouts=Timeouts(first_byte=silence, silence=silence),
    )
    return (upstream,), " ".join(warnings)


def _named(told: gateway.Upstream, warnings: list[str]) -> Upstream:
    where = f"of the upstream '{told.name}'"
    address, key_file = f"baseUrl {where}", f"keyFile {where}"
    return Upstream(
        _checked_address(told.base_url, address),
        _key_in(told.key_file, key_file, warnings) if told.key_file else None,
        _proxy(told.base_url),
        name=told.name,
        kind=told.kind,
        models=told.models,
        aliases=told.aliases,
        timeouts=Timeouts(**told.timeouts.model_dump()),
        breaker=Breaker(**told.breaker.model_dump()),
        retries=told.retries,
        priority=told.priority,
        weight=told.weight,
        settings=(address, key_file),
    )


def _checked_address(base_url: str, where: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        # Not quoted: somebody may have put the key into it.
        raise ConfigError(
            f"{where} is not the web address of an endpoint. Set it to something like "
            "http://127.0.0.1:11434/v1, without a name or a password in it."
        )
    return base_url.rstrip("/")


def _proxy(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def seconds(setting: Mapping[str, str], name: str, usual: str) -> float:
    """Return how many seconds the variable ``name`` says."""
    said = setting.get(name) or usual
    try:
        number = float(said)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"{name} is {said!r}. It must be a number of seconds above 0.")
    return number


def _key(setting: Mapping[str, str], values: gateway.Gateway, warnings: list[str]) -> str | None:
    named = setting.get("CAESARION_GATEWAY_KEY_FILE")
    if not named and values.key_file and not setting.get("OPENAI_API_KEY"):
        named = str(values.key_file)
    if not named:
        return _checked_key(setting.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY") or None
    return _key_in(Path(named), "CAESARION_GATEWAY_KEY_FILE", warnings)


def _key_in(file: Path, where: str, warnings: list[str]) -> str:
    """Return the key that ``file`` holds; ``where`` is what the operator calls it."""
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
    """A key goes into a header, so it must be one word of plain characters."""
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(f"{where} holds more than one word of plain characters, which no key is.")
    return key
