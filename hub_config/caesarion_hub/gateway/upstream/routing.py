"""
Who has a model, and in which order they are asked. Pure.

Called by ``providers`` and ``catalogue``.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.upstream.spec import Upstream

_NAMED = 20


@dataclass(frozen=True, eq=False)
class Route:
    """An upstream, and what it calls the model."""

    upstream: Upstream
    model: str


def takes(upstream: Upstream, model: str) -> bool:
    """Whether ``upstream`` is to be asked for ``model`` under that very name."""
    return not upstream.models or any(fnmatchcase(model, name) for name in upstream.models)


def is_pattern(name: str) -> bool:
    """Whether ``name`` stands for many names."""
    return any(sign in name for sign in "*?[")


def routes(upstreams: Iterable[Upstream], model: str) -> list[Route]:
    """
    Return all ways to ``model``.

    Upstreams without ``models`` are asked only where no other was named for it,
    since they would say that they do not know it.
    """
    ways = [
        Route(upstream, upstream.aliases.get(model, model))
        for upstream in upstreams
        if model in upstream.aliases or takes(upstream, model)
    ]
    named = [way for way in ways if way.upstream.models or model in way.upstream.aliases]
    return named or ways


def ordered(
    ways: Iterable[Route], is_resting: Callable[[Upstream], bool], chance: Callable[[], float]
) -> list[Route]:
    """
    Return the ways in the order in which they are tried.

    Those that asked for rest come last, then ``priority`` counts, then chance:
    with these lots an upstream of twice the weight comes first twice as often
    (Efraimidis and Spirakis, 2006).
    """

    def place(way: Route) -> tuple[bool, int, float]:
        upstream = way.upstream
        return is_resting(upstream), upstream.priority, -math.log(1 - chance()) / upstream.weight

    return sorted(ways, key=place)


def unknown(model: str, known: Sequence[str]) -> GatewayError:
    """Return what to say of a model that nobody has, though it may be listed."""
    known = [name for name in known if name != model]
    message = f"There is no model '{model[:100]}' here."
    if near := difflib.get_close_matches(model, known, n=1):
        message += f" Did you mean '{near[0]}'?"
    if known:
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        message += f" The models are: {', '.join(known[:_NAMED])}{more}."
    else:
        message += " The operator can say which there are."
    return GatewayError(404, "model_not_found", message)
