"""The HTTP API of a real server: what programs send, and all that comes back."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
import pytest_asyncio
from caesarion.config import CaesarionUploads
from caesarion.extension import Caesarion
from nbformat.v4 import new_notebook

from tests.chat import code
from tests.fakes.openai_server import Fault, OpenAIServer, Text
from tests.kernels import Gate
from tests.server import RunningServer, eventually, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Prints when it began, and writes down when it was interrupted.
# What it prints does not stand in it: a call that only is to run says its code, too.
LONG = """
import pathlib, time
try:
    print("be" + "gan", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path("stopped").touch()
    raise
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    none_ahead = {"CAESARION_KERNEL_PREWARM": "0"}  # as kernels are counted here
    with running_server(
        tmp_path_factory.mktemp("api"), model_url=provider.base_url, environment=none_ahead
    ) as server:
        yield server
    assert server.failures == []


def question(text: str, **where: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **where}


def events(text: str) -> list[tuple[str, Any]]:
    """Return server-sent events as name and data; a comment's name is empty."""
    found = []
    for block in text.split("\n\n")[:-1]:
        if block.startswith(": "):
            found.append(("", block[2:]))
        else:
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


async def run(http: httpx.AsyncClient, source: str, **where: str) -> str:
    """Run code by ``execute`` and return what it printed."""
    answer = await http.post("caesarion/api/execute", json={"code": source, **where})
    assert answer.status_code == 200, answer.text
    *outputs, end = lines(answer.text)
    assert end["status"] == "ok", outputs
    return "".join(output["text"] for output in outputs)


async def kernels(http: httpx.AsyncClient) -> list[str]:
    return [kernel["id"] for kernel in (await http.get("api/kernels")).json()]


def write_notebook(server: RunningServer, name: str) -> None:
    notebook = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "P"}})
    (server.root / name).write_text(json.dumps(notebook))


async def test_the_status_says_what_there_is(
    http: httpx.AsyncClient, server: RunningServer, model: OpenAIServer
) -> None:
    kernel = await server.start_kernel()
    (server.root / "uploads").mkdir()
    (server.root / "uploads" / "a.csv").write_text("a,b\n")
    answer = await http.get("caesarion/api/status")
    assert answer.status_code == 200
    status = answer.json()
    (state,) = [one.pop("state") for one in status["kernels"]]
    assert state in ("starting", "idle")
    assert status == {
        "version": version("caesarion"),
        "model": "gpt-4.1",
        "approval": {
            "default": "auto",
            "allowed": ["read-only", "plan", "ask", "accept-edits", "auto"],
        },
        "gateway_reachable": True,
        "problem": "",
        "chat_problem": "",
        "kernel": None,
        "kernels": [{"id": kernel, "name": "python3"}],
        "uploads": [{"name": "a.csv", "size": 4, "path": str(server.root / "uploads" / "a.csv")}],
        "upload_limits": {"max_size": 200_000_000, "types": CaesarionUploads().types},
    }
    assert len(model.looks) == 1
    await http.delete(f"api/kernels/{kernel}")


async def test_words_come_as_events(http: httpx.AsyncClient, model: OpenAIServer) -> None:
    model.add(Text("Hel", "lo"))
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "say hello"},
    ]
    answer = await http.post("caesarion/api/chat", json={"messages": history})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache"
    text, more, usage, done = events(answer.text)
    assert text == ("text", {"delta": "Hel"})
    assert more == ("text", {"delta": "lo"})
    assert usage[1].pop("seconds") > 0
    assert usage == (
        "usage",
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    )
    assert done == ("done", {"reason": "stop"})
    assert model.requests[0].body["messages"][1:] == history
    assert await kernels(http) == []


async def test_code_comes_with_its_outputs_and_its_temporary_kernel_is_gone_afterwards(
    http: httpx.AsyncClient, server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("print(6 * 7)\n6 * 7"), Text("It is 42."))
    answer = await http.post("caesarion/api/chat", json=question("what is 6 * 7?"))
    told = events(answer.text)
    assert told[:5] == [
        (
            "tool_call",
            {
                "id": "c1",
                "name": "python_interpreter",
                "arguments": '{"code": "print(6 * 7)\\n6 * 7"}',
            },
        ),
        ("running", {"call_id": "c1", "execution_count": 1, "kernel_id": ANY, "place": ""}),
        (
            "output",
            {
                "call_id": "c1",
                "output": {"output_type": "stream", "name": "stdout", "text": "42\n"},
            },
        ),
        (
            "output",
            {
                "call_id": "c1",
                "output": {
                    "output_type": "execute_result",
                    "metadata": {},
                    "data": {"text/plain": "42"},
                    "execution_count": 1,
                },
            },
        ),
        ("tool_result", {"call_id": "c1", "status": "ok", "text": "42\n42"}),
    ]
    assert [name for name, _ in told[5:]] == ["text", "usage", "done"]
    assert await kernels(http) == []
    assert len(server.processes()) == 1


async def test_what_a_task_shows_after_its_call_comes_with_the_id_of_that_call(
    http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    first = (
        "import asyncio\n"
        "async def work():\n"
        "    while 'go' not in globals(): await asyncio.sleep(0.01)\n"
        "    print('late')\n"
        "task = asyncio.create_task(work())"
    )
    model.add(
        code(first, "c1"),
        code("go = 1; await task; print('second')", "c2"),
        Text("Do", "ne.", delay=0.5),
    )
    answer = await http.post("caesarion/api/chat", json=question("begin"))
    outputs = [data for name, data in events(answer.text) if name == "output"]
    assert sorted((data["call_id"], data["output"]["text"]) for data in outputs) == [
        ("c1", "late\n"),
        ("c2", "second\n"),
    ]
    assert events(answer.text)[-1] == ("done", {"reason": "stop"})


async def test_execute_answers_one_output_a_line_and_then_the_status(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.post("caesarion/api/execute", json={"code": "print('a')\n1 / 0"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    stream, error, end = lines(answer.text)
    assert stream == {"output_type": "stream", "name": "stdout", "text": "a\n"}
    assert (error["output_type"], error["ename"]) == ("error", "ZeroDivisionError")
    assert end == {"status": "error", "execution_count": 1}
    assert await kernels(http) == []


async def test_outputs_come_while_the_code_runs(http: httpx.AsyncClient, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    body = {"code": f"print('begun', flush=True)\n{gate.code}print('over')", "session_id": "slow"}
    printed = ""
    async with http.stream("POST", "caesarion/api/execute", json=body) as answer:
        async for line in answer.aiter_lines():
            printed += json.loads(line).get("text", "")
            gate.open()
    assert printed == "begun\nover\n"


async def test_a_session_keeps_its_variables_and_is_a_stranger_to_another(
    http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    await run(http, "x = 41", session_id="one")
    await run(http, "x = 1", session_id="two")
    model.add(code("print(x + 1)"), Text("Done."))
    answer = await http.post("caesarion/api/chat", json=question("x + 1?", session_id="one"))
    assert dict(events(answer.text))["tool_result"]["text"] == "42"
    assert await run(http, "print(x)", session_id="two") == "1\n"


async def test_two_runs_in_one_session_queue_up(http: httpx.AsyncClient) -> None:
    source = "import time\nprint({0})\ntime.sleep(0.3)\nprint({0})"
    printed = await asyncio.gather(
        *(run(http, source.format(number), session_id="queue") for number in range(3))
    )
    assert printed == ["0\n0\n", "1\n1\n", "2\n2\n"]


async def test_a_kernel_id_wins_over_a_notebook_and_that_over_a_session(
    http: httpx.AsyncClient, server: RunningServer
) -> None:
    write_notebook(server, "who.ipynb")
    kernel_id = await server.start_kernel()
    await run(http, "who = 'kernel'", kernel_id=kernel_id)
    await run(http, "who = 'notebook'", notebook_path="who.ipynb")
    await run(http, "who = 'session'", session_id="who")
    where = {"session_id": "who"}
    assert await run(http, "print(who)", **where) == "session\n"
    where["notebook_path"] = "/who.ipynb"
    assert await run(http, "print(who)", **where) == "notebook\n"
    where["kernel_id"] = kernel_id
    assert await run(http, "print(who)", **where) == "kernel\n"
    assert await run(http, "print('who' in globals())") == "False\n"


async def test_a_notebook_without_a_kernel_gets_the_one_that_it_then_shows(
    http: httpx.AsyncClient, server: RunningServer
) -> None:
    write_notebook(server, "new.ipynb")
    await run(http, "x = 1", notebook_path="new.ipynb")
    (session,) = [
        session
        for session in (await http.get("api/sessions")).json()
        if session["path"] == "new.ipynb"
    ]
    assert session["type"] == "notebook"
    assert await server.run_cell(session["kernel"]["id"], "print(x + 1)") == "2\n"


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        (
            {"kernel_id": "nobody"},
            "There is no kernel 'nobody'. Name a running one, or none at all.",
        ),
        (
            {"notebook_path": "a/none.ipynb"},
            "There is no notebook 'a/none.ipynb'. Check the path, from the folder that "
            "JupyterLab shows as its root.",
        ),
    ],
)
@pytest.mark.parametrize("route", ["chat", "execute"])
async def test_what_is_not_there_is_404_in_a_sentence(
    http: httpx.AsyncClient, route: str, where: dict[str, str], sentence: str
) -> None:
    body = {"code": "1"} if route == "execute" else question("1")
    answer = await http.post(f"caesarion/api/{route}", json={**body, **where})
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == {"message": sentence}


async def test_a_kernel_of_another_language_is_409_in_a_sentence(
    http: httpx.AsyncClient, server: RunningServer
) -> None:
    spec = server.root.parent / ".local/share/jupyter/kernels/other"
    spec.mkdir(parents=True)
    argv = ["sleep", "60"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Other", "language": "Elm"})
    )
    kernel_id = await server.start_kernel(name="other")
    answer = await http.post("caesarion/api/execute", json={"code": "1", "kernel_id": kernel_id})
    await http.delete(f"api/kernels/{kernel_id}")
    assert answer.status_code == 409
    assert answer.json() == {
        "message": "The kernel speaks Elm, and the agent's code is Python. "
        "Open a notebook with a Python kernel."
    }


@pytest.mark.parametrize(
    ("route", "body", "sentence"),
    [
        (
            "chat",
            "{not json",
            "The body is not JSON (key must be a string at line 1 column 2). Send a JSON object.",
        ),
        (
            "chat",
            "",
            "The body is not JSON (EOF while parsing a value at line 1 column 0). "
            "Send a JSON object.",
        ),
        (
            "chat",
            "[]",
            "The body is not right: body: Input should be an object. "
            "See the documentation of this call.",
        ),
        (
            "chat",
            '{"messages": []}',
            "The body is not right: messages: List should have at least 1 item after "
            "validation, not 0. See the documentation of this call.",
        ),
        (
            "chat",
            '{"messages": [{"role": "system", "content": "x"}]}',
            "The body is not right: messages.0.role: Input should be 'user' or 'assistant'. "
            "See the documentation of this call.",
        ),
        (
            "chat",
            '{"messages": [{"role": "user", "content": ""}]}',
            "The body is not right: messages.0.content: String should have at least 1 "
            "character. See the documentation of this call.",
        ),
        (
            "chat",
            '{"messages": [{"role": "assistant", "content": "x"}]}',
            "The last message is the assistant's. Send one of the user's last.",
        ),
        (
            "execute",
            "{}",
            "The body is not right: code: Field required. See the documentation of this call.",
        ),
        (
            "execute",
            '{"code": "1", "sesion_id": "a"}',
            "The body is not right: sesion_id: Extra inputs are not permitted. "
            "See the documentation of this call.",
        ),
        (
            "execute",
            '{"code": "1", "session_id": ""}',
            "The body is not right: session_id: String should have at least 1 character. "
            "See the documentation of this call.",
        ),
    ],
)
async def test_a_wrong_body_is_400_in_a_sentence(
    http: httpx.AsyncClient, route: str, body: str, sentence: str
) -> None:
    answer = await http.post(f"caesarion/api/{route}", content=body)
    assert answer.status_code == 400
    assert answer.json() == {"message": sentence}


@pytest.mark.parametrize("route", ["chat", "execute"])
async def test_a_body_over_a_mebibyte_is_413_in_a_sentence(
    http: httpx.AsyncClient, route: str
) -> None:
    answer = await http.post(f"caesarion/api/{route}", content=b"x" * 1_048_577)
    assert answer.status_code == 413
    assert answer.json() == {
        "message": "The body has 1,048,577 bytes; at most 1,048,576 are taken."
    }


@pytest.mark.parametrize("pattern", [pattern for pattern, *_ in Caesarion.handlers])
@pytest.mark.parametrize("credential", ["none", "wrong", "cookie without its XSRF token"])
async def test_every_route_refuses_who_may_not_come_in(
    server: RunningServer, pattern: str, credential: str
) -> None:
    path = re.sub(r"\([^)]*\)", "1", pattern)
    async with httpx.AsyncClient(base_url=server.url) as stranger:
        if credential == "wrong":
            stranger.headers["Authorization"] = "token wrong"
        elif credential != "none":
            logged_in = await stranger.get("lab", params={"token": server.token})
            assert logged_in.is_success or logged_in.is_redirect
            assert stranger.cookies
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            try:
                answer = await stranger.request(method, path.lstrip("/"), json={"code": "1"})
            except httpx.ReadError:
                # A body that is streamed is not read: the connection is closed with the refusal.
                assert pattern == "/caesarion/api/files/content", method
                continue
            if method in ("GET", "HEAD") and credential not in ("none", "wrong"):
                continue  # Reading is what a cookie is for.
            assert answer.status_code in (403, 405), method
            assert "Traceback" not in answer.text


async def test_a_model_that_fails_is_a_sentence_and_the_end(
    http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    model.add(Fault(401))
    answer = await http.post("caesarion/api/chat", json=question("hello"))
    assert answer.status_code == 200
    error, usage, done = events(answer.text)
    assert error[0] == "error"
    assert list(error[1]) == ["message"]
    assert error[1]["message"].startswith("The model's endpoint does not accept")
    assert "Traceback" not in answer.text
    assert (usage[0], done) == ("usage", ("done", {"reason": "error"}))


async def test_a_comment_comes_when_nothing_else_has_for_five_seconds(
    http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    model.add(code("import time; time.sleep(6)"), Text("Done."))
    answer = await http.post("caesarion/api/chat", json=question("wait", session_id="slow"))
    told = events(answer.text)
    assert told[2] == ("", "still at work")
    names = [name for name, _ in told]
    assert names == ["tool_call", "running", "", "tool_result", "text", "usage", "done"]


async def leave(http: httpx.AsyncClient, route: str, body: dict[str, Any], sign: str) -> None:
    """Ask, and go away when ``sign`` has been read."""
    async with http.stream("POST", f"caesarion/api/{route}", json=body) as answer:
        read = ""
        async for text in answer.aiter_text():
            read += text
            if sign in read:
                break


async def test_who_goes_away_while_the_model_speaks_stops_it(
    http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    model.add(Fault("stall_mid_stream"))
    await leave(http, "chat", question("speak"), "The answer")
    async with asyncio.timeout(60):
        await model.requests[0].ended.wait()
    assert model.requests[0].client_gone


@pytest.mark.parametrize("route", ["chat", "execute"])
async def test_who_goes_away_while_code_runs_interrupts_it(
    http: httpx.AsyncClient, server: RunningServer, model: OpenAIServer, route: str
) -> None:
    stopped = server.root / "stopped"
    stopped.unlink(missing_ok=True)
    await run(http, "x = 1", session_id="leaver")
    model.add(code(LONG))
    body = {"code": LONG} if route == "execute" else question("wait")
    await leave(http, route, {**body, "session_id": "leaver"}, "began")
    await eventually(stopped.exists)
    assert await run(http, "print(x)", session_id="leaver") == "1\n"


async def test_who_goes_away_from_code_in_c_does_not_hang_the_session(
    http: httpx.AsyncClient,
) -> None:
    where = {"session_id": "c"}
    await run(http, "import sys; sys.setswitchinterval(1000); gone = 1", **where)
    body, patience = {"code": "sum(range(10**12))", **where}, httpx.Timeout(10, read=2)
    with pytest.raises(httpx.ReadTimeout):
        await http.post("caesarion/api/execute", json=body, timeout=patience)
    assert await run(http, "print('gone' in globals())", **where) == "False\n"


async def test_after_an_exit_a_session_goes_on_in_a_new_kernel(http: httpx.AsyncClient) -> None:
    where = {"session_id": "leaves"}
    answer = await http.post("caesarion/api/execute", json={"code": "print('bye'); exit()"} | where)
    said, note, end = lines(answer.text)
    assert (said["text"], end["status"]) == ("bye\n", "dead")
    assert note["text"].startswith("The code ended the kernel with exit().")
    assert await run(http, "print('alive')", **where) == "alive\n"


async def test_who_goes_away_while_the_kernel_starts_leaves_none_behind(
    http: httpx.AsyncClient, server: RunningServer
) -> None:
    before = {process.pid for process in server.processes()}
    started = kernels_started(server)
    for seconds in (0.005, 0.02, 0.1, 0.3):
        patience = httpx.Timeout(10, read=seconds)
        with pytest.raises(httpx.ReadTimeout):
            await http.post("caesarion/api/execute", json={"code": LONG}, timeout=patience)
    # An answer to a later request: the server has heard of those before.
    await http.get("caesarion/api/status")
    await eventually(lambda: {process.pid for process in server.processes()} <= before)
    await eventually(lambda: kernels_started(server) == started)


def kernels_started(server: RunningServer) -> int:
    """Return how many kernels have been started and not been shut down again."""
    return server.log.count("Kernel started:") - server.log.count("Kernel shutdown:")
