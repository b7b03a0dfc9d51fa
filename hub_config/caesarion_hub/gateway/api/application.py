"""
The gateway's HTTP application: its routes, what their handlers share, and its end.

``__main__`` builds it and stops it; its handlers are in the other modules of this package.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from tornado.web import Application, RequestHandler

from caesarion_hub.gateway.api.body import BodyMemory
from caesarion_hub.gateway.api.completions import CompletionsHandler, ModelsHandler
from caesarion_hub.gateway.api.handler import NotFoundHandler
from caesarion_hub.gateway.api.metering import Metering
from caesarion_hub.gateway.api.metrics import Metrics
from caesarion_hub.gateway.api.outcomes import OutcomesHandler
from caesarion_hub.gateway.api.status import HealthHandler, MetricsHandler, ReadyHandler
from caesarion_hub.gateway.authentication import HubClient
from caesarion_hub.gateway.config import Config
from caesarion_hub.gateway.store.write_queue import WriteQueue


class GatewayApplication(Application):
    """
    The routes below ``config.prefix``, and ``pages`` beside them.

    ``in_progress`` are the tasks that send an answer of the model.
    """

    def __init__(
        self,
        config: Config,
        hub: HubClient,
        metering: Metering,
        write_queue: WriteQueue,
        metrics: Metrics,
        *,
        pages: Sequence[Any] = (),
        **settings: Any,
    ) -> None:
        self.config = config
        self.hub = hub
        self.metering = metering
        self.write_queue = write_queue
        self.metrics = metrics
        requests = config.values.requests
        self.body_memory = BodyMemory(requests.memory, requests.user_memory)
        self.in_progress: set[asyncio.Task[None]] = set()
        prefix = config.prefix
        super().__init__(
            [
                (f"{prefix}v1/chat/completions", CompletionsHandler),
                (f"{prefix}v1/models", ModelsHandler),
                (f"{prefix}v1/audit/outcomes", OutcomesHandler),
                (f"{prefix}health", HealthHandler),
                (f"{prefix}ready", ReadyHandler),
                (f"{prefix}metrics", MetricsHandler),
                *pages,
            ],
            default_handler_class=NotFoundHandler,
            **settings,
        )

    def log_request(self, handler: RequestHandler) -> None:
        """Write no access log: a request is logged when it is settled, a failure when it occurs."""

    async def stop(self, grace: float) -> None:
        """Let the answers in progress end within ``grace`` seconds, and cancel the rest."""
        if self.in_progress:
            await asyncio.wait(self.in_progress, timeout=grace)
        self.metering.stopping = True
        for task in self.in_progress:
            task.cancel()
        if self.in_progress:
            await asyncio.wait(self.in_progress)
