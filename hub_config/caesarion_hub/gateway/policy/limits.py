"""
What a caller may ask, whatever is left of the budgets: pure functions.

Called by ``meter`` and by the handler of ``v1/models``. Who is in several
groups has the most generous of each limit.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.values.gateway import Gateway, Limits

DEFAULT = "default"
"""The model's name that means: whichever is meant for me."""

# In the order of how usual they are; a request has one of them, or none.
_OUTPUT_FIELDS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class CallerLimits:
    """One caller's limits; nothing means that there is none."""

    models: frozenset[str] | None
    default_model: str
    max_output_tokens: int | None
    requests_per_minute: int | None
    concurrent_streams: int | None


def caller_limits(values: Gateway, groups: Iterable[str]) -> CallerLimits:
    """Return the terms of somebody in ``groups``."""
    mine = [values.groups[group] for group in values.groups if group in set(groups)]
    lists = _each(mine, values.limits, lambda limits: limits.models)
    models = frozenset(name for names in lists for name in names) if None not in lists else None
    defaults = [limits.default_model for limits in (*mine, values.limits) if limits.default_model]
    return CallerLimits(
        models=models,
        default_model=defaults[0] if defaults else values.model,
        max_output_tokens=_most(_each(mine, values.limits, lambda lim: lim.max_output_tokens)),
        requests_per_minute=_most(_each(mine, values.limits, lambda lim: lim.requests_per_minute)),
        concurrent_streams=_most(_each(mine, values.limits, lambda lim: lim.concurrent_streams)),
    )


def _each(mine: list[Limits], others: Limits, field: Callable[[Limits], Any]) -> list[Any]:
    """Return a field of each group; what a group leaves open is everybody's."""
    everybodys = field(others)
    return [everybodys if field(limits) is None else field(limits) for limits in mine or [others]]


def _most(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return max(known) if len(known) == len(numbers) else None


def model_for(asked: str, terms: CallerLimits, values: Gateway) -> str:
    """
    Return the model that ``asked`` means; raise GatewayError if it is not for this caller.

    Chats ask for the deployment's model, whoever chats: who may not have that
    gets their own default one.
    """
    default = values.aliases.get(terms.default_model, terms.default_model)
    name = default if asked == DEFAULT else values.aliases.get(asked, asked)
    if terms.models is None:
        return name
    allowed = {values.aliases.get(model, model) for model in terms.models}
    if name not in allowed and asked == values.model:
        name = default
    if name in allowed:
        return name
    choice = ", ".join(sorted(terms.models))
    raise GatewayError(
        403,
        "model_not_allowed",
        f"The model '{asked}' is not for you. "
        + (f"The models are: {choice}." if choice else "There is no model for you."),
        headers={"X-Should-Retry": "false"},
    )


def output_limit(body: dict[str, Any], terms: CallerLimits) -> int | None:
    """Return the most tokens that the answer may have, and write our own limit into ``body``."""
    asked: list[int] = [
        body[name] for name in _OUTPUT_FIELDS if isinstance(body.get(name), int) and body[name] > 0
    ]
    ours = terms.max_output_tokens
    if ours is None:
        return max(asked, default=None)
    if not asked:
        body[_OUTPUT_FIELDS[0]] = ours
        return ours
    for name in _OUTPUT_FIELDS:
        if isinstance(body.get(name), int):
            body[name] = min(body[name], ours) if body[name] > 0 else ours
    return min(ours, max(asked))
