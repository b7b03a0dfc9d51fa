"""A body costs little to refuse, whatever it holds: errors are counted, not time."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from caesarion import bodies as server_bodies
from caesarion import extension as _extension  # imports every body of the extension
from caesarion.agent.tools.ask_user import Question
from caesarion.agent.tools.notebook import ReadArguments
from caesarion.agent.tools.tool import MAX_ARGUMENTS
from caesarion.agent.tools.weather import CurrentWeather
from caesarion.config import CaesarionWeather
from caesarion.errors import ToolError
from caesarion_hub import bodies
from caesarion_hub.api.application import make_application
from caesarion_hub.api.config import Config
from caesarion_hub.api.hub import Caller, Hub
from caesarion_hub.gateway.api import outcomes as _outcomes  # likewise, of the gateway
from pydantic import BaseModel, ValidationError

assert _extension
assert _outcomes

MANY = 2_000
MOST_ERRORS = bodies.MAX_FIELDS + 300
"""Errors that one body may have: some of each field, of the entries of one mapping, no more."""


def below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        yield one
        yield from below(one)


BODIES = sorted(
    {*below(bodies.Bounded), *below(server_bodies.Bounded)},
    key=lambda model: (model.__module__, model.__name__),
)
BODIES += [Question, ReadArguments]


def hostile(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """Yield bodies with many entries in each place that a model has."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    tables: dict[str, list[Any]] = {f"k{number}": [] for number in range(MANY)}
    yield from ({name: [{}] * MANY} for name in names)
    yield from ({name: [tables]} for name in names)
    yield from ({name: tables} for name in names)
    if model not in (Question, ReadArguments):  # whose fields the tool counts
        yield dict.fromkeys(tables)


@pytest.mark.parametrize("model", BODIES, ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_no_body_has_more_than_a_few_errors(model: type[BaseModel]) -> None:
    counts = [errors_of(model, body) for body in hostile(model)]
    assert max(counts) <= MOST_ERRORS
    assert any(counts)


def errors_of(model: type[BaseModel], body: dict[str, Any]) -> int:
    try:
        model.model_validate(body)
    except ValidationError as error:
        return error.error_count()
    return 0


@pytest.mark.parametrize("model", BODIES[:-2], ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_every_text_and_every_list_of_a_body_has_a_bound(model: type[BaseModel]) -> None:
    assert list(unbounded(model.model_json_schema())) == []


def unbounded(schema: Any, path: str = "") -> Iterator[str]:
    """Yield where a JSON schema takes texts or lists of any length."""
    if isinstance(schema, list):
        for place, one in enumerate(schema):
            yield from unbounded(one, f"{path}/{place}")
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "string" and schema.keys().isdisjoint(("enum", "const", "maxLength", "pattern")):
        yield path
    if kind == "array" and "maxItems" not in schema:
        yield path
    for name, inner in schema.items():
        if name not in ("examples", "default", "enum", "required"):
            yield from unbounded(inner, f"{path}/{name}")


def test_a_model_that_calls_a_tool_with_many_arguments_is_told_their_number() -> None:
    arguments = "{" + ",".join(f'"k{number}": 1' for number in range(MANY)) + "}"
    with pytest.raises(ToolError, match=r"called with 2,000 arguments"):
        CurrentWeather(CaesarionWeather()).parse(arguments)
    assert MANY > MAX_ARGUMENTS


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("chat", {"messages": [{}] * MANY}, "body.messages.0.role: Field required"),
        (
            "chat",
            {"messages": [{"role": "user", "content": "hi"}] * 1_001},
            "body.messages: List should have at most 1000 items after validation, not 1001",
        ),
        (
            "sandboxes",
            {"env": {f"k{number}": 1 for number in range(MANY)}},
            "body.env: Object should have at most 256 entries, not 2000",
        ),
        (
            "e2b/v2/sandboxes",
            {"metadata": {f"k{number}": 1 for number in range(MANY)}},
            "metadata: Object should have at most 256 entries, not 2000",
        ),
        (
            "e2b/v2/sandboxes",
            {f"k{number}": 1 for number in range(MANY)},
            ": Object should have at most 100 entries, not 2000",
        ),
    ],
)
async def test_a_call_with_too_much_is_refused_in_one_sentence(
    path: str, body: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ada(*_: Any, **__: Any) -> Caller:
        return Caller("ada", "token", frozenset(), {})

    monkeypatch.setattr(Hub, "caller", ada)
    config = Config("127.0.0.1", 1, "/services/api/", "http://hub", "http://proxy")
    transport = httpx.ASGITransport(make_application(config))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        headers = {"X-API-Key": "token"}
        answer = await client.post(f"/services/api/{path}", json=body, headers=headers)
    said = answer.json()
    message = said["error"]["message"] if "error" in said else said["message"]
    assert (answer.status_code, message) == (400, f"The request is not right: {sentence}.")
