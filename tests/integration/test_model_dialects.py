"""The model reads every dialect without a gateway: each fixture over real HTTP, by the SDK."""

from typing import Any

import pytest
from caesarion.agent.answer import Answer
from caesarion.agent.model import Model
from caesarion.agent.model_errors import LOST
from caesarion.config import CaesarionModel
from caesarion.errors import ModelError
from caesarion.events import Reasoning, Refusal, Text, TextWasReasoning, Usage

from tests import dialects
from tests.fakes.raw_provider import RawAnswer, RawProvider

# Cases with a request of their own are of protocols that the extension does not ask for.
CASES = [case for case in dialects.read() if not case.request]
QUESTION = [{"role": "user", "content": "go"}]


class Seen:
    """What came of one question: the pieces as they streamed, the answer, the error."""

    def __init__(self) -> None:
        self.text = self.reasoning = self.refusal = ""
        self.answer: Answer | None = None
        self.error = ""

    async def read(self, url: str) -> None:
        model = Model(CaesarionModel(base_url=url, timeout=10.0, retries=0))
        try:
            async for part in model.stream(QUESTION, []):
                match part:
                    case Text(delta):
                        self.text += delta
                    case Reasoning(delta):
                        self.reasoning += delta
                    case Refusal(delta):
                        self.refusal += delta
                    case TextWasReasoning():
                        self.reasoning, self.text = self.text, ""
                    case Answer():
                        self.answer = part
        except ModelError as error:
            self.error = str(error)
        finally:
            await model.close()


def calls_of(answer: Answer, expected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the calls with what ``expected`` says of each."""
    found = [
        {"id": one.id, "name": one.name, "arguments": one.arguments, "extras": dict(one.fields)}
        for one in answer.calls
    ]
    if len(found) != len(expected):
        return found
    return [
        {name: value for name, value in one.items() if name in wanted}
        for one, wanted in zip(found, expected, strict=True)
    ]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_each_dialect_says_what_its_fixture_expects(case: dialects.Case) -> None:
    seen, expected = Seen(), case.expected
    body = RawAnswer(case.pieces, case.content_type)
    async with RawProvider(lambda _: body) as provider:
        await seen.read(provider.base_url)
    assert seen.text == expected["text"]
    assert seen.reasoning == expected["reasoning"]
    assert seen.refusal == expected["refusal"]
    if expected["failure"]:
        sentences = {
            "garbled": "The model's endpoint sent something that cannot be read",
            "cut": LOST,
            "error": "The model broke off: ",
        }
        assert seen.error.startswith(sentences[expected["failure"]])
        assert expected["error"] in seen.error
        return
    answer = seen.answer
    assert answer is not None, seen.error
    assert (answer.text, answer.reasoning) == (expected["text"], expected["reasoning"])
    assert answer.finish_reason == expected["finish"]
    assert calls_of(answer, expected["calls"]) == expected["calls"]
    assert answer.fields == expected["extras"]
    counted = expected["usage"] or {}
    assert answer.usage == Usage(
        prompt_tokens=counted.get("prompt", 0),
        completion_tokens=counted.get("completion", 0),
        cached_tokens=counted.get("cached", 0),
        reasoning_tokens=counted.get("reasoning", 0),
    )
