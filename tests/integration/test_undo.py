"""Undoing a turn: in the page that has a notebook open and in files, also after a restart."""

from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from caesarion.notebooks.cells import source_hash
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.chat import Chat, open_chat, shown_change
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call
from tests.page import OpenPage, open_page
from tests.server import RunningServer, eventually, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

NOTE = "Variables and files are as they are."


def write(root: Path, path: str) -> nbformat.NotebookNode:
    """Write a notebook of cells "title", "one", "two" and "three"; return it."""
    notebook: nbformat.NotebookNode = new_notebook(
        cells=[
            new_markdown_cell("# Rain", id="title"),
            new_code_cell(
                "x = 1",
                id="one",
                execution_count=1,
                metadata={"tags": ["kept"]},
                outputs=[new_output("stream", name="stdout", text="seen\n")],
            ),
            new_code_cell("x + 1", id="two"),
            new_code_cell("x + 2", id="three"),
        ]
    )
    nbformat.write(notebook, root / path)
    return notebook


def edit(source: str, base: str = "x = 1", cell: str = "one") -> Any:
    arguments = {"cell_id": cell, "source": source, "base_hash": source_hash(base)}
    return ToolCalls(call("edit_cell", arguments))


def insert(source: str, after: str | None, **more: Any) -> Any:
    return ToolCalls(call("insert_cell", {"after": after, "source": source, **more}))


def delete(cell: str, base: str) -> Any:
    return ToolCalls(call("delete_cell", {"cell_id": cell, "base_hash": source_hash(base)}))


def move(cell: str, after: str | None) -> Any:
    return ToolCalls(call("move_cell", {"cell_id": cell, "after": after}))


async def change(chat: Chat, model: OpenAIServer, path: str, *calls: Any) -> str:
    """Let the agent change the notebook at ``path``; return the question's id."""
    model.add(*calls, Text("Done."))
    turns = chat.turns
    question = await chat.send("change it", approval="auto", notebook_path=path)
    await chat.until(lambda: chat.turns > turns)
    return question


async def undo(server: RunningServer, chat: Chat, question: str) -> httpx.Response:
    async with server.browser() as http:
        return await http.post("caesarion/api/undo", json={"chat": chat.id, "message": question})


async def turns(server: RunningServer, chat: Chat) -> Json:
    async with server.client() as http:
        states: Json = (await http.get("caesarion/api/undo", params={"chat": chat.id})).json()
    return states["turns"]  # type: ignore[no-any-return]


def plain(notebook: nbformat.NotebookNode) -> list[Json]:
    """Return cells without the marks of the agent's changes."""
    cells = [dict(cell) for cell in notebook.cells]
    for cell in cells:
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k != "caesarion"}
    return cells


ALL = (
    edit("x = 2"),
    insert("first", None),
    delete("two", "x + 1"),
    move("three", "title"),
    edit("x = 3", base="x = 2"),
    delete("one", "x = 3"),
)


async def test_all_that_a_turn_did_in_a_page_is_undone(
    server: RunningServer, model: OpenAIServer
) -> None:
    before = write(server.root, "page.ipynb")
    async with open_page(server, "page.ipynb") as page, open_chat(server, "p.chat") as chat:
        question = await change(chat, model, "page.ipynb", *ALL)
        assert page.sources("page.ipynb") == ["first", "# Rain", "x + 2"]
        assert await turns(server, chat) == {question: "changed"}
        answer = chat.answer(question)
        assert [m["metadata"]["caesarion"].get("undo") for m in answer][-1] is True
        undone = await undo(server, chat, question)
        assert plain(page.models["page.ipynb"]) == plain(before)
        assert page.changes["page.ipynb"] == []
        assert undone.json() == {
            "restored": 4,
            "conflicts": [],
            "notebooks": ["page.ipynb"],
            "problems": [],
            "note": NOTE,
        }
        assert await turns(server, chat) == {question: "undone"}
        again = await undo(server, chat, question)
    assert again.status_code == 404
    assert again.json()["message"].startswith("This turn cannot be undone any more")


async def test_all_that_a_turn_did_in_a_file_is_undone(
    server: RunningServer, model: OpenAIServer
) -> None:
    before = write(server.root, "file.ipynb")
    async with open_chat(server, "f.chat") as chat:
        question = await change(chat, model, "file.ipynb", *ALL)
        assert (await undo(server, chat, question)).json()["restored"] == 4
    after = nbformat.read(server.root / "file.ipynb", as_version=4)
    nbformat.validate(after)
    assert plain(after) == plain(before)


async def test_what_a_cell_showed_before_its_run_is_shown_again(
    server: RunningServer, model: OpenAIServer
) -> None:
    before = write(server.root, "run.ipynb")
    async with open_chat(server, "r.chat") as chat:
        run = ToolCalls(call("run_cell", {"cell_id": "one"}))
        question = await change(chat, model, "run.ipynb", edit("print(9)"), run)
        ran = nbformat.read(server.root / "run.ipynb", as_version=4).cells[1]
        assert ran.outputs[0].text == "9\n"
        assert (await undo(server, chat, question)).json()["restored"] == 1
    assert plain(nbformat.read(server.root / "run.ipynb", as_version=4)) == plain(before)


async def decide(server: RunningServer, path: str, change: Json, decision: str) -> None:
    async with server.browser() as http:
        url = f"caesarion/api/approvals/{change['approval_id']}"
        operation = change["operation"]
        shown = shown_change(path, operation["kind"], operation, change["before"])
        body = {"decision": decision, "shown": shown}
        assert (await http.post(url, json=body)).status_code == 204


async def conflict(
    server: RunningServer, model: OpenAIServer, page: OpenPage, chat: Chat, path: str
) -> tuple[str, Json]:
    """Let the agent edit two cells and the person one of them; undo; return the proposal."""
    question = await change(
        chat, model, path, edit("x = 2"), edit("x + 9", base="x + 1", cell="two")
    )
    page.models[path].cells[1].source = "x = 2  # mine"
    undone = (await undo(server, chat, question)).json()
    assert (undone["restored"], undone["conflicts"]) == (1, ["one"])
    assert page.sources(path) == ["# Rain", "x = 2  # mine", "x + 1", "x + 2"]
    await page.until(lambda: [one["state"] for one in page.changes[path]] == ["proposed"])
    [proposed] = page.changes[path]
    return question, proposed


async def test_a_cell_that_was_changed_since_is_proposed_as_it_was(
    server: RunningServer, model: OpenAIServer
) -> None:
    path = "conflict.ipynb"
    write(server.root, path)
    async with open_page(server, path) as page, open_chat(server, "c.chat") as chat:
        question, proposed = await conflict(server, model, page, chat, path)
        assert (proposed["state"], proposed["before"]) == ("proposed", "x = 2  # mine")
        assert proposed["operation"]["source"] == "x = 1"
        assert proposed["chat"] == {"id": chat.id, "path": "c.chat"}
        assert await turns(server, chat) == {question: "changed"}
        await decide(server, path, proposed, "run")
        await page.until(lambda: page.changes[path] == [])
        assert page.sources(path) == ["# Rain", "x = 1", "x + 1", "x + 2"]
        assert await turns(server, chat) == {question: "undone"}


async def test_a_person_keeps_what_they_wrote_by_refusing(
    server: RunningServer, model: OpenAIServer
) -> None:
    path = "keeps.ipynb"
    write(server.root, path)
    async with open_page(server, path) as page, open_chat(server, "k.chat") as chat:
        question, proposed = await conflict(server, model, page, chat, path)
        await decide(server, path, proposed, "refuse")
        await page.until(lambda: page.changes[path] == [])
        assert page.sources(path)[1] == "x = 2  # mine"
        assert await turns(server, chat) == {question: "undone"}


async def test_a_cell_that_is_changed_while_it_is_proposed_is_proposed_again(
    server: RunningServer, model: OpenAIServer
) -> None:
    path = "again.ipynb"
    write(server.root, path)
    async with open_page(server, path) as page, open_chat(server, "a.chat") as chat:
        _, proposed = await conflict(server, model, page, chat, path)
        page.models[path].cells[1].source = "x = 2  # mine, too"
        await decide(server, path, proposed, "run")
        await page.until(
            lambda: [one["before"] for one in page.changes[path]] == ["x = 2  # mine, too"]
        )
        assert page.sources(path)[1] == "x = 2  # mine, too"
        await decide(server, path, page.changes[path][0], "run")
        await page.until(lambda: page.changes[path] == [])
        assert page.sources(path)[1] == "x = 1"


async def test_an_inserted_cell_that_was_changed_since_is_proposed_to_go(
    server: RunningServer, model: OpenAIServer
) -> None:
    path = "inserted.ipynb"
    write(server.root, path)
    async with open_page(server, path) as page, open_chat(server, "i.chat") as chat:
        question = await change(chat, model, path, insert("y = 1", "one"))
        page.models[path].cells[2].source = "y = 1  # mine"
        assert len((await undo(server, chat, question)).json()["conflicts"]) == 1
        await page.until(lambda: [one["state"] for one in page.changes[path]] == ["proposed"])
        [proposed] = page.changes[path]
        assert proposed["operation"]["kind"] == "delete"
        await decide(server, path, proposed, "run")
        await page.until(lambda: page.changes[path] == [])
        assert page.sources(path) == ["# Rain", "x = 1", "x + 1", "x + 2"]


async def test_what_the_person_did_elsewhere_stays(
    server: RunningServer, model: OpenAIServer
) -> None:
    path = "elsewhere.ipynb"
    write(server.root, path)
    async with open_page(server, path) as page, open_chat(server, "e.chat") as chat:
        question = await change(
            chat,
            model,
            path,
            delete("two", "x + 1"),
            delete("one", "x = 1"),
            edit("## R", "# Rain", "title"),
        )
        cells = page.models[path].cells
        cells[1].source = "mine"
        del cells[0]
        undone = (await undo(server, chat, question)).json()
        assert (undone["restored"], undone["conflicts"]) == (2, [])
        assert page.sources(path) == ["x = 1", "x + 1", "mine"]


async def test_undo_works_after_a_restart_of_the_server_and_of_the_page(
    provider: OpenAIServer, model: OpenAIServer, tmp_path: Path
) -> None:
    with running_server(tmp_path, model_url=provider.base_url) as server:
        before = write(server.root, "kept.ipynb")
        async with open_page(server, "kept.ipynb") as page, open_chat(server, "k.chat") as chat:
            question = await change(chat, model, "kept.ipynb", *ALL)
            page.save("kept.ipynb")
        server.process.kill()
        server.process.wait()
    with running_server(tmp_path, model_url=provider.base_url) as server:
        async with open_page(server, "kept.ipynb") as page, open_chat(server, "k.chat") as chat:
            assert await turns(server, chat) == {question: "changed"}
            assert (await undo(server, chat, question)).json()["restored"] == 4
            assert plain(page.models["kept.ipynb"]) == plain(before)


async def test_a_turn_that_its_server_did_not_live_to_end_can_be_undone(
    provider: OpenAIServer, model: OpenAIServer, tmp_path: Path
) -> None:
    with running_server(tmp_path, model_url=provider.base_url) as server:
        write(server.root, "cut.ipynb")
        hang = ToolCalls(call("python_interpreter", {"code": "import time; time.sleep(60)"}))
        model.add(edit("x = 2"), hang)
        async with open_chat(server, "c.chat") as chat:
            question = await chat.send("change it", approval="auto", notebook_path="cut.ipynb")
            await eventually(lambda: "time.sleep" in (server.root / "c.chat").read_text())
            server.process.kill()
            server.process.wait()
    with running_server(tmp_path, model_url=provider.base_url) as server:
        async with open_chat(server, "c.chat") as chat:
            # The persona comes after the chat.
            await chat.until(lambda: "undo" in chat.answer(question)[-1]["metadata"]["caesarion"])
            assert chat.answer(question)[-1]["metadata"]["caesarion"]["status"] == "interrupted"
            assert (await undo(server, chat, question)).json()["restored"] == 1
        cells = nbformat.read(server.root / "cut.ipynb", as_version=4).cells
    assert cells[1].source == "x = 1"


async def test_a_notebook_that_is_gone_is_a_problem_in_a_sentence(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server.root, "gone.ipynb")
    async with open_chat(server, "g.chat") as chat:
        question = await change(chat, model, "gone.ipynb", edit("x = 2"))
        (server.root / "gone.ipynb").unlink()
        undone = (await undo(server, chat, question)).json()
        assert await turns(server, chat) == {question: "changed"}
    assert undone["restored"] == 0
    [problem] = undone["problems"]
    assert problem.startswith("There is no notebook 'gone.ipynb'.")


async def test_a_token_cannot_undo(server: RunningServer, http: httpx.AsyncClient) -> None:
    told = await http.post("caesarion/api/undo", json={"chat": "c0ffee", "message": "m1"})
    assert told.status_code == 403
    assert told.json() == {"message": "A token cannot undo for a person. Undo in the browser."}
