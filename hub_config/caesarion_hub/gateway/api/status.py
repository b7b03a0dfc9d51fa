"""
The routes that report the gateway's own state: health, readiness, metrics.

Routed by ``application``; asked by probes and by Prometheus.
"""

from caesarion_hub.gateway.api.handler import BaseHandler

METRICS_SCOPE = "read:metrics"


class HealthHandler(BaseHandler):
    """``GET health``: whether the process answers; needs no token."""

    def get(self) -> None:
        """Answer ``{"status": "ok", "demo": false}``."""
        self.write({"status": "ok", "demo": not self.application.config.upstreams})


class ReadyHandler(BaseHandler):
    """``GET ready``: whether the database and a model can be used; needs no token."""

    async def get(self) -> None:
        """Answer ``{"status": "ready"}``, or 503 with a sentence for each problem."""
        database = await self.application.write_queue.database_answers()
        problems = [
            *([] if database else ["The database does not answer."]),
            *filter(None, [self.application.metering.problem()]),
        ]
        if problems:
            self.set_status(503)
            self.write({"status": "not ready", "problems": problems})
        else:
            self.write({"status": "ready"})


class MetricsHandler(BaseHandler):
    """``GET metrics``: Prometheus' figures, for tokens that may read the hub's."""

    async def get(self) -> None:
        """Answer in Prometheus' format."""
        if not self.application.config.values.open_metrics:
            header = self.request.headers.get("Authorization", "")
            await self.application.hub.authorize(header, METRICS_SCOPE, "read the metrics")
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.write(self.application.metrics.text())
