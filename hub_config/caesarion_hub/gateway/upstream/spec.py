"""
What the operator says of one upstream. Values; read by everything in ``provider``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, urlsplit

MODEL = "{model}"
"""Stands in a base URL for the name of the model that is asked."""


@lru_cache
def _url(base_url: str, path: str, model: str) -> str:
    parts = urlsplit(base_url.replace(MODEL, quote(model, safe="")))
    return parts._replace(path=parts.path.rstrip("/") + path).geturl()


@dataclass(frozen=True)
class Timeouts:
    """
    Seconds that an upstream may take.

    ``connect`` until it takes the connection, ``first_byte`` until its answer
    begins (a model that thinks is silent for long), ``silence`` between two
    pieces of an answer.
    """

    connect: float = 10.0
    first_byte: float = 300.0
    silence: float = 300.0


@dataclass(frozen=True)
class Breaker:
    """After ``failures`` in a row an upstream is left alone for ``seconds``."""

    failures: int = 5
    seconds: float = 30.0


@dataclass(frozen=True)
class Upstream:
    """
    One endpoint: where it is, its key if it wants one, and what it is asked for.

    ``base_url`` may hold a query and, for servers that have the model in the
    path, ``{model}``. ``proxy`` is the HTTP proxy on the way to it. ``models``
    are names and patterns of names (``gpt-*``); without any it is asked for
    whatever no other is better for. ``aliases`` are further names, each with
    the one that this upstream knows. A lower ``priority`` is asked first;
    among equals chance decides, by ``weight``. ``retries`` is how often it is
    asked again. ``settings`` are what the operator calls its address and key.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)
    name: str = "provider"
    kind: Literal["openai", "azure"] = "openai"
    models: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    breaker: Breaker = Breaker()
    retries: int = 2
    priority: int = 0
    weight: float = 1.0
    settings: tuple[str, str] = ("OPENAI_BASE_URL", "OPENAI_API_KEY")

    @property
    def host(self) -> str:
        """Host and port, for sentences."""
        return urlsplit(self.base_url).netloc

    def url(self, path: str, model: str = "") -> str:
        """Return the address of ``path`` (it begins with a slash), for ``model``."""
        return _url(self.base_url, path, model)

    def credentials(self) -> dict[str, str]:
        """Return the header that carries the key."""
        if not self.key:
            return {}
        if self.kind == "azure":
            return {"api-key": self.key}
        return {"Authorization": f"Bearer {self.key}"}
