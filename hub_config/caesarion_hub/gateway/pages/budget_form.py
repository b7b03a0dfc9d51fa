"""
Read a budget from the form in which an administrator typed it.

Called by ``budgets``. Pure; what is not a budget is refused in a sentence.
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


def read_budget(form: Mapping[str, str]) -> Budget:
    """
    Return the budget of a form, without limits if it is to be deleted.

    Raises GatewayError if the form holds none.
    """
    scope, window = form.get("scope", ""), form.get("window", "")
    name = read_name(scope, form.get("name", ""), form.get("action", ""))
    if scope not in get_args(Scope) or window not in get_args(Window):
        raise _invalid("Choose a user, a group or everyone, and a window.")
    if scope == "everyone" and name:
        raise _invalid(f"A budget for everyone has no name: delete '{name}'.")
    if len(name) > _LONGEST:
        raise _invalid(f"A name has at most {_LONGEST} characters, and this one has {len(name)}.")
    tokens = nanos = None
    if form.get("action") != "delete":
        tokens, nanos = _tokens(form.get("tokens", "")), _nanos(form.get("dollars", ""))
        if tokens is None and nanos is None:
            raise _invalid("Set a limit in tokens, in dollars, or both.")
    return Budget(cast(Scope, scope), name, cast(Window, window), tokens, nanos)


def read_name(scope: str, entered: str, action: str) -> str:
    """Return the name that a budget is for; JupyterHub has users' names in lower case."""
    name = entered.strip()
    return name.lower() if scope == "user" and action == "add" else name


def result_query(budget: Budget, result: str, entered: str = "") -> str:
    """
    Return the query of the page that shows what was done with a budget.

    ``entered`` is the name as it was typed, which JupyterHub may have in lower case.
    """
    fields = {
        "result": result,
        "scope": budget.scope,
        "name": budget.name,
        "window": budget.window,
    }
    return urlencode(fields | ({"entered": entered} if entered != budget.name else {}))


def _tokens(entered: str) -> int | None:
    text = entered.strip()
    if not text:
        return None
    if not _TOKENS.fullmatch(text):
        raise _invalid(f"'{entered}' is not a whole number of tokens. Write it like 1000 or 1,000.")
    number = Decimal(text.replace(",", ""))
    if number > _MOST_TOKENS:
        raise _invalid(f"'{entered}' is too large: a limit is at most {_MOST_TOKENS:,} tokens.")
    return int(number)


def _nanos(entered: str) -> int | None:
    text = entered.strip().removeprefix("$")
    if not text:
        return None
    match = _DOLLARS.fullmatch(text)
    if not match:
        raise _invalid(f"'{entered}' is not an amount of dollars. Write it like 1.50 or 1,000.50.")
    if len((match[2] or "").rstrip("0")) > 9:
        raise _invalid(f"'{entered}' is too precise: amounts have at most nine decimals.")
    amount = Decimal(text.replace(",", ""))
    if amount >= _MOST_DOLLARS:
        raise _invalid(f"'{entered}' is too large: a limit is below ${_MOST_DOLLARS:,}.")
    return int(amount * NANOS)


def _invalid(message: str) -> GatewayError:
    return GatewayError(400, "invalid_budget", message)
