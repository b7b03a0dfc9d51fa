"""Runs that outlive who asked for them, on a real server, with real kernels."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
import pytest_asyncio
from nbformat import v4

from tests.chat import code
from tests.fakes.openai_server import OpenAIServer, Text
from tests.hub import REPOSITORY
from tests.kernels import Gate
from tests.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN = 90.0

ENDED = ("completed", "failed", "cancelled", "incomplete")

Event = tuple[int, str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    with running_server(
        tmp_path_factory.mktemp("runs"),
        model_url=provider.base_url,
        environment={"CAESARION_KERNEL_PREWARM": "0", "CAESARION_RUNS_JOURNAL_BYTES": "6000000"},
    ) as server:
        yield server
    assert server.failures == []


async def begin(http: httpx.AsyncClient, route: str = "runs", **body: Any) -> dict[str, Any]:
    """Begin a run, and return it."""
    answer = await http.post(f"caesarion/api/{route}", json=body)
    assert answer.status_code == 202, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def look(http: httpx.AsyncClient, run: dict[str, Any]) -> dict[str, Any]:
    answer = await http.get(f"caesarion/api/runs/{run['id']}")
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def cancel(http: httpx.AsyncClient, run: dict[str, Any]) -> None:
    assert (await http.post(f"caesarion/api/runs/{run['id']}/cancel")).status_code == 202


async def events(
    http: httpx.AsyncClient,
    run: dict[str, Any],
    until: Callable[[Event], bool] = lambda _: False,
    **how: Any,
) -> list[Event]:
    """Return the events of a run, to its end or to the first for which ``until`` holds."""
    found: list[Event] = []
    url = f"caesarion/api/runs/{run['id']}/events"
    async with asyncio.timeout(WITHIN), http.stream("GET", url, timeout=WITHIN, **how) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["Content-Type"] == "text/event-stream"
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "event" in fields:
                event = (int(fields["id"]), fields["event"], json.loads(fields["data"]))
                found.append(event)
                if until(event):
                    return found
            if not line:
                fields = {}
    return found


def names(found: list[Event]) -> list[str]:
    return [name for _, name, _ in found]


def statuses(found: list[Event]) -> list[str]:
    return [data["status"] for _, name, data in found if name == "status"]


def is_status(status: str) -> Callable[[Event], bool]:
    return lambda event: event[1] == "status" and event[2]["status"] == status


def shown(found: list[Event]) -> str:
    """Return the text that the outputs of a run show."""
    return "".join(data["output"].get("text", "") for _, name, data in found if name == "output")


async def test_code_in_the_background_is_read_to_its_end_by_any_client(
    server: RunningServer, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    async with server.client() as first:
        source = f"print('be' + 'gan', flush=True)\n{gate.code}print(6 * 7)"
        run = await begin(first, kind="execute", code=source, session_id="outlived")
        assert run["status"] == "queued"
        before = await events(first, run, lambda event: "began" in str(event))
    async with server.client() as second:
        listing = (await second.get("caesarion/api/runs", params={"session_id": "outlived"})).json()
        assert [(one["id"], one["status"]) for one in listing["runs"]] == [
            (run["id"], "in_progress")
        ]
        gate.open()
        last = before[-1][0]
        after = await events(second, run, params={"starting_after": last})
        again = await events(second, run, headers={"Last-Event-ID": str(last)})
        whole = await events(second, run)
        ended = await look(second, run)
    assert whole == before + after
    assert again == after
    assert [number for number, _, _ in whole] == list(range(1, len(whole) + 1))
    assert statuses(whole) == ["queued", "in_progress", "completed"]
    assert shown(whole) == "began\n42\n"
    assert names(whole)[-2:] == ["result", "status"]
    assert ended["last_sequence_number"] == len(whole)
    assert (ended["kind"], ended["session_id"]) == ("execute", "outlived")
    assert (
        ended["kernel_id"]
        == next(data for _, name, data in whole if name == "running")["kernel_id"]
    )


async def test_a_question_in_the_background_has_the_events_of_its_turn(
    http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    model.add(code("6 * 7"), Text("It is ", "42."))
    question = {"messages": [{"role": "user", "content": "what is\nsix times seven?"}]}
    run = await begin(http, "chat", **question, background=True)
    found = await events(http, run)
    assert run["title"] == "what is"
    assert statuses(found) == ["queued", "in_progress", "completed"]
    assert "".join(data["delta"] for _, name, data in found if name == "text") == "It is 42."
    assert [name for name in names(found) if name not in ("text", "status")] == [
        "tool_call",
        "running",
        "output",
        "tool_result",
        "usage",
        "done",
    ]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("1 / 0", {"code": "code_error", "message": "ZeroDivisionError: division by zero"}),
        ("import os; os._exit(1)", {"code": "kernel_died"}),
    ],
)
async def test_code_that_fails_ends_its_run_as_failed(
    http: httpx.AsyncClient, source: str, error: dict[str, str]
) -> None:
    run = await begin(http, "execute", code=source, background=True)
    found = await events(http, run)
    assert statuses(found)[-1] == "failed"
    assert error.items() <= (await look(http, run))["error"].items()


async def test_the_same_key_is_the_same_run_and_another_request_is_refused(
    http: httpx.AsyncClient,
) -> None:
    body = {"code": "1", "session_id": "keyed", "idempotency_key": "k1"}
    run = await begin(http, kind="execute", **body)
    assert (await begin(http, kind="execute", **body))["id"] == run["id"]
    assert (await begin(http, "execute", **body, background=True))["id"] == run["id"]
    await events(http, run)
    assert await begin(http, kind="execute", **body) == await look(http, run)
    other = await http.post("caesarion/api/runs", json={"kind": "execute", **body, "code": "2"})
    assert (other.status_code, other.json()["message"]) == (
        409,
        f"The idempotency key 'k1' was used for another request, which is {run['id']}. "
        "Send that request, or choose a new key.",
    )


async def test_a_run_that_would_fill_its_journal_is_incomplete(http: httpx.AsyncClient) -> None:
    source = (
        "from IPython.display import display\n"
        "for _ in range(150): display({'text/html': 'x' * 50_000}, raw=True)"
    )
    run = await begin(http, kind="execute", code=source, session_id="full")
    found = await events(http, run)
    ended = await look(http, run)
    assert statuses(found)[-1] == ended["status"] == "incomplete"
    assert ended["incomplete_details"] == {
        "reason": "journal_full",
        "message": "The journal of this run has reached 6,000,000 bytes, so the run was stopped. "
        "Show less, or raise CaesarionRuns.journal_bytes.",
    }
    after = await begin(http, kind="execute", code="print('goes on')", session_id="full")
    assert shown(await events(http, after)) == "goes on\n"


async def test_the_bodies_of_the_documentations_examples_are_runs(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("1")]), server.root / "Rain.ipynb")
    shown = "".join((REPOSITORY / "docs" / name).read_text() for name in ("http.md", "runs.md"))
    bodies = re.findall(r"caesarion/api/runs -H [^\n]+\n  -d '([^']+)'", shown)
    assert len(bodies) == 2
    for body in bodies:
        run = await begin(http, **json.loads(body))
        assert statuses(await events(http, run))[-1] == "completed"


async def test_neither_a_slow_reader_nor_one_that_leaves_holds_up_a_run_or_another_reader(
    http: httpx.AsyncClient,
) -> None:
    source = (
        "from IPython.display import display\n"
        "for _ in range(100): display({'text/html': 'x' * 50_000}, raw=True)"
    )
    run = await begin(http, kind="execute", code=source, session_id="full")
    url = f"caesarion/api/runs/{run['id']}/events"
    async with http.stream("GET", url, timeout=WITHIN) as slow:
        async with http.stream("GET", url) as leaves:
            await anext(leaves.aiter_bytes())
        found = await events(http, run)
        assert statuses(found)[-1] == "completed"
        assert names(found).count("output") == 100
        text = "".join([piece async for piece in slow.aiter_text()])
    numbers = [line for line in text.splitlines() if line.startswith("id: ")]
    assert numbers == [f"id: {number}" for number, _, _ in found]


async def test_a_notebook_runs_in_the_background_and_never_replaces_an_edited_one(
    server: RunningServer, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    file = server.root / "Rain.ipynb"
    sources = ("print(6 * 7)", gate.code, "print('last')")
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(one) for one in sources]), file)
    run = await begin(http, kind="notebook", path="Rain.ipynb")
    await events(http, run, lambda event: event[1:] == ("cell", {"cell": 2, "of": 3}))
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("mine")]), file)
    gate.open()
    found = await events(http, run)
    ended = await look(http, run)
    assert (ended["status"], ended["path"]) == ("completed", "Rain (run 1).ipynb")
    assert found[-2][1:] == (
        "result",
        {
            "status": "ok",
            "path": "Rain (run 1).ipynb",
            "message": "'Rain.ipynb' was changed while it ran, and is as it was changed. What ran "
            "is saved as 'Rain (run 1).ipynb'.",
        },
    )
    assert [cell.source for cell in nbformat.read(file, as_version=4).cells] == ["mine"]
    ran = nbformat.read(server.root / "Rain (run 1).ipynb", as_version=4)
    assert ran.cells[2].outputs[0].text == "last\n"
    outputs = [data["outputs"] for _, name, data in found if name == "cell_outputs"]
    assert [one[0]["text"] if one else "" for one in outputs] == ["42\n", "", "last\n"]


async def test_a_key_needs_a_run(http: httpx.AsyncClient) -> None:
    answer = await http.post("caesarion/api/execute", json={"code": "1", "idempotency_key": "k"})
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        'An idempotency_key needs "background": true: a stream has none.',
    )


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"kind": "execute"}, 400, "The body is not right: execute.code: Field required."),
        ({"kind": "dance"}, 400, "The body is not right: body: Input tag 'dance'"),
        ({"kind": "notebook", "path": "no.ipynb"}, 404, "There is no notebook 'no.ipynb'."),
        ({"kind": "execute", "code": "1", "kernel_id": "x"}, 404, "There is no kernel 'x'."),
    ],
)
async def test_what_cannot_be_run_is_refused_at_once(
    http: httpx.AsyncClient, body: dict[str, Any], status: int, sentence: str
) -> None:
    answer = await http.post("caesarion/api/runs", json=body)
    assert answer.status_code == status
    assert answer.json()["message"].startswith(sentence)


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("runs/run_0", 404, "There is no run 'run_0'."),
        ("runs/run_0/events", 404, "There is no run 'run_0'."),
        ("runs?after=run_0", 400, "There is no run 'run_0' to list runs after."),
        ("runs?status=gone", 400, "The query is not right: status.0:"),
        ("runs?limit=0", 400, "The query is not right: limit:"),
        ("runs?sort=1", 400, "The query is not right: sort:"),
    ],
)
async def test_a_wrong_question_about_runs_gets_a_sentence(
    http: httpx.AsyncClient, path: str, status: int, sentence: str
) -> None:
    answer = await http.get(f"caesarion/api/{path}")
    assert answer.status_code == status
    assert answer.json()["message"].startswith(sentence)


async def test_runs_are_listed_newest_first_in_pages(http: httpx.AsyncClient) -> None:
    made = [await begin(http, kind="execute", code=str(n), session_id="listed") for n in range(3)]
    for run in made:
        await events(http, run)
    asked = {"session_id": "listed", "status": "completed,failed", "limit": "2"}
    first = (await http.get("caesarion/api/runs", params=asked)).json()
    newest = [run["id"] for run in reversed(made)]
    assert ([run["id"] for run in first["runs"]], first["has_more"]) == (newest[:2], True)
    asked["after"] = newest[1]
    second = (await http.get("caesarion/api/runs", params=asked)).json()
    assert ([run["id"] for run in second["runs"]], second["has_more"]) == (newest[2:], False)


async def test_a_run_is_cancelled_in_any_state_and_an_ended_one_stays_as_it_is(
    http: httpx.AsyncClient, model: OpenAIServer, tmp_path: Path
) -> None:
    queued = await begin(http, kind="execute", code="1", session_id="queued")
    await cancel(http, queued)
    assert statuses(await events(http, queued)) == ["queued", "cancelled"]

    stopped = tmp_path / "stopped"
    source = (
        f"import pathlib, time\nprint('be' + 'gan', flush=True)\ntry:\n    time.sleep(60)\n"
        f"except KeyboardInterrupt:\n    pathlib.Path({str(stopped)!r}).touch()\n    raise"
    )
    running = await begin(http, kind="execute", code=source, session_id="queued")
    await events(http, running, lambda event: "began" in str(event))
    await asyncio.gather(cancel(http, running), cancel(http, running))
    assert statuses(await events(http, running))[-1] == "cancelled"
    assert stopped.exists()

    model.add(code("1"))
    asked = [{"role": "user", "content": "run it"}]
    waiting = await begin(http, kind="chat", messages=asked, approval="ask")
    await events(http, waiting, is_status("requires_action"))
    [action] = (await look(http, waiting))["required_action"]
    assert action["call"] | {"id": ""} == {
        "id": "",
        "name": "python_interpreter",
        "arguments": '{"code": "1"}',
    }
    await cancel(http, waiting)
    ended = await events(http, waiting)
    assert statuses(ended)[-1] == "cancelled"

    before = await look(http, running)
    await cancel(http, running)
    assert await look(http, running) == before
