"""
What is under way when a server is stopped ends with a status, and its call has an outcome.

A real server, which is sent SIGTERM in the middle of a call, as a hub and its culler do; behind a
real gateway, whose audit is read.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from nbformat import v4, writes

from tests.chat import code, open_chat
from tests.fakes.bare_hub import BareHub, bare_hub
from tests.fakes.openai_server import OpenAIServer
from tests.gateways import SCOPE, Gateways
from tests.server import RunningServer, eventually, running_server

STOPPED = "The server is being stopped."

CODE = {
    "code that yields": "while True: time.sleep(0.1)",
    "code that ignores interrupts": "while True:\n    try: time.sleep(9)\n    except: pass",
    "code that holds the GIL": "sum(range(10**12))",
}
# What it prints does not stand in it: a call that only is to run shows its code, too.
BEGIN = "import time\nprint('be' + 'gan', flush=True)\ntime.sleep(0.1)\n"

# How a program's requests end, by their route.
ENDS: dict[str, list[Any]] = {
    "chat": [("error", {"message": STOPPED}), ("done", {"reason": "cancelled"})],
    "execute": [{"status": "aborted", "execution_count": None, "message": STOPPED}],
    "notebooks/run": [{"status": "error", "message": f"{STOPPED} The notebook is as it was."}],
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add_user("ada")
        yield hub


@pytest.fixture
async def provider() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer() as provider:
        yield provider


@pytest.fixture
def gateways(
    hub: BareHub, provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> Gateways:
    return Gateways(hub, provider, tmp_path_factory.mktemp("gateways"))


def pieces(route: str, text: str) -> list[Any]:
    """Return events as name and data, or lines."""
    if route != "chat":
        return [json.loads(line) for line in text.splitlines()]
    found = []
    for block in text.split("\n\n")[:-1]:
        if not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def read(server: RunningServer, route: str, body: dict[str, Any], begun: list[str]) -> str:
    """Return a whole response; its route is in ``begun`` when its code runs."""
    sign = '{"cell": 1' if route == "notebooks/run" else "began"
    text = ""
    async with (
        httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=60) as http,
        http.stream("POST", f"caesarion/api/{route}", json=body) as response,
    ):
        async for piece in response.aiter_text():
            text += piece
            if sign in text and route not in begun:
                begun.append(route)
    return text


@pytest.mark.parametrize("running", CODE.values(), ids=CODE)
async def test_all_that_is_under_way_ends_with_a_status_when_the_server_stops(
    hub: BareHub,
    gateways: Gateways,
    provider: OpenAIServer,
    tmp_path_factory: pytest.TempPathFactory,
    running: str,
) -> None:
    source = BEGIN + running
    provider.add(code(source, "c1"), code(source, "c2"))
    bodies: dict[str, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": "loop"}]},
        "execute": {"code": source},
        "notebooks/run": {"path": "endless.ipynb"},
    }
    begun: list[str] = []
    environment = {
        "CAESARION_MODEL_TOKEN": hub.make_token("ada", [SCOPE]),
        "CAESARION_KERNEL_PREWARM": "0",
    }
    with (
        gateways.running() as gateway,
        running_server(
            tmp_path_factory.mktemp("stop"), model_url=gateway.base_url, environment=environment
        ) as server,
    ):
        notebook = v4.new_notebook(cells=[v4.new_code_cell(source)])
        (server.root / "endless.ipynb").write_text(writes(notebook))
        was = (server.root / "endless.ipynb").read_bytes()
        async with open_chat(server, "a.chat") as chat:
            responses = [
                asyncio.ensure_future(read(server, route, body, begun))
                for route, body in bodies.items()
            ]
            await chat.send("loop")
            await chat.until(lambda: "began" in str(chat.messages), 60)
            await eventually(lambda: len(begun) == len(bodies), 60)
            server.process.terminate()
            texts = dict(zip(bodies, await asyncio.gather(*responses), strict=True))
            await eventually(lambda: server.process.poll() is not None, 60)
        assert server.process.returncode == 0
        assert server.failures == []
        assert (server.root / "endless.ipynb").read_bytes() == was
        stored = json.loads((server.root / "a.chat").read_text("utf-8"))["messages"]
    ends = {route: pieces(route, text)[-len(ENDS[route]) :] for route, text in texts.items()}
    assert ends == ENDS
    records = [message.get("metadata", {}).get("caesarion", {}) for message in stored]
    [call] = [record for record in records if record.get("kind") == "call"]
    assert call["status"] == "interrupted"
    assert call["result"].startswith("The chat or its server was shut down.")
    assert stored[-1]["body"].startswith("Stopped. The chat or its server was shut down.")
    outcomes = [record for record in gateways.records() if record["kind"] == "outcome"]
    assert sorted((record["call"], record["outcome"]) for record in outcomes) == [
        ("c1", "interrupted"),
        ("c2", "interrupted"),
    ]
