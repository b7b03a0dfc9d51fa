"""The agent runs cells of notebooks: in the page that has one open, and in files."""

import json
from collections.abc import AsyncIterator
from typing import Any

import nbformat
import pytest
import pytest_asyncio
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.chat import Chat, call_shown, open_chat, shown
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call
from tests.kernels import Gate
from tests.page import open_page
from tests.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    """With a second kernel, which says that it speaks R."""
    folder = tmp_path_factory.mktemp("runs")
    spec = folder / "jupyter" / "kernels" / "other"
    spec.mkdir(parents=True)
    shown = {"argv": ["false"], "display_name": "Other", "language": "R"}
    (spec / "kernel.json").write_text(json.dumps(shown))
    environment = {"JUPYTER_PATH": str(folder / "jupyter")}
    with running_server(folder, model_url=provider.base_url, environment=environment) as server:
        yield server
    assert server.failures == []


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def kernels_end(server: RunningServer) -> AsyncIterator[None]:
    """Shut down the notebooks' kernels, since a dozen of them stop slowly at once."""
    yield
    async with server.client() as http:
        for kernel in (await http.get("api/kernels")).json():
            await http.delete(f"api/kernels/{kernel['id']}")


def write(server: RunningServer, path: str, *sources: str, **metadata: Any) -> None:
    """Write a notebook of a Markdown cell and code cells, whose ids are "c1", "c2", ..."""
    cells = [new_code_cell(source, id=f"c{number}") for number, source in enumerate(sources, 1)]
    notebook = new_notebook(cells=[new_markdown_cell("# Rain", id="title"), *cells])
    notebook.metadata.update(metadata)
    nbformat.write(notebook, server.root / path)


def read(server: RunningServer, path: str) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(server.root / path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def runs(model: OpenAIServer, path: str, *ids: str) -> None:
    calls = [call("run_cell", {"path": path, "cell_id": id}, id=f"r{id}") for id in ids]
    model.add(*[ToolCalls(one) for one in calls], Text("Ran."))


def told(model: OpenAIServer) -> list[str]:
    """Return what the model was told of its calls."""
    messages = model.requests[-1].body["messages"]
    return [str(message["content"]) for message in messages if message["role"] == "tool"]


def text_of(cell: nbformat.NotebookNode) -> str:
    return "".join(str(output.get("text", "")) for output in cell.outputs)


def cards(chat: Chat) -> list[Json]:
    calls = [m for m in chat.messages.values() if "call" in str(m.get("metadata"))]
    return [call_shown(m) for m in calls if m["metadata"]["caesarion"]["kind"] == "call"]


async def test_a_cell_of_a_file_runs_in_its_own_kernel_and_keeps_its_outputs(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "file.ipynb", "x = 20\nprint('made')", "display('shown')\nx + 1")
    runs(model, "file.ipynb", "c1", "c2")
    async with open_chat(server, "file.chat") as chat:
        answer = await chat.ask("run it")
        [first, _] = cards(chat)
    one, two = read(server, "file.ipynb").cells[1:]
    assert (one.execution_count, text_of(one)) == (1, "made\n")
    assert two.execution_count == 2
    assert [output.output_type for output in two.outputs] == ["display_data", "execute_result"]
    assert two.outputs[1].data == {"text/plain": "21"}
    assert two.outputs[1].execution_count == 2
    assert told(model) == ["It ran as [1].\nmade", "It ran as [2].\n'shown'\n21"]
    assert (first["status"], first["place"], first["execution_count"]) == ("ok", "file.ipynb", 1)
    assert first["change"]["operation"] == "run"
    assert answer[-1]["body"] == "Ran."


async def test_outputs_appear_in_the_page_while_the_cell_runs(
    server: RunningServer, model: OpenAIServer, tmp_path: Any
) -> None:
    gate = Gate(tmp_path)
    write(server, "live.ipynb", f"print('begun', flush=True)\n{gate.code}\nprint('over')")
    runs(model, "live.ipynb", "c1")
    async with open_page(server, "live.ipynb") as page, open_chat(server, "live.chat") as chat:
        cell = page.models["live.ipynb"].cells[1]
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="old\n")]
        await chat.send("run it")
        await page.until(lambda: text_of(cell) == "begun\n")
        assert page.states[-1] == "running"
        gate.open()
        await chat.until(lambda: chat.turns == 1)
        assert (text_of(cell), cell.execution_count) == ("begun\nover\n", 1)
        assert page.states[-1] == "idle"
    assert text_of(read(server, "live.ipynb").cells[1]) == ""


async def test_a_failing_cell_keeps_its_error_and_the_model_reads_it(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "fails.ipynb", "1 / 0")
    runs(model, "fails.ipynb", "c1")
    async with open_chat(server, "fails.chat") as chat:
        answer = await chat.ask("run it")
        [card] = cards(chat)
    [error] = read(server, "fails.ipynb").cells[1].outputs
    assert (error.output_type, error.ename) == ("error", "ZeroDivisionError")
    assert "ZeroDivisionError: division by zero" in told(model)[0]
    assert card["status"] == "error"
    [shown] = [m for m in answer if m["metadata"]["caesarion"]["kind"] == "output"]
    assert "ZeroDivisionError" in str(shown["mime_model"]["data"])


async def test_markdown_empty_and_unknown_cells_are_told_in_a_sentence(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "other.ipynb", " ")
    runs(model, "other.ipynb", "title", "c1", "c9")
    async with open_chat(server, "other.chat") as chat:
        await chat.ask("run it")
    markdown, empty, unknown = told(model)
    assert markdown == "The cell 'title' is markdown, so there is nothing to run."
    assert empty == "The cell 'c1' is empty, so there is nothing to run."
    assert unknown.startswith("There is no cell of the id 'c9'")


async def test_a_cell_that_is_changed_while_it_runs_gets_no_outputs_of_the_old(
    server: RunningServer, model: OpenAIServer, tmp_path: Any
) -> None:
    gate = Gate(tmp_path)
    write(server, "edited.ipynb", f"print('begun', flush=True)\n{gate.code}\nprint('over')")
    runs(model, "edited.ipynb", "c1")
    async with open_page(server, "edited.ipynb") as page, open_chat(server, "e.chat") as chat:
        cell = page.models["edited.ipynb"].cells[1]
        await chat.send("run it")
        await page.until(lambda: text_of(cell) == "begun\n")
        cell.source, cell.outputs, cell.execution_count = "print('new')", [], None
        gate.open()
        await chat.until(lambda: chat.turns == 1)
        assert (cell.source, cell.outputs, cell.execution_count) == ("print('new')", [], None)
    [said] = told(model)
    assert said.endswith(
        "The cell was changed while it ran. Its new source stays, and it did not get these outputs."
    )
    assert "begun\nover" in said


async def test_a_file_that_is_changed_while_its_cell_runs_keeps_the_change(
    server: RunningServer, model: OpenAIServer, tmp_path: Any
) -> None:
    gate = Gate(tmp_path)
    code = f"print('begun', flush=True)\n{gate.code}"
    write(server, "beside.ipynb", code, "y = 1")
    runs(model, "beside.ipynb", "c1")
    async with open_chat(server, "beside.chat") as chat:
        await chat.send("run it")
        await chat.until(lambda: any(card["status"] == "running" for card in cards(chat)))
        write(server, "beside.ipynb", code, "y = 2")
        gate.open()
        await chat.until(lambda: chat.turns == 1)
    one, two = read(server, "beside.ipynb").cells[1:]
    assert (text_of(one), one.execution_count, two.source) == ("begun\n", 1, "y = 2")


async def test_a_stop_interrupts_the_cell_and_says_so_below_it(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "stop.ipynb", "print('begun', flush=True)\nimport time\ntime.sleep(60)")
    runs(model, "stop.ipynb", "c1")
    async with open_page(server, "stop.ipynb") as page, open_chat(server, "stop.chat") as chat:
        cell = page.models["stop.ipynb"].cells[1]
        await chat.send("run it")
        await page.until(lambda: text_of(cell) == "begun\n")
        await chat.stop()
        await page.until(lambda: "stopped" in text_of(cell))
        assert text_of(cell) == "begun\nThe run was stopped.\n"
        assert page.states[-1] == "idle"
        [card] = cards(chat)
    assert card["status"] == "interrupted"
    model.replies_left.clear()


async def test_a_task_that_goes_on_after_its_cell_shows_in_the_notebook(
    server: RunningServer, model: OpenAIServer, tmp_path: Any
) -> None:
    gate = Gate(tmp_path)
    code = (
        "import asyncio, pathlib\n"
        "async def later():\n"
        f"    while not pathlib.Path({str(gate.path)!r}).exists():\n"
        "        await asyncio.sleep(0.01)\n"
        "    print('late')\n"
        "task = asyncio.ensure_future(later())\n"
        "print('first')"
    )
    write(server, "late.ipynb", code)
    runs(model, "late.ipynb", "c1")
    async with open_page(server, "late.ipynb") as page, open_chat(server, "late.chat") as chat:
        cell = page.models["late.ipynb"].cells[1]
        await chat.ask("run it")
        assert text_of(cell) == "first\n"
        gate.open()
        await page.until(lambda: text_of(cell) == "first\nlate\n")


async def test_a_notebook_of_another_language_is_told(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "r.ipynb", "x <- 1", kernelspec={"name": "other", "display_name": "Other"})
    runs(model, "r.ipynb", "c1")
    async with open_chat(server, "r.chat") as chat:
        await chat.ask("run it")
        [card] = cards(chat)
    assert card["status"] == "refused"
    assert told(model) == [
        "The kernel speaks R, and the agent's code is Python. Open a notebook with a Python kernel."
    ]
    assert read(server, "r.ipynb").cells[1].outputs == []


async def test_a_cell_waits_for_approval_and_what_was_seen_is_what_runs(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "ask.ipynb", "print('seen')")
    runs(model, "ask.ipynb", "c1")
    async with open_page(server, "ask.ipynb") as page, open_chat(server, "ask.chat") as chat:
        await chat.send("run it", approval="ask")
        await chat.until(lambda: any("approval_id" in card for card in cards(chat)))
        [card] = cards(chat)
        assert card["change"]["source"] == "print('seen')"
        page.models["ask.ipynb"].cells[1].source = "print('not seen')"
        async with server.browser() as http:
            url = f"caesarion/api/approvals/{card['approval_id']}"
            body = {"decision": "run", "shown": shown(card)}
            assert (await http.post(url, json=body)).status_code == 204
        await chat.until(lambda: chat.turns == 1)
        assert page.models["ask.ipynb"].cells[1].outputs == []
    assert told(model) == [
        "The cell 'c1' was changed while the call waited, so it was not run. Read it again."
    ]
