"""What an operator collects from a real hub, gateway and user's server: one log, one trace."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.collector import Collector, Span, collector
from tests.hub import running_hub

TRACE = "0af7651916cd43dd8448eb211c80319c"
PAGE = "b7ad6b7169203331"
# What is no JSON: the proxy, the culler and kernels are programs of their own, and JupyterHub's
# and JupyterLab's parts of a server log a few lines before they have read their configuration.
OTHERS = re.compile(
    r"\S+ \[ConfigProxy\] |\[. .* (IdleCuller|JupyterHubSingleUser|LabApp)\b|    pycurl is|"
    r"\[IPKernelApp\] "
)
QUESTION = {
    "messages": [{"role": "user", "content": "plot a sine wave"}],
    "session_id": "one",
}


@dataclass
class Collected:
    """What was there when everything had stopped."""

    collector: Collector
    folder: Path

    def lines(self, log: str) -> list[dict[str, Any]]:
        """Return the lines of a log; each of ours must be JSON."""
        lines = (self.folder / log).read_text().splitlines()
        return [json.loads(line) for line in lines if not OTHERS.match(line)]


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collected]:
    folder = tmp_path_factory.mktemp("hub") / "state"
    with collector() as found:
        monitoring = {"logs": {"format": "json"}, "traces": {"endpoint": found.url}}
        with running_hub(folder, values={"monitoring": monitoring}) as hub:
            ada = hub.login("ada")
            path = ada.start_server()
            answer = ada.post(
                f"{path}caesarion/api/chat",
                json=QUESTION,
                headers={"traceparent": f"00-{TRACE}-{PAGE}-00"},
            )
            assert "event: done" in answer.text
            ada.get(f"{path}caesarion/api/nothing-here")
        yield Collected(found, folder)


def named(spans: list[Span], service: str, name: str) -> list[Span]:
    return [span for span in spans if (span.service, span.name) == (service, name)]


def test_a_turn_is_one_trace_from_the_page_to_the_gateway(collected: Collected) -> None:
    spans = collected.collector.spans
    assert {span.trace for span in spans} == {TRACE}
    [turn] = named(spans, "caesarion-server", "invoke_agent caesarion")
    assert turn.parent == PAGE
    asked = named(spans, "caesarion-server", "chat gpt-4.1")
    [call] = named(spans, "caesarion-server", "execute_tool python_interpreter")
    assert {span.parent for span in [*asked, call]} == {turn.id}
    answered = [span for span in spans if span.service == "caesarion-gateway"]
    assert [span.parent for span in answered] == [span.id for span in asked]
    assert {span.attributes["user.name"] for span in answered} == {"ada"}
    assert "sine" not in str(spans)


def test_each_line_has_one_shape_and_says_whose_it_is(collected: Collected) -> None:
    # With `make up` the gateway writes into the hub's log.
    lines = [*collected.lines("hub.log"), *collected.lines("logs/ada.log")]
    for line in lines:
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None
        assert line["level"] in {"INFO", "WARNING", "ERROR", "CRITICAL"}
        assert {"logger", "message"} <= line.keys()
    by_component = {
        component: [line for line in lines if line["component"] == component]
        for component in ("hub", "gateway", "server")
    }
    assert sum(map(len, by_component.values())) == len(lines)
    assert {(line["user"], line["server"]) for line in by_component["server"]} == {("ada", "")}
    spawned = [line for line in by_component["hub"] if "caesarion.singleuser" in line["message"]]
    assert [(line["user"], line["server"]) for line in spawned] == [("ada", "")]
    logins = [line for line in by_component["hub"] if "POST /hub/login" in line["message"]]
    assert [line["user"] for line in logins] == ["ada"]
    settled = [line for line in by_component["gateway"] if line["message"] == "settled"]
    assert {(line["trace"], line["user"]) for line in settled} == {(TRACE, "ada")}
    assert all(len(line["request"]) == 32 for line in settled)
    assert "sine" not in str(lines)
