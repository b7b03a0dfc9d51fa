"""
One response, from its reservation to its settlement.

Called by ``metering``. However an answer ends (complete, failed, cancelled by the client or by
a signal), what it used is settled once. A tool call is in the audit before the end of the
answer that asks for it is sent: the audit is written from the very chunks that the client gets.
"""

import contextlib
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Self

from caesarion_dialects import Assembler, Call, Piece
from caesarion_dialects import Usage as Counted
from caesarion_dialects.reader import DONE
from caesarion_dialects.usage import tokens_of

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.prices import Usage, cost
from caesarion_hub.gateway.store.commands import (
    AuditEntry,
    Called,
    Reservation,
    Settlement,
    milliseconds,
    plain,
)
from caesarion_hub.gateway.store.write_queue import WriteQueue
from caesarion_hub.gateway.upstream.backend import Response
from caesarion_hub.values.gateway import Gateway

CLIENT_CLOSED = 499
"""The status in the ledger of a request whose client disconnected, as nginx has it."""

TOKENS_PER_SECOND = 100
"""
Tokens that a model is taken to generate unseen in a second; a made-up number.

It bounds what is charged for reasoning that is not shown when a client disconnects early.
"""

MAX_MODELS = 1000
"""Models whose unseen tokens are remembered; a made-up number."""


class UnseenTokens:
    """
    How many tokens the models generate beside those that they send, as last counted.

    Providers that hide a model's reasoning count it at the end. A client that disconnects
    before pays for it by this estimate, since the provider charges for it, too.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, int] = OrderedDict()

    def note(self, model: str, counted: Counted, sent: int) -> None:
        """Learn from a whole answer, of which ``sent`` tokens were sent by our own count."""
        self._known[model] = max(0, counted.completion - sent)
        self._known.move_to_end(model)
        if len(self._known) > MAX_MODELS:
            self._known.popitem(last=False)

    def estimate(self, model: str, seconds: float) -> int:
        """Return how many tokens ``model`` has generated unseen after so many seconds."""
        return min(self._known.get(model, 0), int(seconds * TOKENS_PER_SECOND))


class MeteredResponse:
    """
    Records the tool calls of one response, and counts its tokens, while it passes.

    It is the iterator over the response's content. The response is settled before its last
    piece is sent, so that whoever has read all of it may ask again.
    """

    _content: AsyncIterator[Piece]

    def __init__(
        self,
        reservation: Reservation,
        receipt_sha256: str,
        write_queue: WriteQueue,
        values: Gateway,
        unseen: UnseenTokens,
    ) -> None:
        self.reservation = reservation
        self._receipt_sha256 = receipt_sha256
        self._write_queue = write_queue
        self._values = values
        self._unseen = unseen
        self._began = time.monotonic()
        self._first_ms: int | None = None
        self._status = 0
        self._error = ""
        self._upstream = ""
        # Whether the model may have got the request, so that its tokens are charged.
        self._is_sent = True
        self._assembler = Assembler()
        self._counted: Counted | None = None
        self._recorded = 0
        self._settlement: Settlement | None = None

    def watch(self, response: Response) -> Response:
        """Return ``response``, whose content is metered while it passes."""
        self._status, self._upstream = response.status, response.upstream
        self._content = response.content
        return replace(response, content=self)

    def fail(self, error: GatewayError) -> None:
        """Note that the request failed before its answer began."""
        self._status, self._error, self._is_sent = error.status, error.code, False

    def abandon(self, why: str) -> None:
        """Note that nobody reads the answer any longer."""
        self._status, self._error = CLIENT_CLOSED, why

    def settle(self) -> Settlement:
        """Settle what was used, once, and return the settlement."""
        if self._settlement is None:
            self._settlement = self._settled()
            self._write_queue.settle(self._settlement)
        return self._settlement

    def _settled(self) -> Settlement:
        calls = self._calls()
        if len(calls) > self._recorded:
            self._write_queue.append_audit_later(self._entries())
        used = self._usage()
        reasons = (answer.finish_reason for answer in self._assembler.answers())
        return Settlement(
            self.reservation,
            milliseconds(),
            prompt_tokens=used.prompt,
            completion_tokens=used.completion,
            cached_tokens=used.cached,
            estimated=used.estimated,
            nanos=cost(used, self._values.prices.get(self.reservation.model)),
            first_ms=self._first_ms,
            status=self._status or CLIENT_CLOSED,
            error=self._error,
            finish_reason=plain(next(reasons, ""), 64),
            upstream=plain(self._upstream),
            calls=tuple(Called(call.id, call.name) for call in calls),
        )

    def _calls(self) -> list[Call]:
        return [call for answer in self._assembler.answers() for call in answer.calls]

    def _usage(self) -> Usage:
        """Return what the provider has counted, or an estimate of what it has generated."""
        counted, model = self._counted, self.reservation.model
        is_whole = self._assembler.is_complete
        if counted and counted.prompt and is_whole:
            self._unseen.note(model, counted, self._sent())
            return Usage(counted.prompt, counted.completion, counted.cached)
        if not self._is_sent:
            return Usage(0, 0)
        # Of an answer that broke off, a running count may be older than its last words.
        counted = counted or Counted(self.reservation.prompt_tokens)
        sent = self._sent()
        if not is_whole:
            sent += self._unseen.estimate(model, time.monotonic() - self._began)
        prompt = counted.prompt or self.reservation.prompt_tokens
        return Usage(prompt, max(counted.completion, sent), counted.cached, estimated=True)

    def _sent(self) -> int:
        """Return how many tokens were sent: texts, reasoning, names and arguments of calls."""
        return max(tokens_of(self._assembler.size()), self._assembler.deltas)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        try:
            piece = await anext(self._content)
        except GatewayError as error:
            self._error, self._status = error.code, error.status
            raise
        assembler = self._assembler
        for chunk in piece.chunks:
            assembler.add(chunk)
        self._counted = piece.usage or self._counted
        if self._first_ms is None and assembler.deltas:
            self._first_ms = int((time.monotonic() - self._began) * 1000)
        if assembler.is_complete and len(self._calls()) > self._recorded:
            await self._record()
        if piece.data.endswith(DONE):
            self.settle()
        return piece

    async def _record(self) -> None:
        entries = self._entries()
        await self._write_queue.append_audit(entries)
        self._recorded += len(entries)

    def _entries(self) -> list[AuditEntry]:
        text, is_complete = self._values.audit.text, self._assembler.is_complete
        return [
            call_entry(call, self.reservation, self._receipt_sha256, is_complete, text)
            for call in self._calls()[self._recorded :]
        ]


def call_entry(
    call: Call, reservation: Reservation, receipt_sha256: str, complete: bool, text: bool
) -> AuditEntry:
    """
    Return the audit's entry for a tool call; its outcome must name the receipt of that hash.

    The call is ``complete`` unless its answer was cut off; ``text`` keeps the code, not
    only its hash.
    """
    code = _code(call.arguments)
    fields = {
        "server": reservation.server,
        "request": reservation.id,
        "receipt_sha256": receipt_sha256,
        "message": reservation.message,
        "model": reservation.model,
        "tool": plain(call.name),
        "complete": complete,
        "sha256": hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest(),
        **({"text": code} if text else {}),
    }
    return AuditEntry("call", reservation.user, reservation.conversation, call.id, fields)


def _code(arguments: str) -> str:
    """Return the code that a call wants to run; all its arguments if there is none."""
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(arguments)
        if isinstance(said, dict) and isinstance(said.get("code"), str):
            return str(said["code"])
    return arguments
