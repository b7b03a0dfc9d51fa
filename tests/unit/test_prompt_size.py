"""
What the agent sends with every question: short enough, and shown whole in the documentation.

Tokens are estimated at four characters each, of JSON as it is sent.
``tests/integration/test_prompt_tokens.py`` counts them with a real tokenizer, which needs less.
"""

import inspect
import json
import pkgutil
from datetime import date
from importlib import import_module
from typing import Any, get_args

from caesarion.agent import prompt, tools
from caesarion.agent.tools.tool import Tool
from caesarion.chat import context
from caesarion.config import Mode
from caesarion.events import RiskClass
from caesarion.kernels.environment import PACKAGES

from tests.hub import REPOSITORY

MOST = 1_500
"""Tokens of the prompt with all tools' definitions."""

PAGE = (REPOSITORY / "docs/agent.md").read_text("utf-8")


def every_tool() -> list[type[Tool[Any]]]:
    """Return the classes of all tools that there are."""
    for module in pkgutil.iter_modules(tools.__path__, f"{tools.__name__}."):
        import_module(module.name)
    found: list[type[Tool[Any]]] = []
    left: list[Any] = [Tool]
    while left:
        for one in left.pop().__subclasses__():
            left.append(one)
            if one.__module__.startswith(tools.__name__) and not inspect.isabstract(one):
                found.append(one)
    return found


def definition(tool: type[Tool[Any]]) -> dict[str, Any]:
    """Return a tool's definition, which its class alone makes."""
    return tool.definition(object.__new__(tool))


def longest_parts() -> list[str]:
    """Return the texts of the longest prompt: of all modes, with most packages."""
    environment = prompt.describe_environment(
        date(2026, 9, 30), "Linux x86_64", dict.fromkeys(("Python", *PACKAGES), "10.10")
    )
    where = context._IN_FRONT.format(path="analysis/rainfall 2026.ipynb")
    message = prompt.system_message(where, environment)
    mode = max(prompt.MODES, key=lambda mode: len(prompt.MODES[mode]))
    system = prompt.with_mode([message], mode)[0]["content"]
    compact = [json.dumps(definition(tool), separators=(",", ":")) for tool in every_tool()]
    return [system, *compact]


def test_the_prompt_with_all_tools_is_short() -> None:
    assert sum(map(len, longest_parts())) / 4 < MOST


def test_all_tools_are_counted() -> None:
    names = {tool.name for tool in every_tool()}
    notebook = {"read_notebook", "edit_cell", "insert_cell", "delete_cell", "move_cell"}
    assert names >= notebook | {"python_interpreter", "get_current_weather"}


def test_the_documentation_shows_the_prompt_whole() -> None:
    assert f"```text\n{prompt.SYSTEM}\n```" in PAGE
    assert prompt.MODES.keys() == set(get_args(Mode))
    for mode, told in prompt.MODES.items():
        assert f"| `{mode}` | {told} |" in PAGE


def test_the_documentation_names_every_tool_as_the_model_is_told_of_it() -> None:
    for tool in every_tool():
        assert f"| `{tool.name}` | {tool.kind} | {tool.description} |" in PAGE


def test_the_documentation_explains_every_class_of_risk() -> None:
    for risk_class in get_args(RiskClass):
        assert f"| {risk_class} |" in PAGE
