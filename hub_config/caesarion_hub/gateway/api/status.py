"""
The routes that report the gateway's own state: health, readiness, metrics.

Routed by ``application``; asked by probes and by Prometheus.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from caesarion_hub.gateway.api.handler import Handler, json_answer
from caesarion_hub.gateway.api.metering import Metering
from caesarion_hub.gateway.api.metrics import Metrics
from caesarion_hub.gateway.api.server import REQUEST_HEADER, Request
from caesarion_hub.gateway.authentication import HubClient
from caesarion_hub.gateway.store.write_queue import WriteQueue
from caesarion_hub.values.gateway import Window

METRICS_SCOPE = "read:metrics"

READ_WITHIN = 2.0
"""Seconds that a scrape waits for the database; made up, and less than Prometheus waits for us."""


class HealthHandler(Handler):
    """``GET health``: whether the process answers; needs no token."""

    def __init__(self, is_demo: bool) -> None:
        self._is_demo = is_demo

    async def answer(self, request: Request, body: bytes) -> web.StreamResponse:
        """Answer ``{"status": "ok", "demo": false}``."""
        return json_answer(request, {"status": "ok", "demo": self._is_demo})


class ReadyHandler(Handler):
    """``GET ready``: whether the database and a model can be used; needs no token."""

    def __init__(self, write_queue: WriteQueue, metering: Metering) -> None:
        self._write_queue = write_queue
        self._metering = metering

    async def answer(self, request: Request, body: bytes) -> web.StreamResponse:
        """Answer ``{"status": "ready"}``, or 503 with a sentence for each problem."""
        database = await self._write_queue.database_answers()
        problems = [
            *([] if database else ["The database does not answer."]),
            *filter(None, [self._metering.problem()]),
        ]
        if problems:
            return json_answer(request, {"status": "not ready", "problems": problems}, 503)
        return json_answer(request, {"status": "ready"})


class MetricsHandler(Handler):
    """``GET metrics``: Prometheus' figures, for tokens that may read the hub's."""

    def __init__(
        self, metrics: Metrics, write_queue: WriteQueue, hub: HubClient, *, is_open: bool
    ) -> None:
        self._metrics = metrics
        self._write_queue = write_queue
        self._hub = hub
        self._is_open = is_open

    async def answer(self, request: Request, body: bytes) -> web.StreamResponse:
        """Answer in Prometheus' format."""
        if not self._is_open:
            header = request.headers.get("Authorization", "")
            await self._hub.authorize(header, METRICS_SCOPE, "read the metrics")
        self._metrics.set_budgets(await self._budgets())
        headers = {
            REQUEST_HEADER: request.id,
            "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
        }
        return web.Response(body=self._metrics.text(), headers=headers)

    async def _budgets(self) -> Mapping[Window, float]:
        """Return how much of everyone's budgets is used; nothing if the database is silent."""
        with contextlib.suppress(TimeoutError, SQLAlchemyError):
            async with asyncio.timeout(READ_WITHIN):
                return await self._write_queue.everyones_budgets()
        return {}
