"""
A budget from a form, as an administrator types it.

Called by ``budgeting``. Pure; what is no budget is refused in a sentence.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import cast, get_args
from urllib.parse import urlencode

from caesarion_hub.gateway.budgets import Budget
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.usage import NANOS
from caesarion_hub.gateway_values import Scope, Window

_MOST_TOKENS = 2**53
_MOST_DOLLARS = 10**9


def budget(form: Mapping[str, str]) -> Budget:
    """
    Return the budget that a form says; one that is to be deleted limits nothing.

    Raises GatewayError if it says none.
    """
    scope, window = form.get("scope", ""), form.get("window", "")
    name = form.get("name", "").strip()
    if scope not in get_args(Scope) or window not in get_args(Window):
        raise _unusable("A budget is for a user, a group or everyone, and for a window.")
    if scope == "everyone" and name:
        raise _unusable(f"The budget of everyone has no name, and '{name}' is one.")
    tokens = nanos = None
    if form.get("deed") != "delete":
        tokens, nanos = _tokens(form.get("tokens", "")), _nanos(form.get("dollars", ""))
        if tokens is None and nanos is None:
            raise _unusable("A budget limits tokens or dollars: one of them must be there.")
    return Budget(cast(Scope, scope), name[:255], cast(Window, window), tokens, nanos)


def query(of: Budget, deed: str) -> str:
    """Return the query of the page that says what was done with a budget."""
    done = {"add": "added", "delete": "deleted"}.get(deed, "saved")
    asked = {"done": done, "scope": of.scope, "name": of.name, "window": of.window}
    return urlencode(asked)


def _tokens(said: str) -> int | None:
    text = said.strip().replace(",", "").replace(" ", "")
    if not text:
        return None
    if not text.isdecimal() or int(text) > _MOST_TOKENS:
        raise _unusable(f"'{said}' is no whole number of tokens.")
    return int(text)


def _nanos(said: str) -> int | None:
    text = said.strip().removeprefix("$").replace(",", "")
    if not text:
        return None
    try:
        money = Decimal(text)
        usable = money.is_finite() and 0 <= money < _MOST_DOLLARS
    except InvalidOperation:
        usable = False
    if not usable:
        raise _unusable(f"'{said}' is no amount of dollars.")
    return int(money * NANOS)


def _unusable(message: str) -> GatewayError:
    return GatewayError(400, "invalid_budget", message)
