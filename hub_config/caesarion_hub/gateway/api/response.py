"""
One answer under way, from its reservation to its settlement.

Called by ``meter``. Whatever ends an answer, what was used is handed in once; a
tool call is in the audit before the end of the answer that asks for it goes on.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.prices import Usage, cost
from caesarion_hub.gateway.store.commands import (
    AuditEntry,
    Reservation,
    Settlement,
    milliseconds,
    plain,
)
from caesarion_hub.gateway.store.write_queue import WriteQueue
from caesarion_hub.gateway.upstream.backend import Answer
from caesarion_hub.gateway.upstream.stream_reader import Call, Tap
from caesarion_hub.values.gateway import Gateway

GONE = 499
"""The status in the ledger of a request whose client went away, as nginx has it."""


class MeteredAnswer:
    """An answer of so many ``choices``; ``strip``: its client did not ask for the usage."""

    def __init__(
        self,
        reservation: Reservation,
        choices: int,
        strip: bool,
        write_queue: WriteQueue,
        values: Gateway,
    ) -> None:
        self.reservation = reservation
        self._choices = choices
        self._strip = strip
        self._write_queue = write_queue
        self._values = values
        self._began = time.monotonic()
        self._first_ms: int | None = None
        self._status = 0
        self._error = ""
        self._upstream = ""
        self._asked = True  # the model may have got the question
        self._tap: Tap | None = None
        self._recorded = 0

    def watched(self, answer: Answer) -> Answer:
        """Return ``answer``, whose body is read while it passes."""
        self._status, self._upstream = answer.status, answer.upstream
        if answer.status >= 400:
            self._asked = False
            self._error = "upstream_refused"
            return answer
        self._tap = Tap(is_stream=answer.is_stream, strip=self._strip, choices=self._choices)
        return replace(answer, content=self._content(answer.content, self._tap))

    def fail(self, error: GatewayError) -> None:
        """Take that no answer came."""
        self._status, self._error, self._asked = error.status, error.code, False

    def leave(self, why: str) -> None:
        """Take that nobody hears the answer any longer."""
        self._status, self._error = GONE, why

    def settle(self) -> Settlement:
        """Hand in what was used, and return it."""
        tap = self._tap
        if tap and len(tap.calls) > self._recorded:
            self._write_queue.append_audit_later(self._entries(tap))
        used = self._usage(tap)
        settlement = Settlement(
            self.reservation,
            milliseconds(),
            prompt_tokens=used.prompt,
            completion_tokens=used.completion,
            cached_tokens=used.cached,
            estimated=used.estimated,
            nanos=cost(used, self._values.prices.get(self.reservation.model)),
            first_ms=self._first_ms,
            status=self._status or GONE,
            error=self._error,
            finish_reason=plain(tap.finish_reason, 64) if tap else "",
            upstream=plain(self._upstream),
            calls=len(tap.calls) if tap else 0,
        )
        self._write_queue.settle(settlement)
        return settlement

    def _usage(self, tap: Tap | None) -> Usage:
        if tap and tap.usage:
            return tap.usage
        if not self._asked:
            return Usage(0, 0)
        return Usage(self.reservation.prompt_tokens, tap.counted() if tap else 0, estimated=True)

    async def _content(self, content: AsyncIterator[bytes], tap: Tap) -> AsyncIterator[bytes]:
        try:
            async for data in content:
                passed = tap.feed(data)
                if self._first_ms is None and tap.spoke:
                    self._first_ms = self._milliseconds()
                if tap.ended and len(tap.calls) > self._recorded:
                    await self._record(tap)
                if passed:
                    yield passed
            rest = tap.finish()
            if len(tap.calls) > self._recorded:
                await self._record(tap)
            if rest:
                yield rest
        except GatewayError as error:
            self._error, self._status = error.code, error.status
            raise

    def _milliseconds(self) -> int:
        return int((time.monotonic() - self._began) * 1000)

    async def _record(self, tap: Tap) -> None:
        entries = self._entries(tap)
        await self._write_queue.append_audit(entries)
        self._recorded += len(entries)

    def _entries(self, tap: Tap) -> list[AuditEntry]:
        text = self._values.audit.text
        calls = tap.calls[self._recorded :]
        return [call_entry(call, self.reservation, tap.ended, text) for call in calls]


def call_entry(call: Call, reservation: Reservation, complete: bool, text: bool) -> AuditEntry:
    """
    Return a tool call as it is recorded.

    It is ``complete`` unless its answer was cut off; ``text`` keeps the code,
    not only its hash.
    """
    code = _code(call.arguments)
    said = {
        "server": reservation.server,
        "request": reservation.id,
        "message": reservation.message,
        "model": reservation.model,
        "tool": plain(call.name),
        "complete": complete,
        "sha256": hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest(),
        **({"text": code} if text else {}),
    }
    return AuditEntry("call", reservation.user, reservation.conversation, call.id, said)


def _code(arguments: str) -> str:
    """Return the code that a call wants to be run; all its arguments if there is none."""
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(arguments)
        if isinstance(said, dict) and isinstance(said.get("code"), str):
            return str(said["code"])
    return arguments
