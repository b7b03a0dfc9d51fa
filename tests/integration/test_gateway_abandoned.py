"""
Answers whose client disconnects early, behind a real gateway: what is charged, and recorded.

The provider charges for what it has generated, so the user pays for that, and not only for
the words that were shown.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import dialects
from tests.dialects import HEAD
from tests.fakes.bare_hub import BareHub, bare_hub
from tests.fakes.raw_provider import RawAnswer, RawProvider
from tests.gateways import COUNTED, SCOPE, Gateways, ask, session

DONE = b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add_user("ada")
        yield hub


@pytest.fixture(scope="module")
def ada(hub: BareHub) -> str:
    return hub.make_token("ada", [SCOPE])


def chunk(delta: Any, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return dialects.event({**HEAD, "choices": [choice], **more})


def counted(completion: int) -> dict[str, Any]:
    usage = {"prompt_tokens": 40, "completion_tokens": completion}
    return {**usage, "total_tokens": 40 + completion}


async def charge(
    hub: BareHub, token: str, folder: Path, answers: Sequence[RawAnswer]
) -> tuple[Any, list[dict[str, Any]]]:
    """Read all answers but the last, and of that the beginning; return its row and the audit."""
    replies = iter(answers)
    async with RawProvider(lambda _: next(replies)) as provider:
        gateways = Gateways(hub, provider, folder)
        with gateways.running(audit={"text": True}) as gateway:
            async with session(gateway, token) as http:
                for _ in answers[1:]:
                    assert (await ask(http))[0] == 200
                async with http.post("v1/chat/completions", json=COUNTED) as answer:
                    while b"last" not in await answer.content.readline():
                        pass
            rows = await gateways.settled(len(answers))
        return rows[-1], gateways.records()


async def test_reasoning_and_arguments_are_charged_though_no_word_was_shown(
    hub: BareHub, ada: str, tmp_path: Path
) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "python", "arguments": ""}}
    pieces = [
        chunk({"role": "assistant", "reasoning_content": "x" * 300}),
        chunk({"tool_calls": [{"index": 0, **call}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"code": "last'}}]}),
    ]
    row, (record,) = await charge(hub, ada, tmp_path, [RawAnswer(pieces, stays_open=True)])
    assert (row.status, row.error, row.calls) == (499, "client_gone", 1)
    assert (row.estimated, row.completion_tokens) == (True, 107)
    assert (record["complete"], record["text"]) == (False, '{"code": "last')


async def test_what_the_provider_has_counted_so_far_is_charged(
    hub: BareHub, ada: str, tmp_path: Path
) -> None:
    pieces = [chunk({"role": "assistant", "content": "last"}, usage=counted(500))]
    row, _ = await charge(hub, ada, tmp_path, [RawAnswer(pieces, stays_open=True)])
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (40, 500, True)


async def test_reasoning_that_is_not_shown_is_charged_as_in_the_answer_before(
    hub: BareHub, ada: str, tmp_path: Path
) -> None:
    word = chunk({"role": "assistant", "content": "last"})
    whole = [word, dialects.event({**HEAD, "choices": [], "usage": counted(1000)}), DONE]
    comments = [b": thinking\n\n"] * 5
    answers = [
        RawAnswer(whole),
        RawAnswer([*comments, word], pause=0.1, stays_open=True),
    ]
    row, _ = await charge(hub, ada, tmp_path, answers)
    # Half a second of thinking at least; the word itself is two tokens.
    assert 50 <= row.completion_tokens <= 1000
    assert row.estimated
