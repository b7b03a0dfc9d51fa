"""
What a caller may ask, whatever is left of the budgets: models, lengths, choices. Pure.

Called by ``api.metering``. A caller in several groups has the most generous of each limit.
The length of an answer is limited here and nowhere else: ``upstream`` only spells the field
in the way that a model takes it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.fields import OUTPUT_FIELDS
from caesarion_hub.gateway.policy.prices import Usage
from caesarion_hub.values.gateway import Gateway, Limits, Reservations

DEFAULT = "default"
"""Alias for the caller's default model."""

MAX_CHOICES = 8
"""Answers to one request (its field ``n``) where no limit says otherwise; a made-up number."""


@dataclass(frozen=True)
class CallerLimits:
    """The limits of one caller; None for no limit."""

    models: frozenset[str] | None
    default_model: str
    max_output_tokens: int | None
    max_choices: int
    requests_per_minute: int | None
    concurrent_streams: int | None


def caller_limits(values: Gateway, groups: Iterable[str]) -> CallerLimits:
    """Return the limits of a caller in ``groups``."""
    mine = [values.groups[group] for group in values.groups if group in set(groups)]
    lists = _each(mine, values.limits, lambda limits: limits.models)
    models = frozenset(name for names in lists for name in names) if None not in lists else None
    defaults = [limits.default_model for limits in (*mine, values.limits) if limits.default_model]
    return CallerLimits(
        models=models,
        default_model=defaults[0] if defaults else values.model,
        max_output_tokens=_most(_each(mine, values.limits, lambda one: one.max_output_tokens)),
        max_choices=_most(_each(mine, values.limits, lambda one: one.max_choices)) or MAX_CHOICES,
        requests_per_minute=_most(_each(mine, values.limits, lambda one: one.requests_per_minute)),
        concurrent_streams=_most(_each(mine, values.limits, lambda one: one.concurrent_streams)),
    )


def _each(mine: list[Limits], others: Limits, field: Callable[[Limits], Any]) -> list[Any]:
    """Return a field of each group; where a group leaves it open, the one for everybody."""
    everybodys = field(others)
    return [everybodys if field(limits) is None else field(limits) for limits in mine or [others]]


def _most(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return max(known) if len(known) == len(numbers) else None


def model_for(asked: str, limits: CallerLimits, values: Gateway) -> str:
    """
    Return the model that ``asked`` means; raise GatewayError if this caller may not use it.

    Every chat asks for the deployment's model; a caller who may not use that gets the
    default model of their own limits.
    """
    asked = _as_spelled(asked, values)
    default = values.aliases.get(limits.default_model, limits.default_model)
    name = default if asked == DEFAULT else values.aliases.get(asked, asked)
    if limits.models is None:
        return name
    allowed = {values.aliases.get(model, model) for model in limits.models}
    if name not in allowed and asked == values.model:
        name = default
    if name in allowed:
        return name
    choice = ", ".join(sorted(limits.models))
    raise GatewayError(
        403,
        "model_not_allowed",
        f"The model '{asked[:80]}' is not for you. "
        + (f"The models are: {choice}." if choice else "There is no model for you."),
        headers={"X-Should-Retry": "false"},
    )


def _as_spelled(asked: str, values: Gateway) -> str:
    """
    Return the name of a model as the values spell it.

    Many providers ignore the case of a name and blanks around it: another spelling would have
    no price, and count towards no budget.
    """
    known = (DEFAULT, values.model, *values.aliases, *values.prices)
    if asked in known:
        return asked
    folded = _folded(asked)
    return next((name for name in known if _folded(name) == folded), asked)


def _folded(name: str) -> str:
    return "".join(char for char in name if char.isprintable() and char != " ").casefold()


def limit_output(body: dict[str, Any], limits: CallerLimits) -> int | None:
    """
    Bound the answer that ``body`` asks for; return its most tokens, None for no bound.

    Of several bounds the lowest holds, and all fields that are there say it.
    """
    asked = [name for name in OUTPUT_FIELDS if body.get(name) is not None]
    bounds: list[int] = [body[name] for name in asked]
    if limits.max_output_tokens is not None:
        bounds.append(limits.max_output_tokens)
    if not bounds:
        return None
    lowest = min(bounds)
    body.update(dict.fromkeys(asked or OUTPUT_FIELDS[:1], lowest))
    return lowest


def choices(body: dict[str, Any], limits: CallerLimits) -> int:
    """Return how many answers ``body`` asks for; raise GatewayError if they are too many."""
    number: int = body.get("n") or 1
    if number > limits.max_choices:
        raise GatewayError(
            400,
            "too_many_choices",
            f"The request asks for {number} answers at once ('n'); your limit is "
            f"{limits.max_choices}.",
        )
    return number


def fair_reservation(values: Reservations) -> Usage:
    """Return what a usual question and its answer reserve."""
    return Usage(values.output, values.output)


def reservation(
    model: str, prompt: int, output: int | None, choices: int, values: Reservations
) -> Usage:
    """Return what to reserve for a question of ``prompt`` tokens and so many answers to it."""
    longest = next(
        (
            tokens
            for name, tokens in values.longest_answers.items()
            if name == model or fnmatchcase(model, name)
        ),
        values.max,
    )
    answers = min(output or values.output, longest) * choices
    prompt = min(prompt, values.max)
    return Usage(prompt, min(answers, values.max - prompt))
