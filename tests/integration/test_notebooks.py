"""Chats saved as notebooks and run again, over HTTP and against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
import pytest_asyncio

from tests.chat import code, open_chat
from tests.fakes.openai_server import Fault, OpenAIServer, Text
from tests.server import RunningServer, eventually, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    with running_server(
        tmp_path_factory.mktemp("notebooks"),
        model_url=provider.base_url,
        environment={
            "CAESARION_KERNEL_PREWARM": "0",  # as kernels are counted here
            "CAESARION_MODEL_RETRIES": "0",
        },
    ) as server:
        yield server
    assert server.failures == []


def read(path: Path) -> Any:
    """Return a notebook that is valid."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def write(server: RunningServer, name: str, *sources: str, **metadata: Any) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    (server.root / name).parent.mkdir(parents=True, exist_ok=True)
    (server.root / name).write_text(nbformat.writes(notebook))


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


async def save(http: httpx.AsyncClient, chat: str) -> str:
    answer = await http.post("caesarion/api/notebooks", json={"chat": chat})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["path"])


async def run(http: httpx.AsyncClient, path: str) -> list[Json]:
    answer = await http.post("caesarion/api/notebooks/run", json={"path": path})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def kernels(http: httpx.AsyncClient) -> list[str]:
    return [kernel["id"] for kernel in (await http.get("api/kernels")).json()]


async def test_a_chat_with_a_plot_and_a_mended_failure_is_saved_and_runs_from_top_to_bottom(
    server: RunningServer, http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    failing = "import math\nx = 41\nprint(y)"
    model.add(code(PLOT), code(failing, "c2"), code("print(x + 1)", "c3"), Text("It is **42**."))
    async with open_chat(server, "chats/Rain.chat") as chat:
        await chat.ask("plot, and count")
        path = await save(http, "chats/Rain.chat")
    before = await kernels(http)
    saved = read(server.root / path)
    plot, failed, counted = code_cells(saved)
    assert path == "Rain.ipynb"
    assert [cell.source for cell in (plot, failed, counted)] == [PLOT, failing, "print(x + 1)"]
    assert [cell.execution_count for cell in (plot, failed, counted)] == [1, 2, 3]
    assert plot.outputs[0].data["image/png"].startswith("iVBOR")
    assert (failed.outputs[0].output_type, failed.outputs[0].ename) == ("error", "NameError")
    assert printed(counted) == "42\n"
    assert failed.metadata["tags"] == ["raises-exception"]
    assert saved.cells[1].source.endswith("**\n\nplot, and count")
    assert saved.cells[-1].source == "**Caesarion**\n\nIt is **42**."
    assert saved.metadata["kernelspec"]["name"] == "python3"
    assert await run(http, path) == [
        {"cell": 1, "of": 3},
        {"cell": 2, "of": 3},
        {"cell": 3, "of": 3},
        {"status": "ok"},
    ]
    plot, failed, counted = code_cells(read(server.root / path))
    assert plot.outputs[0].data["image/png"].startswith("iVBOR")
    assert failed.outputs[0].ename == "NameError"
    assert printed(counted) == "42\n"
    assert await kernels(http) == before


async def test_an_open_chat_is_saved_as_it_is_now_and_a_closed_one_from_its_file(
    server: RunningServer, http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    model.add(Fault("stall_mid_stream", after=Text("Once ", "upon")))
    async with open_chat(server, "chats/now.chat") as chat:
        question = await chat.send("tell a story")
        await chat.until(lambda: "Once upon" in str(chat.answer(question)))
        open_now = read(server.root / await save(http, "chats/now.chat"))
        await chat.stop()
    closed = read(server.root / await save(http, "/chats/now.chat"))
    assert open_now.cells[-1].source == "**Caesarion**\n\nOnce upon"
    assert [cell.source for cell in closed.cells[-2:]] == ["**Caesarion**\n\nOnce upon", "Stopped."]


async def test_the_server_answers_others_while_it_saves_a_crafted_chat(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    words = {"sender": "x", "body": "<a " * 500_000}
    messages = [{"id": str(number), "time": number, **words} for number in range(4)]
    (server.root / "crafted.chat").write_text(json.dumps({"messages": messages}))
    saving = asyncio.create_task(save(http, "crafted.chat"))
    answered = 0
    while not saving.done():
        answered += (await http.get("caesarion/api/status")).status_code == 200
    assert answered > 5
    (server.root / await saving).unlink()


async def test_a_notebook_never_takes_the_place_of_another(
    server: RunningServer, http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    (server.root / "same.ipynb").write_text("mine")
    model.add(Text("Hi."))
    async with open_chat(server, "chats/same.chat") as chat:
        await chat.ask("hello")
        assert await save(http, "chats/same.chat") == "same (2).ipynb"
        assert await save(http, "chats/same.chat") == "same (3).ipynb"
    assert (server.root / "same.ipynb").read_text() == "mine"
    assert not [path for path in server.root.iterdir() if path.name.endswith(".new")]


async def test_code_that_was_stopped_is_kept_and_not_run_again(
    server: RunningServer, http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    endless = "print('began', flush=True)\nwhile True: pass"
    model.add(code(endless), code("print(6 * 7)", "c2"), Text("Fine."))
    async with open_chat(server, "chats/stopped.chat") as chat:
        question = await chat.send("loop")
        await chat.until(lambda: "began" in json.dumps(chat.answer(question)[1:]))
        await chat.stop()
        await chat.ask("and now?")
        path = await save(http, "chats/stopped.chat")
    saved = read(server.root / path)
    assert [cell.source for cell in code_cells(saved)] == ["print(6 * 7)"]
    (kept,) = [cell.source for cell in saved.cells if "while True" in cell.source]
    assert "*This was stopped, so it is not run again.*" in kept
    assert "began" in kept
    assert (await run(http, path))[-1] == {"status": "ok"}


async def test_a_failing_cell_ends_the_run_and_is_told_with_its_number(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    write(server, "deep/fails.ipynb", "import os; print(os.getcwd())", "1 / 0", "print('never')")
    before = await kernels(http)
    assert await run(http, "deep/fails.ipynb") == [
        {"cell": 1, "of": 3},
        {"cell": 2, "of": 3},
        {
            "status": "error",
            "cell": 2,
            "message": "Cell 2 failed. ZeroDivisionError: division by zero",
        },
    ]
    first, failed, never = code_cells(read(server.root / "deep/fails.ipynb"))
    assert printed(first) == f"{server.root}/deep\n"
    assert failed.outputs[0].ename == "ZeroDivisionError"
    assert (never.outputs, never.execution_count) == ([], None)
    assert await kernels(http) == before


async def test_a_cell_that_takes_too_long_is_told(server: RunningServer) -> None:
    folder = server.root.parent / "limited"
    limit = {"CAESARION_KERNEL_TIME_LIMIT": "6"}
    with running_server(folder, model_url="http://127.0.0.1:9/v1", environment=limit) as other:
        write(other, "slow.ipynb", "import time; time.sleep(60)")
        async with other.client() as http:
            lines = await run(http, "slow.ipynb")
        assert other.failures == []
    # After five seconds it said so again.
    assert lines[:-1] == [{"cell": 1, "of": 1}] * 2
    assert lines[-1] == {
        "status": "error",
        "cell": 1,
        "message": "Cell 1 ran for longer than 6 seconds and was stopped.",
    }


async def test_a_cell_that_ends_its_kernel_is_told_though_kernels_are_restarted_at_once(
    server: RunningServer,
) -> None:
    with running_server(
        server.root.parent / "restarting",
        model_url="http://127.0.0.1:9/v1",
        environment={"CAESARION_KERNEL_PREWARM": "0"},
        arguments=["--AsyncIOLoopKernelRestarter.time_to_dead=0.05"],
    ) as other:
        write(other, "dies.ipynb", "import os; os._exit(1)")
        async with other.client() as http:
            assert (await run(http, "dies.ipynb"))[-1] == {
                "status": "error",
                "cell": 1,
                "message": "Cell 1 did not end. The kernel ended itself with exit code 1, as by "
                "os._exit(1).",
            }
            assert len(other.processes()) - len(await kernels(http)) == 1
        assert other.failures == []


async def test_an_exit_ends_the_run_and_is_a_failure_if_cells_come_after_it(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    write(server, "leaves.ipynb", "print(1)\nexit()", "print(2)")
    assert (await run(http, "leaves.ipynb"))[-1] == {
        "status": "error",
        "cell": 1,
        "message": "Cell 1 ended the kernel with exit(). The cells after it did not run.",
    }
    write(server, "ends.ipynb", "print(1)", "exit()")
    assert (await run(http, "ends.ipynb"))[-1] == {"status": "ok"}


async def test_what_a_cell_shows_is_capped(server: RunningServer, http: httpx.AsyncClient) -> None:
    write(server, "loud.ipynb", "for i in range(30_000): print('x' * 100)")
    assert (await run(http, "loud.ipynb"))[-1] == {"status": "ok"}
    (cell,) = code_cells(read(server.root / "loud.ipynb"))
    assert 65_536 < len(printed(cell)) < 66_000
    assert printed(cell).endswith("[... the rest was left out ...]\n")


async def test_text_is_kept_as_a_terminal_shows_it(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    write(
        server,
        "bar.ipynb",
        "import sys\nfor i in range(5_000): print(f'\\r{i:5d} of 5,000', end='')\n"
        "print('\\r\\x1b[K\\x1b[32mdone\\x1b[0m')",
    )
    assert (await run(http, "bar.ipynb"))[-1] == {"status": "ok"}
    (cell,) = code_cells(read(server.root / "bar.ipynb"))
    assert printed(cell) == "\x1b[32mdone\x1b[0m\n"


async def test_who_goes_away_ends_the_run_and_its_kernel_and_leaves_the_notebook_as_it_was(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    write(server, "left.ipynb", "print(1)", "import time; time.sleep(4)")
    was = (server.root / "left.ipynb").read_text()
    before = {process.pid for process in server.processes()}
    body = {"path": "left.ipynb"}
    async with http.stream("POST", "caesarion/api/notebooks/run", json=body) as answer:
        async for line in answer.aiter_lines():
            if json.loads(line) == {"cell": 2, "of": 2}:
                break
    await eventually(lambda: {process.pid for process in server.processes()} <= before)
    assert (server.root / "left.ipynb").read_text() == was


async def test_a_notebook_that_is_edited_while_it_runs_is_left_as_it_was_edited(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    write(server, "deep/edited.ipynb", "print(6 * 7)", "import time; time.sleep(2)")
    body = {"path": "deep/edited.ipynb"}
    async with http.stream("POST", "caesarion/api/notebooks/run", json=body) as answer:
        async for line in answer.aiter_lines():
            if json.loads(line) == {"cell": 2, "of": 2}:
                write(server, "deep/edited.ipynb", "mine")
    assert json.loads(line) == {
        "status": "ok",
        "path": "deep/edited (run 1).ipynb",
        "message": "'deep/edited.ipynb' was changed while it ran, and is as it was changed. "
        "What ran is saved as 'deep/edited (run 1).ipynb'.",
    }
    assert [cell.source for cell in read(server.root / "deep/edited.ipynb").cells] == ["mine"]
    assert printed(read(server.root / "deep/edited (run 1).ipynb").cells[0]) == "42\n"


async def test_the_server_still_ends_as_it_should_after_a_run(server: RunningServer) -> None:
    """nbclient's own way to run a notebook would have taken SIGTERM from the server."""
    with running_server(server.root.parent / "another", model_url="http://127.0.0.1:9/v1") as other:
        write(other, "brief.ipynb", "1")
        async with other.client() as http:
            assert (await run(http, "brief.ipynb"))[-1] == {"status": "ok"}
        assert other.stop() == 0


@pytest.mark.parametrize(
    "path", ["none.chat", "../secret.chat", "/etc/passwd", "link.chat", "folder.chat", "a\0.chat"]
)
async def test_a_chat_that_is_not_there_is_404_in_a_sentence(
    server: RunningServer, http: httpx.AsyncClient, path: str
) -> None:
    outside = server.root.parent / "secret.chat"
    outside.write_text('{"messages": []}')
    (server.root / "folder.chat").mkdir(exist_ok=True)
    if not (server.root / "link.chat").is_symlink():
        (server.root / "link.chat").symlink_to(outside)
    answer = await http.post("caesarion/api/notebooks", json={"chat": path})
    assert answer.status_code == 404
    shown = path.strip("/")
    assert answer.json() == {
        "message": f"There is no chat {shown!r}. Give its path, from the folder that JupyterLab "
        "shows as its root."
    }


@pytest.mark.parametrize("path", ["none.ipynb", "../x.ipynb", "folder.chat"])
async def test_a_notebook_that_is_not_there_is_404_in_a_sentence(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await http.post("caesarion/api/notebooks/run", json={"path": path})
    assert answer.status_code == 404
    assert answer.json()["message"].startswith(f"There is no notebook {path!r}.")


async def test_what_cannot_be_saved_or_run_is_409_in_a_sentence(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    (server.root / "empty.chat").write_text('{"messages": []}')
    answer = await http.post("caesarion/api/notebooks", json={"chat": "empty.chat"})
    assert answer.status_code == 409
    assert answer.json() == {"message": "There is nothing in the chat 'empty.chat' to save yet."}
    (server.root / "torn.ipynb").write_text('{"cells": [')
    answer = await http.post("caesarion/api/notebooks/run", json={"path": "torn.ipynb"})
    assert answer.status_code == 409
    assert answer.json() == {
        "message": "'torn.ipynb' cannot be read as a notebook. Open it to see why."
    }
    spec = {"name": "julia", "display_name": "Julia"}
    write(server, "julia.ipynb", "1", kernelspec=spec)
    answer = await http.post("caesarion/api/notebooks/run", json={"path": "julia.ipynb"})
    assert answer.status_code == 404
    assert answer.json() == {
        "message": "There is no kernel named 'julia' here. The kernels are: python3."
    }
