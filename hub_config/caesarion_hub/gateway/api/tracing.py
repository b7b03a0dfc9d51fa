"""
Traces: a span for each request, below the span of whoever asked.

Recorded by ``metering`` when a request is settled, with its times: nothing is done while an
answer is on its way. Spans go where OpenTelemetry's own variables say, as OTLP over HTTP;
without a collector OpenTelemetry is not imported. No span holds what was asked or answered.
"""

import asyncio
from typing import TYPE_CHECKING

from caesarion_hub.gateway.store.commands import Settlement

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_FLUSH_LIMIT = 1000  # milliseconds for spans that are not sent at the end; made up
_MILLISECOND = 1_000_000  # nanoseconds


class Traces:
    """Where spans are recorded: in ``provider``, or nowhere."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider

    @classmethod
    def to_collector(cls) -> "Traces":
        """Return traces that go to the collector that OpenTelemetry's variables name."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # At exit it would wait for a collector that is away.
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    async def close(self) -> None:
        """Send what is recorded, within a time limit."""
        if self._provider:
            await asyncio.to_thread(self._provider.force_flush, _FLUSH_LIMIT)

    def record(self, settlement: Settlement, traceparent: str) -> None:
        """Record a request that was settled, below the span that ``traceparent`` names, if any."""
        if self._provider is None:
            return
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        reservation = settlement.reservation
        span = self._provider.get_tracer("caesarion").start_span(
            f"chat {reservation.model}",
            TraceContextTextMapPropagator().extract({"traceparent": traceparent}),
            SpanKind.SERVER,
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": reservation.model,
                "gen_ai.conversation.id": reservation.conversation,
                "gen_ai.usage.input_tokens": settlement.prompt_tokens,
                "gen_ai.usage.output_tokens": settlement.completion_tokens,
                "gen_ai.usage.cache_read.input_tokens": settlement.cached_tokens,
                "gen_ai.response.finish_reasons": [settlement.finish_reason or "none"],
                "http.response.status_code": settlement.status,
                "user.name": reservation.user,
                "caesarion.server": reservation.server,
                "caesarion.request": reservation.id,
                "caesarion.upstream": settlement.upstream,
            },
            start_time=reservation.started * _MILLISECOND,
        )
        if settlement.first_ms is not None:
            first = (reservation.started + settlement.first_ms) * _MILLISECOND
            span.add_event("caesarion.first_token", timestamp=first)
        if settlement.error:
            span.set_attribute("error.type", settlement.error)
            span.set_status(StatusCode.ERROR)
        span.end(settlement.finished * _MILLISECOND)
