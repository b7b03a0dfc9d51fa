"""One response while it passes: when it is settled, and how often."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from caesarion_dialects import Piece
from caesarion_dialects.reader import DONE, encoded
from caesarion_hub.gateway.api.response import CLIENT_CLOSED, MeteredResponse, UnseenTokens
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.store.commands import Reservation, Settlement
from caesarion_hub.gateway.store.write_queue import WriteQueue
from caesarion_hub.gateway.upstream.backend import Response
from caesarion_hub.values.gateway import Gateway

RESERVATION = Reservation("r", 0, "ada", "", (), "m", "", "", 10, 100, None)


class Queue:
    """Keeps what is settled."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []

    def settle(self, settlement: Settlement) -> None:
        self.settled.append(settlement)


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def metered(queue: Queue) -> MeteredResponse:
    return MeteredResponse(RESERVATION, "", cast("WriteQueue", queue), Gateway(), UnseenTokens())


def piece(delta: dict[str, Any], reason: str | None = None, end: bytes = b"") -> Piece:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}
    return Piece(encoded(chunk) + end, [chunk])


def response(*pieces: Piece | GatewayError) -> Response:
    async def content() -> AsyncIterator[Piece]:
        for one in pieces:
            if isinstance(one, GatewayError):
                raise one
            yield one

    return Response(200, {"Content-Type": "text/event-stream"}, content(), "openai")


async def test_an_answer_is_settled_before_its_last_piece_is_sent_and_only_once(
    queue: Queue, metered: MeteredResponse
) -> None:
    said = response(piece({"role": "assistant", "content": "hello"}), piece({}, "stop", DONE))
    settled = [len(queue.settled) async for _ in metered.watch(said).content]
    assert settled == [0, 1]
    metered.abandon("client_gone")  # while the last piece was sent
    assert metered.settle() is queue.settled[0]
    assert len(queue.settled) == 1
    assert (queue.settled[0].status, queue.settled[0].finish_reason) == (200, "stop")


async def test_an_answer_that_breaks_off_is_settled_with_its_error(
    queue: Queue, metered: MeteredResponse
) -> None:
    said = response(
        piece({"role": "assistant", "content": "hel"}),
        GatewayError(502, "upstream_disconnected", "The connection broke."),
    )
    with pytest.raises(GatewayError, match="The connection broke"):
        [one async for one in metered.watch(said).content]
    assert queue.settled == []
    metered.settle()
    assert [(one.status, one.error) for one in queue.settled] == [(502, "upstream_disconnected")]


async def test_an_answer_that_nobody_reads_to_its_end_is_settled_as_abandoned(
    queue: Queue, metered: MeteredResponse
) -> None:
    said = response(piece({"role": "assistant", "content": "hel"}), piece({}, "stop", DONE))
    await anext(metered.watch(said).content)
    metered.abandon("client_gone")
    metered.settle()
    assert [(one.status, one.error) for one in queue.settled] == [(CLIENT_CLOSED, "client_gone")]
