"""
The top-level fields of a chat completion request: which are known, and of which type. Pure.

Called by ``api.completions``, ``api.metering``, ``policy.limits`` and ``upstream.router``.
Invariant: no field goes to a provider that was not checked here. Providers read what we do not:
another model in ``models``, a longer answer in ``n_predict``, a dearer one in ``service_tier``,
and some read ``Model`` as ``model``. Fields of
https://platform.openai.com/docs/api-reference/chat/create that cost more or keep what was asked
(``service_tier``, ``store``, ``web_search_options``, ``audio``) are for the operator to add.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from caesarion_hub.gateway.errors import GatewayError

MAX_TOKENS = 2**31 - 1
"""The largest number of tokens that a request may name; no model has as many."""

MAX_NAME = 256
"""
Characters of a model's name; a made-up number.

A name is compared with every known one and its patterns: of any length it would keep the event
loop from everybody's requests.
"""

OUTPUT_FIELDS = (
    *("max_tokens", "max_completion_tokens"),  # OpenAI's, the older and the newer one
    *("max_output_tokens", "max_new_tokens", "n_predict", "num_predict"),  # other servers'
)
"""The fields that bound the length of an answer. All but the first two need the operator."""

_Check = tuple[Callable[[Any], bool], str]


def _one_of(*types: type) -> Callable[[Any], bool]:
    # Exactly the type: to isinstance, true and false are integers.
    return lambda value: type(value) in types


_TEXT: _Check = (_one_of(str), "a text")
_FLAG: _Check = (_one_of(bool), "true or false")
_NUMBER: _Check = (_one_of(int, float), "a number")
_INTEGER: _Check = (_one_of(int), "a whole number")
_LIST: _Check = (_one_of(list), "a list")
_TABLE: _Check = (_one_of(dict), "an object")
_TEXT_OR_LIST: _Check = (_one_of(str, list), "a text or a list")
_TEXT_OR_TABLE: _Check = (_one_of(str, dict), "a text or an object")
_TOKENS: _Check = (
    lambda value: type(value) is int and 1 <= value <= MAX_TOKENS,
    f"a whole number from 1 to {MAX_TOKENS}",
)
_CHOICES: _Check = (
    lambda value: type(value) is int and 1 <= value <= 128,
    "a whole number from 1 to 128",
)

_KNOWN: Mapping[str, _Check] = {
    "model": (
        lambda value: type(value) is str and 1 <= len(value) <= MAX_NAME,
        f"a name of at most {MAX_NAME} characters, as v1/models lists it",
    ),
    "messages": (
        lambda value: (
            type(value) is list and value != [] and all(type(one) is dict for one in value)
        ),
        "a list of objects",
    ),
    "tools": _LIST,
    "tool_choice": _TEXT_OR_TABLE,
    "parallel_tool_calls": _FLAG,
    "functions": _LIST,
    "function_call": _TEXT_OR_TABLE,
    "max_tokens": _TOKENS,
    "max_completion_tokens": _TOKENS,
    "n": _CHOICES,
    "stream": _FLAG,
    "stream_options": _TABLE,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "logit_bias": _TABLE,
    "logprobs": _FLAG,
    "top_logprobs": _INTEGER,
    "seed": _INTEGER,
    "stop": _TEXT_OR_LIST,
    "response_format": _TABLE,
    "reasoning_effort": _TEXT,
    "verbosity": _TEXT,
    "prediction": _TABLE,
    "user": _TEXT,
    "prompt_cache_key": _TEXT,
    "safety_identifier": _TEXT,
}
_NEEDED = ("model", "messages")


def check_types(body: Mapping[str, Any]) -> None:
    """Raise GatewayError for the first known field of ``body`` that is not of its type."""
    for name in _NEEDED:
        if body.get(name) is None:
            raise _bad_request(f"The request has no '{name}': it must be {_KNOWN[name][1]}.")
    for name, value in body.items():
        fits, kind = _KNOWN.get(name) or _extra(name)
        # To OpenAI's API a null is a field that is not there.
        if value is not None and not fits(value):
            raise _bad_request(f"'{name}' is {_shown(value)}; it must be {kind}.")


def only_allowed(body: dict[str, Any], extra: Collection[str], *, drop: bool) -> dict[str, Any]:
    """
    Return ``body`` if all of its fields are known, or among the ``extra`` ones.

    Otherwise return it without the others if ``drop`` is set, or raise GatewayError.
    """
    known = {name: value for name, value in body.items() if name in _KNOWN or name in extra}
    if len(known) == len(body):
        return body
    if drop:
        return known
    name = next(name for name in body if name not in known)
    meant = name.lower()
    remedy = (
        f"Did you mean '{meant}'?"
        if meant in _KNOWN
        else "Leave it out, or ask the operator to add it to gateway.requests.extraFields."
    )
    raise _bad_request(f"This gateway does not pass on the field '{name[:80]}'. {remedy}")


def _extra(name: str) -> _Check:
    return _TOKENS if name in OUTPUT_FIELDS else (lambda _: True, "")


def _shown(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            text = repr(value)
            return text if len(text) <= 40 else f"{text[:40]}..."
        case str() if len(value) > MAX_NAME:
            return f"a text of {len(value)} characters"
        case str():
            return "a text" if value else "an empty text"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return "an object"


def _bad_request(message: str) -> GatewayError:
    return GatewayError(400, "invalid_request", message)
