"""
The gateway's HTTP door: who may ask, what is a request, and the answer as it comes.

``__main__`` builds it; it calls ``hub`` to know the caller and ``meter`` for the
answer.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from caesarion_hub.gateway.api.metering import Asked, Meter, Outcome
from caesarion_hub.gateway.api.metrics import Metrics
from caesarion_hub.gateway.api.response import plain
from caesarion_hub.gateway.authentication import Caller, Hub
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.store.write_queue import Journal
from caesarion_hub.gateway.upstream.backend import Answer

MAX_BODY = 10 * 2**20
"""Bytes of a request that are read; of a longer one the rest is thrown away."""

MAX_OUTCOMES = 100
"""Outcomes in one report; a made-up number, more than a turn has calls."""

METRICS_SCOPE = "read:metrics"

REQUEST_HEADER = "X-Caesarion-Request"
"""The request's id in the log and the ledger."""

CONVERSATION_HEADER = "X-Caesarion-Conversation"
MESSAGE_HEADER = "X-Caesarion-Message"
"""Where a question comes from, as the asking server calls it; the ledger keeps both."""

log = logging.getLogger("gateway")


class Gateway(Application):
    """The routes, and the answers under way."""

    def __init__(
        self,
        prefix: str,
        hub: Hub,
        meter: Meter,
        journal: Journal,
        metrics: Metrics,
        *,
        demo: bool,
        pages: Sequence[Any] = (),
        **settings: Any,
    ) -> None:
        self.hub = hub
        self.meter = meter
        self.journal = journal
        self.metrics = metrics
        self.demo = demo
        self.under_way: set[asyncio.Task[None]] = set()
        super().__init__(
            [
                (f"{prefix}v1/chat/completions", Completions),
                (f"{prefix}v1/models", Models),
                (f"{prefix}v1/audit/outcomes", Outcomes),
                (f"{prefix}health", Health),
                (f"{prefix}ready", Ready),
                (f"{prefix}metrics", Figures),
                *pages,
            ],
            default_handler_class=Nowhere,
            # No access log: a failure is logged where it is understood.
            log_function=lambda handler: None,
            **settings,
        )


class BaseHandler(RequestHandler):
    """What all routes share: errors in OpenAI's shape and nothing about the server."""

    application: Gateway
    id = ""

    def set_default_headers(self) -> None:
        """Say the request's id; do not tell which server this is, and in which version."""
        self.id = self.id or uuid4().hex
        self.set_header(REQUEST_HEADER, self.id)
        self.clear_header("Server")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the error that ended the request."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, GatewayError):
            error = _http_error(status_code, self.request.method or "", self.request.path)
        self.set_status(error.status)
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "application/json")
        self.finish(error.body())

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is our fault; the request itself may hold secrets and is left out."""
        if not isinstance(value, GatewayError | HTTPError):
            log.error("%s failed", self.request.path, exc_info=(typ, value, tb))


class Health(BaseHandler):
    """Whether the gateway answers, for anybody."""

    def get(self) -> None:
        """Answer ``{"status": "ok", "demo": false}``."""
        self.write({"status": "ok", "demo": self.application.demo})


class Ready(BaseHandler):
    """Whether the gateway can answer questions now: its database and its model, for anybody."""

    async def get(self) -> None:
        """Answer ``{"status": "ready"}``, or 503 and the problems in sentences."""
        problems = [
            "" if await self.application.journal.answers() else "The database does not answer.",
            self.application.meter.trouble(),
        ]
        told = [problem for problem in problems if problem]
        self.set_status(503 if told else 200)
        self.write({"status": "not ready", "problems": told} if told else {"status": "ready"})


class Figures(BaseHandler):
    """Prometheus' metrics, for tokens that may read the hub's."""

    async def get(self) -> None:
        """Answer in Prometheus' format."""
        if not self.application.meter.open_metrics:
            header = self.request.headers.get("Authorization", "")
            await self.application.hub.check(header, METRICS_SCOPE, "read the metrics")
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.write(self.application.metrics.text())


class Nowhere(BaseHandler):
    """Any other path."""

    def prepare(self) -> None:
        """Refuse."""
        raise HTTPError(404)


@stream_request_body
class FromUser(BaseHandler):
    """A route for users: asks the hub who calls before the body is read."""

    def initialize(self) -> None:
        """Begin without a caller, a body or an answer."""
        self.caller = Caller("")
        self.body = bytearray()
        self._refusal: GatewayError | None = None
        self._answering: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Find out who calls. A refusal waits for the body: answered earlier, it may get lost."""
        try:
            self.caller = await self.application.hub.caller(
                self.request.headers.get("Authorization", "")
            )
        except GatewayError as refusal:
            self._refusal = refusal

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body, unless nobody will read it."""
        if self._refusal is None:
            self.body += chunk
            if len(self.body) > MAX_BODY:
                self.body.clear()
                self._refusal = GatewayError(
                    413,
                    "request_too_large",
                    f"The request is longer than {MAX_BODY // 2**20} MiB. "
                    "Begin a new conversation, or send less.",
                )

    def on_connection_close(self) -> None:
        """Give up what is asked of the model for a client that is gone."""
        if self._answering:
            self._answering.cancel()

    async def pass_on(self, asked: AbstractAsyncContextManager[Answer]) -> None:
        """Send what the backend answers; end when the client is gone."""
        self._answering = asyncio.create_task(self._pass_on(asked))
        self.application.under_way.add(self._answering)
        self._answering.add_done_callback(self.application.under_way.discard)
        try:
            await self._answering
        except asyncio.CancelledError:
            if not self._answering.cancelled():
                raise

    def check_caller(self) -> None:
        """Raise what was found out while the request came in."""
        if self._refusal:
            raise self._refusal

    async def _pass_on(self, asked: AbstractAsyncContextManager[Answer]) -> None:
        try:
            async with asked as answer:
                self.set_status(answer.status)
                for name, value in answer.headers.items():
                    self.set_header(name, value)
                if answer.is_stream:
                    self.set_header("Cache-Control", "no-cache")
                    self.set_header("X-Accel-Buffering", "no")
                    self._send_small_pieces_at_once()
                await self._send(answer)
        except StreamClosedError:
            pass  # the client is gone
        except GatewayError as error:
            self._warn(error)
            raise

    def _send_small_pieces_at_once(self) -> None:
        """Have no word wait until the client has acknowledged the one before, up to 40 ms."""
        if isinstance(self.request.connection, HTTP1Connection):
            self.request.connection.stream.set_nodelay(True)

    def _warn(self, error: GatewayError, when: str = "") -> None:
        told = {"request": self.id, "user": self.caller.name, "error": error.code}
        log.warning("%s%s", error.message.rstrip("."), when, extra={"told": told})

    async def _send(self, answer: Answer) -> None:
        try:
            async for data in answer.content:
                self.write(data)
                await self.flush()
        except GatewayError as error:
            # What came was whole events: only a stream comes in pieces, and only between them.
            self._warn(error, ", in mid-answer")
            await self.finish(error.event())


class Models(FromUser):
    """The models."""

    async def get(self) -> None:
        """Answer with the provider's list."""
        self.check_caller()
        await self.pass_on(self.application.meter.models(self.caller))


class Completions(FromUser):
    """The conversation."""

    async def post(self) -> None:
        """Answer, as a stream if the request asks for one."""
        self.check_caller()
        raw = bytes(self.body)
        headers = self.request.headers
        asked = Asked(
            *(self.id, self.caller, raw, checked_body(raw)),
            headers.get(CONVERSATION_HEADER, ""),
            headers.get(MESSAGE_HEADER, ""),
        )
        await self.pass_on(self.application.meter.complete(asked))


class Outcomes(FromUser):
    """What became of the tool calls, as the user's server tells it."""

    async def post(self) -> None:
        """Record the outcomes; answer how many were of calls that wait for one."""
        self.check_caller()
        number = await self.application.meter.report(self.caller, outcomes(bytes(self.body)))
        self.write({"recorded": number})


def outcomes(raw: bytes) -> list[Outcome]:
    """
    Return what ``raw`` reports: ``{"outcomes": [{"call", "outcome", "approval"}]}``.

    Raises GatewayError if it is something else.
    """
    try:
        told = json.loads(raw)["outcomes"]
        made = [
            Outcome(*(plain(str(one[name]), 64) for name in ("call", "outcome", "approval")))
            for one in told
        ]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise _bad_request(
            "The request reports no outcomes: it must be "
            '{"outcomes": [{"call": ..., "outcome": ..., "approval": ...}]}.'
        ) from error
    if len(made) > MAX_OUTCOMES:
        raise _bad_request(f"The request reports more than {MAX_OUTCOMES} outcomes.")
    return made


def checked_body(raw: bytes) -> dict[str, Any]:
    """Return the request that ``raw`` holds; raise GatewayError if it is none."""
    try:
        body = json.loads(raw, object_pairs_hook=_said_once)
    except (ValueError, RecursionError) as error:
        raise _bad_request("The request is not JSON.") from error
    if not isinstance(body, dict):
        raise _bad_request("The request is not a JSON object.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise _bad_request("The request names no model: 'model' must be a text.")
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise _bad_request("The request holds no messages: 'messages' must be a list.")
    return body


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a table; of two models a provider may take the one that was not checked here."""
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = next(key for key in table if [name for name, _ in pairs].count(key) > 1)
        raise _bad_request(f"The request says {twice[:80]!r} twice in one object.")
    return table


def _bad_request(message: str) -> GatewayError:
    return GatewayError(400, "invalid_request", message)


def _http_error(status: int, method: str, path: str) -> GatewayError:
    match status:
        case 404:
            return GatewayError(404, "not_found", f"There is nothing at {path}.")
        case 405:
            return GatewayError(405, "method_not_allowed", f"{path} does not take {method}.")
        case _ if status < 500:
            return GatewayError(status, "invalid_request", "The request is not valid HTTP.")
    message = "The gateway failed; its log says why. Ask again."
    return GatewayError(status, "internal_error", message, "server_error")
