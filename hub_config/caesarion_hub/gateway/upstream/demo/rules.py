"""
The demo model's rules: from a question and its results to the next reply. Pure.

Called by ``model``. Each rule is a function that returns None if it does not apply; the first
one that applies answers.
"""

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

from caesarion_hub.gateway.upstream.demo.chart import chart_code
from caesarion_hub.gateway.upstream.demo.chunks import Call, Reply
from caesarion_hub.gateway.upstream.demo.files import look
from caesarion_hub.gateway.upstream.demo.notebook import add, explain, fix
from caesarion_hub.gateway.upstream.demo.plan import go_ahead, plan
from caesarion_hub.gateway.upstream.demo.plot import expression_of, plot_code
from caesarion_hub.gateway.upstream.demo.results import sentence, weather_sentence
from caesarion_hub.gateway.upstream.demo.turn import Turn

PYTHON = "python_interpreter"
WEATHER = "get_current_weather"

INTRODUCTION = (
    "I am Caesarion's demo model: a few rules, not an LLM. For a real one, set OPENAI_API_KEY or "
    "OPENAI_BASE_URL before `make up`."
)
ABILITIES = (
    "I can run Python (`run 6 * 7`, or a fenced python block), plot an expression (`plot a sine "
    "wave`) or an attached table (`plot sales by month`), show a value (`print x+1`), compute "
    "`factorial of 20`, tell the `weather in Oslo`, and look at your files (`what files do I "
    "have`) and variables. In a notebook I can fix a simple error (`fix the selected cell`), "
    "explain it, `add a cell that prints x`, and plan an analysis of an attached table (`plan an "
    "analysis`). Anything else is beyond my rules."
)
BLIND = "I do not see images."
PLOTS = "I can plot `a sine wave`, `cos(x)`, `sin(x)*x`, `x**2` and other expressions of x."
LARGEST_FACTORIAL = 1000
LONGEST_QUESTION = 8192

Rule = Callable[[Turn], Reply | None]

_POLITE = r"(?:(?:please|now|then|and|ok(?:ay)?|(?:can|could|would|will) you)[,\s]+)*"
_FENCE = re.compile(r"```[ \t]*(?:python3?|py|ipython)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_RUN = re.compile(
    rf"{_POLITE}(?:run|execute)\b[:\s]*"
    r"(?:(?:this|the following)(?:\s+(?:python\s+)?code)?\s*:)?(.+)",
    re.DOTALL | re.IGNORECASE,
)
_PLOT = re.compile(rf"{_POLITE}(?:plot|draw|graph)\b[:\s]*(.*)", re.DOTALL | re.IGNORECASE)
_VALUE = re.compile(
    rf"{_POLITE}(?P<verb>print|show|display|what\s+is|what's|whats|what\s+are|compute|calculate"
    r"|evaluate|tell\s+me|give\s+me)?\s*(?:me\s+)?(?P<value>(?:the\s+)?value\s+of\s+)?(?P<rest>.+)",
    re.DOTALL | re.IGNORECASE,
)
_FACTORIAL = re.compile(r"\bfactorial\s+of\s+(\d+)\b|\b(\d+)\s+factorial\b", re.IGNORECASE)
_FILES = re.compile(r"\b(?:what|which|list|show|see|any|my)\b[^`()=]*\bfiles\b", re.IGNORECASE)
_VARIABLES = re.compile(r"\b(?:what|which|list|show|any|my)\b[^`()=]*\bvariables\b", re.IGNORECASE)
_COORDINATES = re.compile(r"(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)")
_PLACE = re.compile(r"\bweather\b.*?\b(?:in|at|for|of)\s+(.+)", re.IGNORECASE | re.DOTALL)
_TRAILING = re.compile(
    r"(?:[\s,]+(?:like|today|now|right now|currently|please|at the moment))*[\s.?!]*$",
    re.IGNORECASE,
)


def answer(turn: Turn) -> Reply:
    """Return the next reply; the first one of a conversation introduces the demo model."""
    reply = next(reply for rule in RULES if (reply := rule(turn)) is not None)
    if turn.is_first:
        reply = replace(reply, text=f"{INTRODUCTION} {reply.text}")
    for call in reply.calls:
        if not turn.offers(call.name, *call.arguments):
            return replace(reply, text=_without(call, turn), calls=())
    return reply


def too_long(turn: Turn) -> Reply | None:
    """Refuse a question that is too long for the regular expressions."""
    if len(turn.question) <= LONGEST_QUESTION:
        return None
    return Reply(f"My rules read at most {LONGEST_QUESTION:,} characters of a question.")


def fenced(turn: Turn) -> Reply | None:
    """Run a fenced block."""
    block = _FENCE.search(turn.question)
    return _run(turn, block[1].strip("\n")) if block and block[1].strip() else None


def run(turn: Turn) -> Reply | None:
    """Run the code behind the word "run"."""
    asked = _RUN.fullmatch(turn.question.strip())
    return _run(turn, asked[1].strip().strip("`")) if asked else None


def weather(turn: Turn) -> Reply | None:
    """Get the weather of a place or of coordinates."""
    if not re.search(r"\bweather\b", turn.question, re.IGNORECASE):
        return None
    if turn.results:
        return Reply(weather_sentence(turn.results[-1]))
    named = _PLACE.search(turn.question)
    if not named:
        return Reply("Tell me where: `weather in Oslo`.")
    place = _TRAILING.sub("", named[1]).strip("\"'` ")
    if at := _COORDINATES.fullmatch(place):
        where = {"latitude": float(at[1]), "longitude": float(at[2])}
        return Reply("I ask the weather service.", (Call(WEATHER, where),))
    return Reply("I ask the weather service.", (Call(WEATHER, {"place": place}),))


def factorial(turn: Turn) -> Reply | None:
    """Compute a factorial in Python."""
    asked = _FACTORIAL.search(turn.question)
    if not asked:
        return None
    number = asked[1] or asked[2]
    if len(number) > 4 or int(number) > LARGEST_FACTORIAL:
        return Reply(f"I compute factorials up to {LARGEST_FACTORIAL} only.")
    return _run(turn, f"import math\n\nprint(math.factorial({int(number)}))")


def chart(turn: Turn) -> Reply | None:
    """Plot a column of an attached table by another, or by time."""
    asked = _PLOT.fullmatch(turn.question.strip())
    code = chart_code(asked[1], turn.files) if asked else None
    return _run(turn, code) if code else None


def plot(turn: Turn) -> Reply | None:
    """Plot an expression of x."""
    asked = _PLOT.fullmatch(turn.question.strip())
    if not asked:
        return None
    expression = expression_of(_TRAILING.sub("", asked[1]))
    return _run(turn, plot_code(expression)) if expression else Reply(PLOTS)


def files(turn: Turn) -> Reply | None:
    """List the files, inspect and preview the first that holds data."""
    return look(turn.results) if _FILES.search(turn.question) else None


def variables(turn: Turn) -> Reply | None:
    """List the variables, as IPython does."""
    return _run(turn, "%whos") if _VARIABLES.search(turn.question) else None


def value(turn: Turn) -> Reply | None:
    """Show the value of an expression."""
    asked = _VALUE.fullmatch(_TRAILING.sub("", turn.question.strip()))
    if not asked or not (asked["verb"] or asked["value"]):
        return None
    expression = asked["rest"].strip().strip("`").strip()
    if (asked["verb"] or "").lower() != "print":
        return _run(turn, expression) if _parsed(expression) else None
    written = f"print{expression}"
    if expression.startswith("(") and _is_print(_parsed(written)):
        return _run(turn, written)
    return _run(turn, f"print({expression})") if _parsed(f"print({expression})") else None


def attached(turn: Turn) -> Reply | None:
    """Repeat the digests of the attached files, which it does not read."""
    if turn.results or not turn.attached:
        return None
    told = [
        f"I am told of `{PurePosixPath(path).name}`: {_begins(known)}"
        for path, known in turn.attached
    ]
    return Reply(" ".join([*told, *([BLIND] if turn.images else []), ABILITIES]))


def abilities(turn: Turn) -> Reply:
    """Say what the demo model can do."""
    return Reply(sentence(turn.results[-1]) if turn.results else ABILITIES)


RULES: tuple[Rule, ...] = (
    *(
        too_long,
        fix,
        explain,
        add,
        go_ahead,
        plan,
        fenced,
        run,
        weather,
        factorial,
        chart,
        plot,
        files,
        variables,
        value,
    ),
    *(attached, abilities),
)


def _begins(known: tuple[str, ...]) -> str:
    return f"{known[0].removesuffix(' It begins:').rstrip('.:')}." if known else "nothing more."


def _run(turn: Turn, code: str) -> Reply:
    if turn.results:
        return Reply(sentence(turn.results[-1]))
    return Reply("I run this in Python.", (Call(PYTHON, {"code": code}),))


def _parsed(expression: str) -> ast.expr | None:
    try:
        return ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_print(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def _without(call: Call, turn: Turn) -> str:
    if turn.offers(call.name):
        names = ", ".join(sorted(turn.tools[call.name]))
        return f"I would call {call.name} with {', '.join(call.arguments)}; it takes {names} only."
    return f"I would call {call.name} for this, but it is not among the tools of this request."
