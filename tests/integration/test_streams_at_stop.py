"""A response that is under way when its server is stopped ends with a status, over real HTTP."""

import json
from typing import Any

import httpx
import pytest
from nbformat import v4, writes

from tests.chat import code
from tests.fakes.openai_server import OpenAIServer
from tests.server import eventually, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

STOPPED = "The server is being stopped."
ENDLESS = "import time\nprint('be' + 'gan', flush=True)\nwhile True: time.sleep(0.1)"

BODIES: dict[str, tuple[dict[str, Any], str, list[Any]]] = {
    "chat": (
        {"messages": [{"role": "user", "content": "loop"}]},
        "began",
        [("error", {"message": STOPPED}), ("done", {"reason": "cancelled"})],
    ),
    "execute": (
        {"code": ENDLESS},
        "began",
        [{"status": "aborted", "execution_count": None, "message": STOPPED}],
    ),
    "notebooks/run": (
        {"path": "endless.ipynb"},
        '{"cell": 1',
        [{"status": "error", "message": f"{STOPPED} The notebook is as it was."}],
    ),
}


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


@pytest.mark.parametrize("route", BODIES)
async def test_a_response_under_way_ends_with_a_status_when_the_server_stops(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory, route: str
) -> None:
    body, sign, ends = BODIES[route]
    folder = tmp_path_factory.mktemp("stop")
    with running_server(folder, model_url=provider.base_url) as server:
        notebook = v4.new_notebook(cells=[v4.new_code_cell(ENDLESS)])
        (server.root / "endless.ipynb").write_text(writes(notebook))
        was = (server.root / "endless.ipynb").read_bytes()
        provider.add(code(ENDLESS))
        async with (
            httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=30) as http,
            http.stream("POST", f"caesarion/api/{route}", json=body) as answer,
        ):
            read = ""
            async for text in answer.aiter_text():
                if sign in text and server.process.poll() is None:
                    server.process.terminate()
                read += text
        assert pieces(route, read)[-len(ends) :] == ends
        await eventually(lambda: server.process.poll() is not None, 20)
        assert server.process.returncode == 0
        assert (server.root / "endless.ipynb").read_bytes() == was
        assert server.failures == []
