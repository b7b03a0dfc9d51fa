"""
Traces: the spans of a turn, in the names of OpenTelemetry's conventions for generative AI.

    invoke_agent caesarion
      chat MODEL                  one question to the model; the gateway's span is below it
      execute_tool NAME           one call, with the wait for a person's decision as events

Called by :mod:`caesarion.agent.loop` and :mod:`caesarion.agent.calls`. The one place that maps the
agent's terms to ``gen_ai.*``. Spans are recorded only where OpenTelemetry's own variables name a
collector (:func:`caesarion.config.is_traced`): its SDK is not imported otherwise. The trace's id is
passed on in any case, so that the logs of a turn can be found together.
"""

import asyncio
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from caesarion.agent.answer import Answer
from caesarion.config import hub_server, is_traced, traces_content
from caesarion.events import ApprovalDecision, ToolCall

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as RecordedSpan

# W3C Trace Context, level 1: version, trace id, parent id, flags; an id of zeros is none.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

# Milliseconds for spans that are not sent yet when the server stops; made up.
_FLUSH_LIMIT = 1000


class Traces:
    """Where spans are recorded: in ``provider``, or nowhere."""

    def __init__(
        self, provider: "TracerProvider | None" = None, *, with_content: bool = False
    ) -> None:
        self.provider = provider
        self.with_content = with_content

    @classmethod
    def from_environment(cls, exporter: "SpanExporter | None" = None) -> "Traces":
        """Return traces that go to the collector that the environment names, or nowhere."""
        if not is_traced():
            return cls()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        names = {"user": "user.name", "server": "caesarion.server"}
        resource = Resource.create({names[key]: text for key, text in hub_server().items()})
        # At exit it would wait for a collector that is away.
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        return cls(provider, with_content=traces_content())

    async def close(self) -> None:
        """Send what is recorded, within a time limit."""
        if self.provider:
            await asyncio.to_thread(self.provider.force_flush, _FLUSH_LIMIT)

    def turn(self, traceparent: str, conversation: str, mode: str) -> "Span":
        """Begin a turn below ``traceparent``, a W3C header; one that is none begins a trace."""
        if not _TRACEPARENT.fullmatch(traceparent):
            traceparent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "caesarion",
            "caesarion.approval.mode": mode,
        }
        if conversation:
            attributes["gen_ai.conversation.id"] = conversation
        return Span(self, traceparent).child("invoke_agent caesarion", "INTERNAL", attributes)


class Span:
    """
    One piece of work; a context manager that ends it.

    An exception that passes is noted by its type: what it says may be the person's own words.
    """

    def __init__(
        self, traces: Traces, traceparent: str, recorded: "RecordedSpan | None" = None
    ) -> None:
        self.traceparent = traceparent
        self._traces = traces
        self._recorded = recorded

    @property
    def trace_id(self) -> str:
        """The id of the trace, 32 hexadecimal digits."""
        return self.traceparent.split("-")[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind and issubclass(kind, Exception):
            self.fail(kind.__name__)
        elif kind:
            self._set({"caesarion.interrupted": True})
        if self._recorded:
            self._recorded.end()

    def child(self, name: str, kind: str, attributes: Mapping[str, Any]) -> "Span":
        """Begin a span below this one."""
        if self._traces.provider is None:
            return Span(self._traces, self.traceparent)
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        propagator = TraceContextTextMapPropagator()
        recorded = self._traces.provider.get_tracer("caesarion").start_span(
            name,
            propagator.extract({"traceparent": self.traceparent}),
            trace.SpanKind[kind],
            attributes,
        )
        carrier: dict[str, str] = {}
        propagator.inject(carrier, trace.set_span_in_context(recorded))
        return Span(self._traces, carrier["traceparent"], recorded)

    def chat(self, model: str, messages: Sequence[Mapping[str, Any]]) -> "Span":
        """Begin a question to the model."""
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": model,
            "gen_ai.request.stream": True,
            **self._content("gen_ai.input.messages", messages),
        }
        return self.child(f"chat {model}", "CLIENT", attributes)

    def answered(self, answer: Answer) -> None:
        """Note what the model answered."""
        usage = answer.usage
        self._set(
            {
                "gen_ai.response.finish_reasons": [answer.finish_reason or "none"],
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
                "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
                **self._content("gen_ai.output.messages", answer.text),
            }
        )

    def call(self, call: ToolCall) -> "Span":
        """Begin a call of a tool."""
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.call.id": call.id,
            "gen_ai.tool.type": "function",
            **self._content("gen_ai.tool.call.arguments", call.arguments),
        }
        return self.child(f"execute_tool {call.name}", "INTERNAL", attributes)

    def waits(self) -> None:
        """Note that a call waits for a person's decision."""
        if self._recorded:
            self._recorded.add_event("caesarion.approval.requested")

    def decided(self, decision: ApprovalDecision) -> None:
        """Note a decision about a call: by whom, and which."""
        if self._recorded:
            self._recorded.add_event(
                "caesarion.approval.decided",
                {
                    "caesarion.approval.decision": decision.decision,
                    "caesarion.approval.approver": _approver(decision),
                },
            )

    def returned(self, status: str, text: str) -> None:
        """Note the result of a call."""
        self._set(
            {"caesarion.tool.status": status, **self._content("gen_ai.tool.call.result", text)}
        )
        if status == "error":
            self.fail("tool_error")

    def ended(self, reason: str) -> None:
        """Note why a turn ended."""
        self._set({"gen_ai.response.finish_reasons": [reason]})

    def fail(self, kind: str) -> None:
        """Note a failure by its type."""
        if self._recorded:
            from opentelemetry.trace import StatusCode

            self._recorded.set_attribute("error.type", kind)
            self._recorded.set_status(StatusCode.ERROR)

    def _set(self, attributes: Mapping[str, Any]) -> None:
        if self._recorded:
            self._recorded.set_attributes(attributes)

    def _content(self, name: str, value: object) -> dict[str, str]:
        """Return an attribute with what was said, if the operator has asked for that."""
        if self._traces.provider is None or not self._traces.with_content:
            return {}
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return {name: text}


def _approver(decision: ApprovalDecision) -> str:
    if decision.rule:
        return "rule"
    return "program" if decision.program else "person"
