"""The spans of a turn, in memory: which there are, below which, and what they say."""

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import pytest
from caesarion.agent.approval import Approvals
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model, Source
from caesarion.agent.tracing import Traces
from caesarion.config import CaesarionAgent, Mode
from caesarion.errors import ModelError
from caesarion.events import ApprovalRequest, CallKind
from caesarion.logs import ServerFormatter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from tests.unit.test_agent import QUESTION, Echo, ScriptedModel, calls, says

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Effect(Echo):
    """Waits for a person in the mode "ask"."""

    kind: ClassVar[CallKind] = "run"


class Recorder:
    """Runs turns and has their spans, by name."""

    def __init__(self, *, with_content: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.traces = Traces(provider, with_content=with_content)
        self.approvals = Approvals()

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}

    async def turn(self, model: ScriptedModel, mode: Mode = "auto") -> None:
        agent = Agent(
            *(CaesarionAgent(), cast("Model", model), [Effect()], self.approvals, mode),
            traces=self.traces,
        )
        async for event in agent.run(list(QUESTION), Source("lab.chat", traceparent=TRACEPARENT)):
            if isinstance(event, ApprovalRequest):
                self.approvals.settle(event.approval_id, "run", "hana")


def tree(spans: Sequence[ReadableSpan]) -> dict[str, str]:
    """Return the name of each span's parent."""
    ids = {span.context.span_id: span.name for span in spans if span.context}
    return {
        span.name: ids.get(span.parent.span_id, "the page") if span.parent else "nothing"
        for span in spans
    }


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_turn_is_one_trace_that_the_page_begins() -> None:
    recorder = Recorder()
    model = ScriptedModel(calls("hello"), says("done"))
    await recorder.turn(model)
    assert tree(list(recorder.spans.values())) == {
        "chat gpt-4.1": "invoke_agent caesarion",
        "execute_tool echo": "invoke_agent caesarion",
        "invoke_agent caesarion": "the page",
    }
    assert {
        f"{span.context.trace_id:032x}" for span in recorder.spans.values() if span.context
    } == {TRACE}
    # The gateway's span goes below that of the question, not below the turn's.
    [_, last] = [source.traceparent.split("-") for source in model.sources]
    asked = recorder.spans["chat gpt-4.1"].context
    assert asked
    assert last == ["00", TRACE, f"{asked.span_id:016x}", "01"]


async def test_what_is_said_is_in_no_span_unless_the_operator_asks_for_it() -> None:
    secret, shown = Recorder(), Recorder(with_content=True)
    for recorder in (secret, shown):
        await recorder.turn(ScriptedModel(calls("swordfish"), says("the swordfish answer")))
    texts = {
        recorder: str([(said(span), span.events) for span in recorder.spans.values()])
        for recorder in (secret, shown)
    }
    assert "swordfish" not in texts[secret]
    assert said(shown.spans["execute_tool echo"])["gen_ai.tool.call.result"] == "swordfish"
    assert said(shown.spans["chat gpt-4.1"])["gen_ai.output.messages"] == "the swordfish answer"


async def test_every_name_is_one_of_the_conventions_or_our_own() -> None:
    recorder = Recorder(with_content=True)
    await recorder.turn(ScriptedModel(calls("hello"), says("done")), mode="ask")
    known = {value for name, value in vars(gen_ai_attributes).items() if name.isupper()}
    used = {name for span in recorder.spans.values() for name in said(span)}
    assert {name for name in used if not name.startswith("caesarion.")} <= known
    assert said(recorder.spans["execute_tool echo"])["gen_ai.operation.name"] == "execute_tool"


async def test_the_wait_for_a_person_is_seen_in_the_span_of_the_call() -> None:
    recorder = Recorder()
    await recorder.turn(ScriptedModel(calls("hello"), says("done")), mode="ask")
    events = recorder.spans["execute_tool echo"].events
    assert [(event.name, dict(event.attributes or {})) for event in events] == [
        ("caesarion.approval.requested", {}),
        (
            "caesarion.approval.decided",
            {"caesarion.approval.decision": "run", "caesarion.approval.approver": "person"},
        ),
    ]


async def test_a_failure_is_named_by_its_type_alone() -> None:
    recorder = Recorder()
    await recorder.turn(ScriptedModel(calls("bad"), ModelError("The provider said: swordfish.")))
    failed = {name: said(span).get("error.type") for name, span in recorder.spans.items()}
    assert failed == {
        "chat gpt-4.1": "ModelError",
        "execute_tool echo": "tool_error",
        "invoke_agent caesarion": "ModelError",
    }
    turn = recorder.spans["invoke_agent caesarion"]
    assert "swordfish" not in str((turn.status.description, turn.events))


async def test_a_turn_that_is_left_is_marked_as_interrupted() -> None:
    recorder = Recorder()
    agent = Agent(
        *(CaesarionAgent(), cast("Model", ScriptedModel(says("one", "two"))), [Effect()]),
        traces=recorder.traces,
    )
    events = agent.run(list(QUESTION))
    await anext(events)
    await events.aclose()
    assert said(recorder.spans["invoke_agent caesarion"])["caesarion.interrupted"] is True


@pytest.mark.parametrize(
    "given", ["", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", TRACEPARENT.upper()]
)
def test_without_a_collector_each_turn_still_has_a_trace_for_the_logs(given: str) -> None:
    first, second = (Traces().turn(given, "", "auto") for _ in range(2))
    assert len(first.trace_id) == 32
    assert first.trace_id != second.trace_id
    assert Traces().turn(TRACEPARENT, "", "auto").traceparent == TRACEPARENT


async def test_the_log_names_the_trace_of_the_turn_under_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.handler.setFormatter(ServerFormatter(["message"]))
    agent = Agent(CaesarionAgent(), cast("Model", ScriptedModel(RuntimeError("a bug"))), [])
    with caplog.at_level(logging.ERROR):
        async for _ in agent.run(list(QUESTION), Source(traceparent=TRACEPARENT)):
            pass
    assert f'"trace": "{TRACE}"' in caplog.text
