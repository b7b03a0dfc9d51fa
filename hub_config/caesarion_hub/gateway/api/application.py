"""
The gateway's HTTP application: its routes, and the way of a request through them.

``__main__`` builds it and stops it; its handlers are in the other modules of this package, and
the pages' in ``pages``.
"""

import asyncio
import logging
from typing import Protocol

from aiohttp import web

from caesarion_hub.gateway.api.body import Body, BodyMemory
from caesarion_hub.gateway.api.completions import Answers, CompletionsHandler, ModelsHandler
from caesarion_hub.gateway.api.handler import Handler
from caesarion_hub.gateway.api.metering import Metering
from caesarion_hub.gateway.api.metrics import Metrics
from caesarion_hub.gateway.api.outcomes import OutcomesHandler
from caesarion_hub.gateway.api.server import Request, error_response, not_http
from caesarion_hub.gateway.api.status import HealthHandler, MetricsHandler, ReadyHandler
from caesarion_hub.gateway.authentication import HubClient
from caesarion_hub.gateway.config import Config
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.store.write_queue import WriteQueue

_MAX_FORM = 2**20  # bytes of a form of the pages

log = logging.getLogger("gateway")


class Pages(Protocol):
    """The routes beside the API's."""

    def serves(self, path: str) -> bool:
        """Return whether ``path`` is a page's."""

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a request to such a path."""


class Application:
    """The routes below ``config.prefix``, and ``pages`` beside them."""

    def __init__(
        self,
        config: Config,
        hub: HubClient,
        metering: Metering,
        write_queue: WriteQueue,
        metrics: Metrics,
        pages: Pages | None = None,
    ) -> None:
        values = config.values
        self._hub = hub
        self._pages = pages
        self._timeout = values.requests.timeout
        self._memory = BodyMemory(values.requests.memory, values.requests.user_memory)
        self._answers = Answers(metering)
        routes: dict[str, Handler] = {
            "v1/chat/completions": CompletionsHandler(self._answers),
            "v1/models": ModelsHandler(self._answers),
            "v1/audit/outcomes": OutcomesHandler(write_queue, metrics),
            "health": HealthHandler(not config.upstreams),
            "ready": ReadyHandler(write_queue, metering),
            "metrics": MetricsHandler(metrics, write_queue, hub, is_open=values.open_metrics),
        }
        self._routes = {f"{config.prefix}{path}": handler for path, handler in routes.items()}

    async def stop(self, grace: float) -> None:
        """Let the answers in progress end within ``grace`` seconds, and cancel the rest."""
        await self._answers.stop(grace)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """
        Answer a request.

        No access log is written: a request is logged when it is settled, a failure when it occurs.
        """
        assert isinstance(request, Request)
        path = request.raw_path.partition("?")[0]
        try:
            return await self._handle(request, path)
        except GatewayError as error:
            response = error_response(request, error)
            if not request.content.is_eof():
                response.force_close()
            return response
        except ConnectionError:
            raise  # the client has disconnected
        except Exception:
            # Without the request itself, which may hold secrets.
            log.exception("%s failed", path)
            if request.answer:
                request.protocol.force_close()  # half an answer must not look like a whole one
                return request.answer
            message = "The gateway failed; its log says why. Ask again."
            return error_response(
                request, GatewayError(500, "internal_error", message, "server_error")
            )

    async def _handle(self, request: Request, path: str) -> web.StreamResponse:
        """
        Answer a request; raise GatewayError if it is refused.

        A refusal is sent after the body was received and discarded, however long it is, within
        ``requests.timeout``: a client that is still sending may not read an answer, and
        configurable-http-proxy answers 503 where the connection is closed.
        """
        handler, refusal = self._routes.get(path), None
        max_bytes = handler.max_body_bytes if handler else _MAX_FORM
        try:
            if handler:
                await self._admit(request, path, handler)
            elif not (self._pages and self._pages.serves(path)):
                raise GatewayError(404, "not_found", f"There is nothing at {path}.")
        except GatewayError as error:
            refusal = error
        body = Body(self._memory, request.caller.name, max_bytes)
        try:
            data = await self._receive(request, body, refusal)
            if handler:
                return await handler.answer(request, data)
            assert self._pages
            return await self._pages.answer(request, data)
        finally:
            body.close()

    async def _admit(self, request: Request, path: str, handler: Handler) -> None:
        """Authenticate the caller, and check what can be checked before the body."""
        if request.method != handler.method:
            raise GatewayError(
                *(405, "method_not_allowed", f"{path} does not take {request.method}."),
                headers={"Allow": handler.method},
            )
        if handler.is_for_users:
            header = request.headers.get("Authorization", "")
            request.caller = await self._hub.authenticate(header)
            await handler.check_before_body(request)

    async def _receive(self, request: Request, body: Body, refusal: GatewayError | None) -> bytes:
        """Return the whole body; raise ``refusal``, or why the body is refused."""
        if request.content.is_eof():
            refusal = await _read(request, body, refusal)
        else:
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            try:
                async with asyncio.timeout(self._timeout):
                    refusal = await _read(request, body, refusal)
            except TimeoutError as error:
                raise GatewayError(
                    408,
                    "request_timeout",
                    f"The request was not received within {self._timeout:g} seconds. Send it "
                    "again, or send less.",
                ) from error
        if refusal:
            raise refusal
        return body.read()


async def _read(request: Request, body: Body, refusal: GatewayError | None) -> GatewayError | None:
    """Read a body to its end; discard it from the first refusal on, and return that."""
    try:
        while data := await request.content.readany():
            if refusal:
                continue
            try:
                body.add(data)
            except GatewayError as error:
                refusal = error
                body.close()
    except web.RequestPayloadError as error:
        raise not_http() from error
    return refusal
