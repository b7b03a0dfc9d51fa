"""The agent reads and changes notebooks: open in a page, in a file, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import nbformat
import pytest
import pytest_asyncio
from caesarion.notebooks.cells import source_hash
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.chat import open_chat, shown_change
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call
from tests.page import OpenPage, cookies_of, open_page
from tests.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

REFUSING = "--ServerApp.contents_manager_class=tests.fakes.refusing_contents.RefusingContents"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    with running_server(
        tmp_path_factory.mktemp("notebooks"), model_url=provider.base_url, arguments=[REFUSING]
    ) as server:
        yield server
    assert server.failures == []


def write(server: RunningServer, path: str) -> None:
    """Write a notebook of three cells: "title", "one" and "two"."""
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# Rain", id="title"),
            new_code_cell("x = 1", id="one"),
            new_code_cell("x + 1", id="two"),
        ]
    )
    (server.root / path).parent.mkdir(exist_ok=True)
    nbformat.write(notebook, server.root / path)


def read(server: RunningServer, path: str) -> nbformat.NotebookNode:
    """Return the notebook of a file, which is valid."""
    notebook: nbformat.NotebookNode = nbformat.read(server.root / path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def sources(server: RunningServer, path: str) -> list[str]:
    return [cell.source for cell in read(server, path).cells]


def heard(model: OpenAIServer, count: int = 1) -> list[str]:
    """Return what the model was told of its last calls."""
    return [str(message["content"]) for message in model.requests[-1].body["messages"][-count:]]


def edit(source: str, base: str = "x = 1", id: str = "c1", **more: Any) -> Any:
    arguments = {"cell_id": "one", "source": source, "base_hash": source_hash(base), "why": "so"}
    return call("edit_cell", {**arguments, **more}, id=id)


async def test_a_notebook_that_is_open_is_read_and_edited_in_its_page(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "open.ipynb")
    model.add(ToolCalls(call("read_notebook", {})), ToolCalls(edit("x = 2")), Text("Done."))
    async with open_page(server, "open.ipynb") as page, open_chat(server, "o.chat") as chat:
        page.models["open.ipynb"].cells[0].source = "# Rain in June"
        stamp: Json = {"notebook_path": "open.ipynb", "notebook_page": page.id}
        answer = await chat.ask("make it 2", approval="auto", **stamp)
        assert page.sources("open.ipynb") == ["# Rain in June", "x = 2", "x + 1"]
        mark = page.models["open.ipynb"].cells[1].metadata["caesarion"]
        [applied] = page.changes["open.ipynb"]
    assert (mark["chat"], applied["state"], applied["before"]) == (chat.id, "applied", "x = 1")
    assert answer[-1]["body"] == "Done."
    assert "| # Rain in June" in str(model.requests[1].body["messages"][-1]["content"])
    assert sources(server, "open.ipynb") == ["# Rain", "x = 1", "x + 1"]


async def test_a_notebook_that_is_not_open_is_read_and_edited_in_its_file(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "closed.ipynb")
    path = {"path": "closed.ipynb"}
    model.add(ToolCalls(call("read_notebook", path)), ToolCalls(edit("x = 2", **path)), Text("."))
    async with open_chat(server, "c.chat") as chat:
        await chat.ask("make it 2 in closed.ipynb", approval="auto")
    assert sources(server, "closed.ipynb") == ["# Rain", "x = 2", "x + 1"]


async def test_cells_are_inserted_moved_and_deleted_in_two_notebooks_of_one_turn(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "first.ipynb")
    write(server, "second.ipynb")
    first, second = {"path": "first.ipynb"}, {"path": "second.ipynb"}
    new = {"after": "title", "source": "new", **first}
    gone = {"cell_id": "two", "base_hash": source_hash("x + 1"), **second}
    model.add(
        ToolCalls(
            call("insert_cell", {**new, "type": "markdown"}, id="c1"),
            call("insert_cell", {**new, "source": "newer"}, id="c2"),
            call("delete_cell", gone, id="c3"),
            call("move_cell", {"cell_id": "one", "after": None, **second}, id="c4"),
            call("edit_cell", {**gone, "source": "5"}, id="c5"),
        ),
        Text("Done."),
    )
    async with open_page(server, "second.ipynb") as page, open_chat(server, "2.chat") as chat:
        await chat.ask("tidy up", approval="auto")
        assert page.sources("second.ipynb") == ["x = 1", "# Rain"]
    assert sources(server, "first.ipynb") == ["# Rain", "new", "newer", "x = 1", "x + 1"]
    assert [cell.cell_type for cell in read(server, "first.ipynb").cells[1:3]] == [
        "markdown",
        "code",
    ]
    told = heard(model, 5)
    assert told[2] == "The cell two of 'second.ipynb' is deleted."
    assert told[3] == "The cell one of 'second.ipynb' was moved."
    assert told[4].startswith("There is no cell of the id 'two' among the 2 cells")


@pytest.mark.parametrize("is_open", [False, True], ids=["in its file", "in a page"])
async def test_a_stale_edit_is_refused_with_the_source_and_made_again(
    server: RunningServer, model: OpenAIServer, is_open: bool
) -> None:
    write(server, "stale.ipynb")
    path = {"path": "stale.ipynb"}
    model.add(
        ToolCalls(edit("x = 2", base="x = 0", **path)),
        ToolCalls(edit("x = 2", **path)),
        Text("Done."),
    )
    async with open_page(server) as page, open_chat(server, "stale.chat") as chat:
        if is_open:
            await page.open("stale.ipynb")
        await chat.ask("make it 2", approval="auto")
        if is_open:
            page.save("stale.ipynb")
    assert sources(server, "stale.ipynb")[1] == "x = 2"
    told = str(model.requests[1].body["messages"][-1]["content"])
    assert told == (
        "The cell 'one' is not as it was when you read it, so nothing was changed. Call again "
        f"with what fits its source as it is now (base_hash {source_hash('x = 1')}):\n| x = 1"
    )


async def test_a_cell_that_its_person_edits_while_a_change_waits_stays_theirs(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "meanwhile.ipynb")
    model.add(ToolCalls(edit("x = 2")), Text("Then not."))
    async with open_page(server, "meanwhile.ipynb") as page, open_chat(server, "m.chat") as chat:
        await chat.send("make it 2", approval="ask", notebook_path="meanwhile.ipynb")
        await page.until(lambda: len(page.changes["meanwhile.ipynb"]) == 1)
        page.models["meanwhile.ipynb"].cells[1].source = "x = 'mine'"
        await decide(server, "meanwhile.ipynb", page.changes["meanwhile.ipynb"][0], decision="run")
        await chat.until(lambda: chat.turns == 1)
        assert page.sources("meanwhile.ipynb") == ["# Rain", "x = 'mine'", "x + 1"]
        assert page.changes["meanwhile.ipynb"] == []
    assert heard(model)[0].endswith("| x = 'mine'")


async def test_a_person_accepts_a_change_with_a_source_of_their_own(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "edited.ipynb")
    model.add(ToolCalls(edit("x = 2")), Text("Three, then."))
    async with open_page(server, "edited.ipynb") as page, open_chat(server, "e.chat") as chat:
        question = await chat.send("two", approval="ask", notebook_path="edited.ipynb")
        await page.until(lambda: len(page.changes["edited.ipynb"]) == 1)
        await decide(
            server, "edited.ipynb", page.changes["edited.ipynb"][0], decision="run", code="x = 3"
        )
        await chat.until(lambda: chat.turns == 1)
        assert page.sources("edited.ipynb")[1] == "x = 3"
        assert page.changes["edited.ipynb"] == []
        record = chat.answer(question)[0]["metadata"]["caesarion"]
    assert (record["change"]["source"], record["decided"]["edited"]) == ("x = 3", True)
    assert heard(model)[0].startswith(
        "The user edited the source. This is what was used:\n```\nx = 3\n```\nThe cell one of "
    )


@pytest.mark.parametrize("is_open", [False, True], ids=["in its file", "in a page"])
async def test_two_turns_at_once_change_one_notebook_without_losing_anything(
    server: RunningServer, provider: OpenAIServer, model: OpenAIServer, is_open: bool
) -> None:
    write(server, "both.ipynb")
    count = 6
    new = {"path": "both.ipynb", "after": "two"}
    for turn in "ab":
        sources_of_turn = [f"{turn}{number}" for number in range(count)]
        model.add(
            ToolCalls(
                *(call("insert_cell", {**new, "source": one}, id=one) for one in sources_of_turn)
            )
        )
    model.add(Text("Done."), Text("Done."))
    async with (
        open_page(server) as page,
        open_chat(server, "a.chat") as one,
        open_chat(server, "b.chat") as other,
    ):
        if is_open:
            await page.open("both.ipynb")
        await asyncio.gather(one.ask("a", approval="auto"), other.ask("b", approval="auto"))
        if is_open:
            page.save("both.ipynb")
    added = sources(server, "both.ipynb")[3:]
    assert sorted(added) == [f"{turn}{number}" for turn in "ab" for number in range(count)]
    for turn in "ab":
        of_turn = [source for source in added if source.startswith(turn)]
        assert of_turn == sorted(of_turn)


async def test_a_contents_manager_that_refuses_is_told_and_nothing_is_changed(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "locked/a.ipynb")
    model.add(ToolCalls(edit("x = 2", path="locked/a.ipynb")), Text("It is archived."))
    async with open_chat(server, "l.chat") as chat:
        await chat.ask("make it 2", approval="auto")
    assert heard(model) == [
        "The notebook could not be saved as 'locked/a.ipynb': Notebooks of this folder are "
        "archived."
    ]
    assert sources(server, "locked/a.ipynb") == ["# Rain", "x = 1", "x + 1"]


@pytest.mark.parametrize("vanishes", ["before", "after", "saved"])
async def test_a_page_that_is_closed_while_a_change_is_applied_loses_and_repeats_nothing(
    server: RunningServer, model: OpenAIServer, vanishes: Any
) -> None:
    path = f"gone-{vanishes}.ipynb"
    write(server, path)
    new = call("insert_cell", {"after": "one", "source": "new"})
    model.add(ToolCalls(new), Text("Done."))
    async with open_page(server, path) as page, open_chat(server, f"{vanishes}.chat") as chat:
        page.vanishes = vanishes
        stamp: Json = {"notebook_path": path, "notebook_page": page.id}
        await chat.ask("insert", approval="auto", **stamp)
    assert sources(server, path) == ["# Rain", "x = 1", "new", "x + 1"]
    assert heard(model)[0].startswith(f"The new cell of {path!r} has the id ")


async def test_stop_withdraws_the_changes_that_wait(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "stop.ipynb")
    model.add(ToolCalls(edit("x = 2"), edit("y", base="x + 1", id="c2", cell_id="two")))
    async with open_page(server, "stop.ipynb") as page, open_chat(server, "s.chat") as chat:
        question = await chat.send("change", approval="ask", notebook_path="stop.ipynb")
        await page.until(lambda: len(page.changes["stop.ipynb"]) == 2)
        await chat.stop()
        await page.until(lambda: page.changes["stop.ipynb"] == [])
        calls = [one["metadata"]["caesarion"] for one in chat.answer(question)][:2]
        assert page.sources("stop.ipynb") == ["# Rain", "x = 1", "x + 1"]
    assert [(one["status"], one["result"]) for one in calls] == [
        (
            "interrupted",
            "The user stopped this call. It had not run, as it waited for the user's decision.",
        )
    ] * 2


async def test_a_server_that_is_killed_while_changes_wait_leaves_nothing_behind(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    model.add(ToolCalls(edit("x = 2")), Text("It was not made."))
    with running_server(folder, model_url=provider.base_url) as server:
        write(server, "a.ipynb")
        async with open_page(server, "a.ipynb") as page, open_chat(server, "a.chat") as chat:
            await chat.send("two", approval="ask", notebook_path="a.ipynb")
            await page.until(lambda: len(page.changes["a.ipynb"]) == 1)
            await asyncio.sleep(1)  # The chat's file is written a moment later.
            server.kill()
    with running_server(folder, model_url=provider.base_url) as server:
        async with open_page(server, "a.ipynb") as page, open_chat(server, "a.chat") as chat:
            assert page.changes["a.ipynb"] == []
            await chat.ask("was it made?")
            assert page.sources("a.ipynb") == ["# Rain", "x = 1", "x + 1"]
    told = [message["content"] for message in model.requests[-1].body["messages"]]
    assert "The server stopped while this call waited for the user's decision" in str(told)
    assert sources(server, "a.ipynb") == ["# Rain", "x = 1", "x + 1"]


async def decide(server: RunningServer, path: str, change: Json, **decision: Any) -> None:
    async with server.browser() as http:
        url = f"caesarion/api/approvals/{change['approval_id']}"
        operation = change["operation"]
        shown = shown_change(path, operation["kind"], operation, change["before"])
        assert (await http.post(url, json={**decision, "shown": shown})).status_code == 204


async def show_another(server: RunningServer, page: OpenPage, change: Json) -> None:
    """Decide about a change as a page that shows another source; nothing is decided."""
    another = {**change["operation"], "source": "first, or not"}
    page.changes["ask.ipynb"] = []
    async with server.browser() as http:
        url = f"caesarion/api/approvals/{change['approval_id']}"
        body = {"decision": "run", "shown": shown_change("ask.ipynb", "insert", another, None)}
        assert (await http.post(url, json=body)).status_code == 409
    await page.until(lambda: bool(page.changes["ask.ipynb"]))
    assert page.changes["ask.ipynb"][0] == change


async def test_the_changes_of_one_answer_wait_together_and_are_decided_in_any_order(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "ask.ipynb")
    new = {"after": "one", "type": "code", "why": "so"}
    first = call("insert_cell", {**new, "source": "first"}, id="c1")
    second = call("insert_cell", {**new, "source": "second"}, id="c2")
    model.add(ToolCalls(first, second, edit("x = 3", id="c3")), Text("Done."))
    async with open_page(server, "ask.ipynb") as page, open_chat(server, "ask.chat") as chat:
        question = await chat.send(
            "do it", approval="ask", notebook_path="ask.ipynb", notebook_page=page.id
        )
        await page.until(lambda: len(page.changes["ask.ipynb"]) == 3)
        changes = page.changes["ask.ipynb"]
        await show_another(server, page, changes[0])
        assert [change["operation"]["kind"] for change in changes] == ["insert", "insert", "edit"]
        assert page.sources("ask.ipynb") == ["# Rain", "x = 1", "x + 1"]
        await decide(server, "ask.ipynb", changes[2], decision="refuse", reason="no")
        await decide(server, "ask.ipynb", changes[1], decision="run")
        await page.until(lambda: len(page.sources("ask.ipynb")) == 4)
        assert chat.status == "is waiting for you..."
        await decide(server, "ask.ipynb", changes[0], decision="run")
        await chat.until(lambda: chat.turns == 1)
        assert page.sources("ask.ipynb") == ["# Rain", "x = 1", "first", "second", "x + 1"]
        assert page.changes["ask.ipynb"] == []
        records = [message["metadata"]["caesarion"] for message in chat.answer(question)]
    told = heard(model, 3)
    assert told[2] == "The user refused this call. Their reason: no"
    assert told[0].startswith("The new cell of 'ask.ipynb' has the id ")
    cards = [record["change"] for record in records if record["kind"] == "call"]
    assert [card["source"] for card in cards] == ["first", "second", "x = 3"]
    assert cards[2] == {
        "id": changes[2]["id"],
        "path": "ask.ipynb",
        "cell_id": "one",
        "cell_type": None,
        "operation": "edit",
        "after": None,
        "source": "x = 3",
        "before": "x = 1",
        "why": "so",
    }


async def ask_over_http(server: RunningServer, **question: Any) -> None:
    """Ask as a program does, and wait for the end of the turn."""
    body = {"messages": [{"role": "user", "content": "go"}], "approval": "auto", **question}
    async with server.client() as http:
        answer = await http.post("caesarion/api/chat", json=body)
    assert answer.text.endswith('event: done\ndata: {"reason": "stop"}\n\n')


async def test_a_program_reads_and_changes_the_notebook_that_it_names(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "http.ipynb")
    read_one = call("read_notebook", {"cells": ["one"]})
    model.add(ToolCalls(read_one), ToolCalls(edit("x = 2")), Text("Done."))
    await ask_over_http(server, notebook_path="/http.ipynb")
    assert sources(server, "http.ipynb") == ["# Rain", "x = 2", "x + 1"]
    told = str(model.requests[1].body["messages"][-1]["content"])
    assert f"Cell 2: id one, code not run, hash {source_hash('x = 1')}\n| x = 1" in told


async def test_without_a_notebook_in_front_the_model_is_told_to_name_one(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(ToolCalls(call("read_notebook", {})), Text("Which one?"))
    await ask_over_http(server)
    assert heard(model) == [
        "No notebook is in front of the user, so there is none to take by default. Give the path "
        "of the notebook, from the folder that JupyterLab shows as its root."
    ]


async def test_applied_changes_are_kept_or_undone_by_the_person(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "marks.ipynb")
    gone = {"cell_id": "two", "base_hash": source_hash("x + 1")}
    model.add(
        ToolCalls(
            edit("x = 2", id="c1"),
            call("delete_cell", gone, id="c2"),
            call("edit_cell", {"cell_id": "title", "source": "#", "base_hash": "?"}, id="c3"),
        ),
        Text("Done."),
    )
    async with open_page(server, "marks.ipynb") as page, open_chat(server, "k.chat") as chat:
        page.models["marks.ipynb"].cells[2].outputs = [new_output("stream", text="2\n")]
        await chat.ask("change", approval="accept-edits", notebook_path="marks.ipynb")
        assert page.sources("marks.ipynb") == ["# Rain", "x = 2"]
        # Outputs are sent to keep the notebook for an undo, and to bring back what is deleted.
        reads = [one["params"]["outputs"] for one in page.requests if one["method"] == "read"]
        assert reads == ["none", "all", "none", "all", "none"]
        edited, deleted = (change["id"] for change in page.changes["marks.ipynb"])
        body = {"path": "marks.ipynb", "ids": [deleted, "nobody's"], "decision": "undo"}
        async with server.client() as program:
            refused = await program.post("caesarion/api/changes", json=body)
        async with server.browser() as http:
            undone = await http.post("caesarion/api/changes", json=body)
            assert page.sources("marks.ipynb") == ["# Rain", "x = 2", "x + 1"]
            assert page.models["marks.ipynb"].cells[2].outputs[0].text == "2\n"
            page.models["marks.ipynb"].cells[1].source = "x = 'mine'"
            body = {**body, "ids": [edited]}
            stale = await http.post("caesarion/api/changes", json=body)
            assert page.sources("marks.ipynb")[1] == "x = 'mine'"
            assert [change["id"] for change in page.changes["marks.ipynb"]] == [edited]
            await http.post("caesarion/api/changes", json={**body, "decision": "keep"})
        await page.until(lambda: page.changes["marks.ipynb"] == [])
    assert (refused.status_code, undone.status_code) == (403, 200)
    assert refused.json()["message"].startswith("A token cannot decide for a person")
    assert undone.json() == {"undone": [deleted], "problems": {}}
    assert stale.json() == {
        "undone": [],
        "problems": {edited: "The cell was changed since, so it stays as it is."},
    }


async def refused_socket(server: RunningServer, headers: dict[str, str]) -> int:
    """Return the status with which a page is refused that connects with ``headers``."""
    async with aiohttp.ClientSession(headers=headers) as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{server.url}caesarion/api/page")
    return refused.value.status


async def test_only_the_session_of_a_browser_of_this_origin_is_a_page(
    server: RunningServer,
) -> None:
    async with server.browser() as browser:
        cookie = {"Cookie": cookies_of(browser)}
    assert await refused_socket(server, {}) == 403
    assert await refused_socket(server, server.headers) == 403
    assert await refused_socket(server, {**cookie, **server.headers}) == 403
    assert await refused_socket(server, {**cookie, "Origin": "https://elsewhere.test"}) == 403


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("no JSON", "A message is a JSON object with a type."),
        ("[]", "A message is a JSON object with a type."),
        ('{"type": "other"}', "The message is not right: type: Input should be 'notebooks'."),
        ('{"type": "notebooks", "page": "p", "open": 1}', "The message is not right: open: "),
        ('{"type": "reply", "id": "x"}', "The message is not right: id: Input should be a valid"),
    ],
)
async def test_a_message_that_cannot_be_read_closes_the_connection_with_the_reason(
    server: RunningServer, message: str, reason: str
) -> None:
    async with (
        server.browser() as browser,
        aiohttp.ClientSession(headers={"Cookie": cookies_of(browser)}) as http,
        http.ws_connect(f"{server.url}caesarion/api/page") as socket,
    ):
        await socket.send_str(message)
        closed = await socket.receive()
    assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1007)
    assert str(closed.extra).startswith(reason)


async def test_markdown_that_the_agent_writes_into_a_notebook_loads_nothing(
    server: RunningServer, model: OpenAIServer
) -> None:
    write(server, "pictures.ipynb")
    picture, link = "![a](http://example.org/?secret)", "[Picture: a](http://example.org/?secret)"
    path = {"path": "pictures.ipynb"}
    new = {"after": "title", "type": "markdown", "source": picture, "why": "so", **path}
    code = {**new, "type": "code", "source": f"# {picture}"}
    title = edit(picture, "# Rain", id="c3", cell_id="title", **path)
    calls = call("insert_cell", new, id="c1"), call("insert_cell", code, id="c2"), title
    model.add(ToolCalls(*calls), Text("."))
    async with open_chat(server, "p.chat") as chat:
        await chat.ask("add a picture", approval="auto")
    assert sources(server, "pictures.ipynb") == [link, link, f"# {picture}", "x = 1", "x + 1"]
