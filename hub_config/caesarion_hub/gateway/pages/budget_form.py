"""
A budget from a form, as an administrator types it.

Called by ``budgeting``. Pure; what is no budget is refused in a sentence.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import cast, get_args
from urllib.parse import urlencode

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.budgets import Budget
from caesarion_hub.gateway.policy.prices import NANOS
from caesarion_hub.values.gateway import Scope, Window

_MOST_TOKENS = 2**53
_MOST_DOLLARS = 10**9
_LONGEST = 255  # characters of a name, as in the hub

_WHOLE = r"\d+|\d{1,3}(?:,\d{3})+"
_TOKENS = re.compile(_WHOLE, re.ASCII)
_DOLLARS = re.compile(rf"(?=\.?\d)({_WHOLE}|)(?:\.(\d*))?", re.ASCII)


def budget(form: Mapping[str, str]) -> Budget:
    """
    Return the budget that a form says; one that is to be deleted limits nothing.

    Raises GatewayError if it says none.
    """
    scope, window = form.get("scope", ""), form.get("window", "")
    name = name_of(scope, form.get("name", ""), form.get("deed", ""))
    if scope not in get_args(Scope) or window not in get_args(Window):
        raise _unusable("A budget is for a user, a group or everyone, and for a window.")
    if scope == "everyone" and name:
        raise _unusable(f"The budget of everyone has no name, and '{name}' is one.")
    if len(name) > _LONGEST:
        raise _unusable(f"A name has at most {_LONGEST} characters, and this one has {len(name)}.")
    tokens = nanos = None
    if form.get("deed") != "delete":
        tokens, nanos = _tokens(form.get("tokens", "")), _nanos(form.get("dollars", ""))
        if tokens is None and nanos is None:
            raise _unusable("A budget limits tokens or dollars: one of them must be there.")
    return Budget(cast(Scope, scope), name, cast(Window, window), tokens, nanos)


def name_of(scope: str, typed: str, deed: str) -> str:
    """Return whose a budget is; users' names are new ones' as the hub has them."""
    name = typed.strip()
    return name.lower() if scope == "user" and deed == "add" else name


def query(of: Budget, done: str, typed: str = "") -> str:
    """
    Return the query of the page that says what was done with a budget.

    ``typed`` is the name as it was typed, where the hub has another one.
    """
    asked = {"done": done, "scope": of.scope, "name": of.name, "window": of.window}
    return urlencode(asked | ({"typed": typed} if typed != of.name else {}))


def _tokens(said: str) -> int | None:
    text = said.strip()
    if not text:
        return None
    if not _TOKENS.fullmatch(text):
        raise _unusable(f"'{said}' is no whole number of tokens. Write it like 1000 or 1,000.")
    number = Decimal(text.replace(",", ""))
    if number > _MOST_TOKENS:
        raise _unusable(f"'{said}' is too large: at most {_MOST_TOKENS:,} tokens can be a limit.")
    return int(number)


def _nanos(said: str) -> int | None:
    text = said.strip().removeprefix("$")
    if not text:
        return None
    match = _DOLLARS.fullmatch(text)
    if not match:
        raise _unusable(f"'{said}' is no amount of dollars. Write it like 1.50 or 1,000.50.")
    if len((match[2] or "").rstrip("0")) > 9:
        raise _unusable(f"'{said}' is too fine: a billionth of a dollar is the least, 0.000000001.")
    money = Decimal(text.replace(",", ""))
    if money >= _MOST_DOLLARS:
        raise _unusable(f"'{said}' is too large: a limit is below ${_MOST_DOLLARS:,}.")
    return int(money * NANOS)


def _unusable(message: str) -> GatewayError:
    return GatewayError(400, "invalid_budget", message)
