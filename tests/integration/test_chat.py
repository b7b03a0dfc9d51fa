"""The chat of a real server, over the WebSocket that a browser speaks."""

import asyncio
import base64
import itertools
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from caesarion.agent import prompt
from caesarion.message_metadata import REASONING_MIME
from nbformat.v4 import new_notebook

from tests.chat import PERSONA, call_shown, code, open_chat, seen
from tests.fakes.openai_server import Fault, OpenAIServer, Raw, Text
from tests.files import image
from tests.kernels import Gate
from tests.server import RunningServer, eventually, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

WORDS = [f"word{number} " for number in range(1_000)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    with running_server(
        tmp_path_factory.mktemp("chat"),
        model_url=provider.base_url,
        environment={"CAESARION_MODEL_RETRIES": "0"},
    ) as server:
        yield server
    assert server.failures == []


def shown(answer: list[Json]) -> list[Any]:
    """Return what a user sees of an answer: words and code as text, outputs as MIME bundles."""
    return [seen(message) for message in answer]


def words_of(answer: list[Json]) -> str:
    return "".join(message["body"] for message in answer)


def block(source: str) -> str:
    return f"```python\n{source}\n```"


def told(model: OpenAIServer, number: int = -1) -> list[Json]:
    """Return what the model was sent by a request, without the system message."""
    messages: list[Json] = model.requests[number].body["messages"]
    assert messages[0]["role"] == "system"
    return messages[1:]


def stored(server: RunningServer, path: str) -> list[Any]:
    """Return what is seen of the messages in a chat's file."""
    chat = json.loads((server.root / path).read_text("utf-8"))
    return shown(chat["messages"])


def write_notebook(server: RunningServer, name: str) -> None:
    notebook = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "P"}})
    (server.root / name).write_text(json.dumps(notebook))


async def open_notebook(server: RunningServer, path: str) -> str:
    """Open a notebook as JupyterLab does, and return its kernel's id."""
    write_notebook(server, path)
    request = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
    async with server.client() as http:
        session = (await http.post("api/sessions", json=request)).raise_for_status().json()
    return str(session["kernel"]["id"])


async def test_words_stream_at_once_and_then_in_few_updates(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(Text(*WORDS[:200], delay=0.005))
    async with open_chat(server, "chats/words.chat") as chat:
        (answer,) = await chat.ask("speak")
        updates = chat.updates(answer)
    assert answer["body"] == "".join(WORDS[:200])
    assert answer["sender"] == PERSONA
    assert updates[0].content["message"]["body"] == "word0 "
    assert 8 <= len(updates) <= 20
    bodies = [update.content["message"]["body"] for update in updates]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(bodies))


async def test_the_question_and_only_it_reaches_the_model(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(Text("Hi."))
    async with open_chat(server, "chats/question.chat") as chat:
        await chat.ask("hello")
    assert told(model) == [{"role": "user", "content": "hello"}]


async def test_what_a_task_shows_after_its_call_and_after_the_turn_stands_below_its_cell(
    server: RunningServer, model: OpenAIServer, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    first = (
        "import asyncio, pathlib\n"
        "async def work():\n"
        "    print('during the turn')\n"
        f"    while not pathlib.Path({str(gate.path)!r}).exists(): await asyncio.sleep(0.01)\n"
        "    print('after the turn')\n"
        "    display('a display')\n"
        "task = asyncio.create_task(work())"
    )
    model.add(code(first), code("print('second')"), Text("Done."))
    async with open_chat(server, "chats/late.chat") as chat:
        await chat.ask("begin")
        question = next(iter(chat.messages.values()))["id"]
        assert shown(chat.answer(question))[-2:] == [{"text/plain": "second\n"}, "Done."]
        gate.open()
        await chat.until(lambda: len(chat.answer(question)) == 6)
        assert shown(chat.answer(question)) == [
            block(first),
            {"text/plain": "during the turn\nafter the turn\n"},
            {"text/plain": "'a display'"},
            block("print('second')"),
            {"text/plain": "second\n"},
            "Done.",
        ]


async def test_code_its_outputs_and_the_words_around_it_are_shown_in_order(
    server: RunningServer, model: OpenAIServer
) -> None:
    source = (
        "import sys\n"
        "print('out')\n"
        "print('err', file=sys.stderr)\n"
        "from IPython.display import HTML, display\n"
        "display(HTML('<b>bold</b>'))\n"
        "6 * 7"
    )
    model.add(code(source, text="Let me see."), Text("It is 42."))
    async with open_chat(server, "chats/code.chat") as chat:
        answer = await chat.ask("6 * 7?")
        statuses = {
            frame.content.get("typingIndicator")
            for frame in chat.frames
            if frame.content["action"] == "writing"
        }
    assert shown(answer) == [
        "Let me see.",
        block(source),
        {"text/plain": "out\n"},
        {"application/vnd.jupyter.stderr": "err\n"},
        {"text/html": "<b>bold</b>", "text/plain": "<IPython.core.display.HTML object>"},
        {"text/plain": "42"},
        "It is 42.",
    ]
    assert statuses == {"is thinking...", "is running code...", None}
    assert told(model)[-1]["role"] == "tool"
    assert told(model)[-1]["content"].endswith("42")


async def test_a_plot_is_an_image(server: RunningServer, model: OpenAIServer) -> None:
    source = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    model.add(code(source), Text("Here."))
    async with open_chat(server, "chats/plot.chat") as chat:
        answer = await chat.ask("plot", seconds=60)
    _, plot, words = shown(answer)
    assert plot["image/png"].startswith("iVBOR")
    assert words == "Here."
    assert told(model)[-1]["content"] == "[image/png, shown to the user]"


async def test_a_failing_cell_shows_its_traceback_and_the_model_mends_it(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("1 / 0", "c1"), code("1 / 1", "c2"), Text("Now it works."))
    async with open_chat(server, "chats/fails.chat") as chat:
        answer = await chat.ask("divide")
    first, trace, *rest = shown(answer)
    assert first == block("1 / 0")
    assert list(trace) == ["application/vnd.jupyter.stderr"]
    assert "ZeroDivisionError" in trace["application/vnd.jupyter.stderr"]
    assert rest == [block("1 / 1"), {"text/plain": "1.0"}, "Now it works."]
    assert "ZeroDivisionError: division by zero" in told(model, 1)[-1]["content"]


async def test_variables_last_from_question_to_question_and_the_model_hears_what_was(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("x = 41"), Text("Set."), code("x + 1", "c2"), Text("42."))
    async with open_chat(server, "chats/lasting.chat") as chat:
        await chat.ask("let x be 41")
        answer = await chat.ask("x + 1?")
    assert shown(answer) == [block("x + 1"), {"text/plain": "42"}, "42."]
    assert [(message["role"], message["content"]) for message in told(model, 2)] == [
        ("user", "let x be 41"),
        ("assistant", None),
        ("tool", "The code ran and showed nothing."),
        ("assistant", "Set."),
        ("user", "x + 1?"),
    ]


async def test_code_runs_in_the_kernel_of_the_notebook_in_front_both_ways(
    server: RunningServer, model: OpenAIServer
) -> None:
    kernel_id = await open_notebook(server, "front.ipynb")
    await server.run_cell(kernel_id, "x = 41")
    model.add(code("print(x + 1)\ny = x"), Text("Done."))
    async with open_chat(server, "chats/front.chat") as chat:
        answer = await chat.ask("print x + 1", notebook_path="front.ipynb", kernel_id=kernel_id)
    assert shown(answer)[1] == {"text/plain": "42\n"}
    assert await server.run_cell(kernel_id, "print(y)") == "41\n"
    where = "In front of the user is the notebook front.ipynb; your code runs in its kernel."
    assert where in model.requests[0].body["messages"][0]["content"]


async def test_a_cell_runs_again_without_the_model_which_is_told_later(
    server: RunningServer, model: OpenAIServer
) -> None:
    count = "n = globals().get('n', 0) + 1\nprint(n)"
    model.add(code(count), Text("Once."), Text("Twice."))
    async with open_chat(server, "chats/again.chat") as chat:
        first = await chat.ask("count")
        cell = {"id": "c1", "shown": count}
        again = await chat.ask("Run cell 1 again.", run_again=cell)
        assert shown(again) == [shown(first)[0], {"text/plain": "2\n"}]
        assert call_shown(again[0])["status"] == "ok"
        assert len(model.requests) == 2
        await chat.ask("how often?")
    _, asked, called, result, question = told(model)[-5:]
    assert (asked["content"], result["content"]) == ("Run cell 1 again.", "2")
    assert called["tool_calls"][0]["id"] == result["tool_call_id"] != "c1"
    assert question["content"] == "how often?"


async def test_a_cell_that_is_not_there_is_not_run_again(
    server: RunningServer, model: OpenAIServer
) -> None:
    async with open_chat(server, "chats/nothing-again.chat") as chat:
        await chat.ask("Run cell 1 again.", run_again={"id": "c1", "shown": "print(1)"})
        *_, last = chat.messages.values()
    assert last["body"] == (
        "⚠️ That cell is not in this chat any more, or not as it was shown, so nothing was run. "
        "Reload the page."
    )
    assert model.requests == []


async def test_a_kernel_that_is_gone_falls_back_to_the_notebooks(
    server: RunningServer, model: OpenAIServer
) -> None:
    kernel_id = await open_notebook(server, "stale.ipynb")
    await server.run_cell(kernel_id, "x = 41")
    model.add(code("print(x + 1)"), Text("Done."))
    async with open_chat(server, "chats/stale.chat") as chat:
        answer = await chat.ask("x + 1?", notebook_path="stale.ipynb", kernel_id="gone")
    assert shown(answer)[1] == {"text/plain": "42\n"}


async def test_a_notebook_that_is_gone_falls_back_to_the_chats_own_kernel(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("x = 41"), Text("Set."), code("print(x + 1)", "c2"), Text("Done."))
    async with open_chat(server, "chats/gone.chat") as chat:
        await chat.ask("let x be 41")
        answer = await chat.ask("x + 1?", notebook_path="gone.ipynb", kernel_id="gone")
    assert shown(answer)[1] == {"text/plain": "42\n"}


async def test_a_notebook_that_is_named_lends_its_kernel(
    server: RunningServer, model: OpenAIServer
) -> None:
    (server.root / "deep").mkdir()
    kernel_id = await open_notebook(server, "deep/named.ipynb")
    await server.run_cell(kernel_id, "x = 41")
    model.add(code("print(x + 1)"), Text("Done."))
    async with open_chat(server, "chats/named.chat") as chat:
        answer = await chat.ask("What is x + 1 in `deep/named.ipynb`?")
    assert shown(answer)[1] == {"text/plain": "42\n"}
    where = "The user names the notebook deep/named.ipynb; your code runs in its kernel."
    assert where in model.requests[0].body["messages"][0]["content"]


async def test_code_waits_for_the_users_running_cell_and_stop_leaves_that_cell_alone(
    server: RunningServer, model: OpenAIServer
) -> None:
    kernel_id = await open_notebook(server, "busy.ipynb")
    await server.run_cell(kernel_id, "import time")
    model.add(code("print('never')"), code("print(x + 1)", "c2"), Text("42."))
    where: Json = {"notebook_path": "busy.ipynb", "kernel_id": kernel_id}
    async with open_chat(server, "chats/busy.chat") as chat:
        cell = asyncio.create_task(
            server.run_cell(kernel_id, "time.sleep(3); x = 41; print('mine')")
        )
        await asyncio.sleep(0.5)
        await chat.send("first", **where)
        await chat.until(lambda: chat.status == "is waiting for your running cell to finish...")
        await chat.stop()
        answer = await chat.ask("second", **where)
    assert await cell == "mine\n"
    assert shown(answer) == [block("print(x + 1)"), {"text/plain": "42\n"}, "42."]


async def test_what_is_in_an_attached_file_is_told_with_the_question_and_remembered(
    server: RunningServer, model: OpenAIServer
) -> None:
    (server.root / "rain.csv").write_text("month,mm\n2024-01,1.5\n")
    known = (
        "Table, 1 row, 2 columns separated by ',':\n  month: text\n  mm: number\n"
        "It begins:\nmonth,mm\n2024-01,1.5"
    )
    outside = "This lies outside the folders of this server and was not read. Upload a copy."
    files = [
        (f"{server.root}/rain.csv", known),
        (f"{server.root}/gone.csv", "There is no such file any more."),
        (f"{server.root}/../../outside.csv", outside),
    ]
    (server.root.parent.parent / "outside.csv").write_text("secret")
    names = ("rain.csv", "gone.csv", "../../outside.csv")
    model.add(Text("Two columns."), Text("As I said."))
    async with open_chat(server, "chats/attached.chat") as chat:
        sent = await chat.send("look", attachments=[{"type": "file", "value": n} for n in names])
        await chat.until(lambda: chat.turns == 1)
        assert chat.messages[sent]["metadata"]["caesarion"]["attached"]["rain.csv"] == {
            "path": f"{server.root}/rain.csv",
            "digest": known,
        }
    assert told(model) == [prompt.user_message("look", files)]
    (server.root / "rain.csv").unlink()
    async with open_chat(server, "chats/attached.chat") as chat:
        await chat.ask("and?")
    assert told(model)[0] == told(model, 0)[0]


async def test_an_attached_image_is_shown_to_the_model_in_this_turn_and_the_next(
    server: RunningServer, model: OpenAIServer
) -> None:
    (server.root / "a.png").write_bytes(image())
    model.add(Text("A picture."), Text("As I said."))
    url = f"data:image/png;base64,{base64.b64encode(image()).decode()}"
    files = [(f"{server.root}/a.png", "PNG image, 3 x 2 pixels.")]
    async with open_chat(server, "chats/image.chat") as chat:
        await chat.send("look", attachments=[{"type": "file", "value": "a.png"}])
        await chat.until(lambda: chat.turns == 1)
        assert told(model) == [prompt.user_message("look", files, [url])]
        await chat.ask("and?")
    assert told(model)[0] == prompt.user_message("look", files, [url])
    # The data of images is not kept with the chat.
    assert url not in (server.root / "chats/image.chat").read_text()


async def test_images_that_the_provider_refuses_are_said_once_and_not_sent_again(
    server: RunningServer, model: OpenAIServer
) -> None:
    (server.root / "b.png").write_bytes(image(width=7))
    files = [{"type": "file", "value": "b.png"}]
    model.add(Fault(400, message="This image cannot be read."), Text("Fine."), Text("Known."))
    async with open_chat(server, "chats/blind.chat") as chat:
        question = await chat.send("look", attachments=files)
        await chat.until(lambda: chat.turns == 1)
        assert shown(chat.answer(question)) == [
            "⚠️ The model answered 400: This image cannot be read. The images that came with the "
            "question are not sent again: ask again to go on without them. If the model takes no "
            "images, set CaesarionModel.max_images to 0."
        ]
        await chat.ask("and without it?")
        await chat.send("once more", attachments=files)
        await chat.until(lambda: chat.turns == 3)
    sent = [json.dumps(request.body["messages"]) for request in model.requests]
    assert ["image_url" in messages for messages in sent] == [True, False, False]
    assert "The model's provider refused this image" in sent[2]


async def test_the_chats_kernel_is_listed_under_its_name_and_works_in_the_root(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("import os; print(os.getcwd())"), Text("There."))
    async with open_chat(server, "chats/My data.chat") as chat:
        answer = await chat.ask("where are you?")
    assert shown(answer)[1] == {"text/plain": f"{server.root}\n"}
    async with server.client() as http:
        sessions = (await http.get("api/sessions")).json()
    assert "My data" in [session["name"] for session in sessions]


async def test_stop_ends_the_stream_and_the_next_question_works(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(Fault("stall_mid_stream", after=Text("Once ", "upon")), Text("Fine."))
    async with open_chat(server, "chats/stop.chat") as chat:
        question = await chat.send("tell a story")
        await chat.until(lambda: bool(chat.answer(question)))
        await chat.stop()
        assert shown(chat.answer(question)) == ["Once upon", "Stopped."]
        assert chat.status == ""
        async with asyncio.timeout(60):
            await model.requests[0].ended.wait()
        assert shown(await chat.ask("go on")) == ["Fine."]
    assert told(model) == [
        {"role": "user", "content": "tell a story"},
        {"role": "assistant", "content": "Once upon"},
        {"role": "user", "content": "go on"},
    ]


async def test_stop_interrupts_a_running_cell_and_keeps_its_variables(
    server: RunningServer, model: OpenAIServer
) -> None:
    source = "import time\nx = 41\nprint('began', flush=True)\ntime.sleep(60)"
    model.add(code(source), code("x + 1", "c2"), Text("42."))
    async with open_chat(server, "chats/interrupt.chat") as chat:
        question = await chat.send("wait")
        await chat.until(lambda: {"text/plain": "began\n"} in shown(chat.answer(question)))
        await chat.stop()
        assert shown(chat.answer(question))[0] == block(source)
        assert shown(chat.answer(question))[-1] == "Stopped."
        assert shown(await chat.ask("x + 1?")) == [block("x + 1"), {"text/plain": "42"}, "42."]
    assert told(model, 1)[1:3] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {
                        "name": "python_interpreter",
                        "arguments": json.dumps({"code": source}),
                    },
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "The user stopped this call."},
    ]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(401), "⚠️ The model's endpoint does not accept this server's token"),
        (Fault(500), "⚠️ The model answered 500: The server had an error"),
        (Fault("reset_before_headers"), "⚠️ The model's endpoint http://127.0.0.1:"),
        (Fault("error_mid_stream"), "⚠️ The model broke off: "),
    ],
)
async def test_a_model_that_fails_is_told_in_a_sentence(
    server: RunningServer, model: OpenAIServer, fault: Fault, sentence: str
) -> None:
    model.add(fault, Text("Better now."))
    async with open_chat(server, f"chats/model {fault.kind}.chat") as chat:
        answer = await chat.ask("hello")
        assert shown(answer)[-1].startswith(sentence)
        assert not any("Traceback" in message["body"] for message in chat.messages.values())
        assert shown(await chat.ask("again"))[-1] == "Better now."


async def test_a_message_while_another_is_answered_waits_its_turn(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(
        code("import time; time.sleep(0.5)"),
        Text("One."),
        Text("Two."),
    )
    async with open_chat(server, "chats/queue.chat") as chat:
        first = await chat.send("first")
        await chat.until(lambda: bool(chat.answer(first)))
        second = await chat.send("second")
        await chat.until(lambda: chat.turns == 2)
        assert shown(chat.answer(first))[-1] == "One."
        assert shown(chat.answer(second)) == ["Two."]
    assert [message["content"] for message in told(model, 1)] == [
        "first",
        None,
        "The code ran and showed nothing.",
    ]
    assert [message["content"] for message in told(model, 2)] == [
        "first",
        None,
        "The code ran and showed nothing.",
        "One.",
        "second",
    ]


async def test_a_message_that_is_deleted_while_it_waits_is_not_answered(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(Fault("stall_mid_stream"), Text("Three."))
    async with open_chat(server, "chats/taken back.chat") as chat:
        first = await chat.send("first")
        await chat.until(lambda: bool(chat.answer(first)))
        second = await chat.send("second")
        await chat.socket.send_json(
            {"type": "client", "action": "edit", "id": second, "body": "", "deleted": True}
        )
        await chat.until(lambda: chat.messages.get(second, {}).get("deleted") is True)
        await chat.stop()
        assert shown(await chat.ask("third")) == ["Three."]
        assert chat.answer(second) == []
    assert [message["content"] for message in told(model)] == ["first", "The answer is", "third"]


async def test_a_message_addressed_to_nobody_is_answered(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(Text("Here."))
    async with open_chat(server, "chats/nobody.chat") as chat:
        question = await chat.send("is anybody there?", to=None)
        await chat.until(lambda: chat.turns == 1)
        assert shown(chat.answer(question)) == ["Here."]


async def test_an_answer_goes_on_when_the_browser_is_closed(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("import time; time.sleep(1); print('late')"), Text("All ", "done."))
    async with open_chat(server, "chats/closed.chat") as chat:
        question = await chat.send("work")
        await chat.until(lambda: bool(chat.answer(question)))
    await model.request(1)
    async with open_chat(server, "chats/closed.chat") as chat:
        await chat.until(lambda: len(chat.answer(question)) == 3)
        await chat.until(lambda: shown(chat.answer(question))[-1] == "All done.")
        assert shown(chat.answer(question))[1] == {"text/plain": "late\n"}
    await eventually(lambda: stored(server, "chats/closed.chat")[-1] == "All done.")


async def test_a_chat_that_is_opened_again_keeps_its_kernel(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("x = 41"), Text("Set."), code("x + 1", "c2"), Text("42."))
    async with open_chat(server, "chats/again.chat") as chat:
        await chat.ask("let x be 41")
    async with open_chat(server, "chats/again.chat") as chat:
        assert shown(await chat.ask("x + 1?")) == [block("x + 1"), {"text/plain": "42"}, "42."]


async def test_a_chat_that_is_closed_while_its_kernel_starts_has_one_kernel_all_the_same(
    server: RunningServer, model: OpenAIServer
) -> None:
    before = server.log.count("Kernel started:")
    for _ in range(3):
        async with open_chat(server, "chats/hasty.chat"):
            pass
    model.add(code("1 + 1"), Text("2."))
    async with open_chat(server, "chats/hasty.chat") as chat:
        assert shown(await chat.ask("1 + 1?")) == [block("1 + 1"), {"text/plain": "2"}, "2."]
    assert server.log.count("Kernel started:") == before + 1


async def test_stop_while_a_kernel_starts_leaves_a_kernel_that_is_known(
    server: RunningServer, model: OpenAIServer
) -> None:
    write_notebook(server, "starting.ipynb")
    before = server.log.count("Kernel started:")
    model.add(code("1"), code("1 + 1", "c2"), Text("2."))
    async with open_chat(server, "chats/starting.chat") as chat:
        await chat.send("first", notebook_path="starting.ipynb")
        await chat.until(lambda: chat.status == "is running code...")
        await chat.stop()
        await chat.ask("second", notebook_path="starting.ipynb")
    assert server.log.count("Kernel started:") == before + 2


async def test_a_hundred_thousand_lines_leave_the_chat_and_its_file_small(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("for i in range(100_000): print(i)"), Text("Many."))
    async with open_chat(server, "chats/lines.chat") as chat:
        answer = await chat.ask("count", seconds=60)
        received = sum(frame.size for frame in chat.frames)
    text = shown(answer)[1]["text/plain"]
    assert text.startswith("0\n1\n2\n")
    assert text.endswith("99998\n99999\n")
    assert len(text) < 70_000
    assert received < 1_000_000


async def test_a_server_that_is_killed_and_one_that_is_stopped_leave_a_chat_that_goes_on(
    model: OpenAIServer, tmp_path: Path
) -> None:
    model.add(code("print('ran')", text="First."), Text(*WORDS, delay=0.005))
    with running_server(tmp_path, model_url=model.base_url) as server:
        async with open_chat(server, "chats/cut.chat") as chat:
            question = await chat.send("speak")
            await chat.until(lambda: "word200 " in words_of(chat.answer(question)))
            server.kill()
    _, *killed = stored(server, "chats/cut.chat")
    assert killed[:3] == ["First.", block("print('ran')"), {"text/plain": "ran\n"}]
    assert "".join(WORDS).startswith(killed[3])

    model.add(Text(*WORDS, delay=0.005))
    with running_server(tmp_path, model_url=model.base_url) as server:
        async with open_chat(server, "chats/cut.chat") as chat:
            assert shown(chat.answer(question)) == killed
            question = await chat.send("go on")
            await chat.until(lambda: "word100 " in words_of(chat.answer(question)))
            assert await asyncio.to_thread(server.stop) == 0
            await chat.until(lambda: chat.turns == 1)
    assert [message["content"] for message in told(model)] == [
        "speak",
        "First.",
        "ran",
        killed[3],
        "go on",
    ]
    stopped, end = stored(server, "chats/cut.chat")[-2:]
    assert "".join(WORDS).startswith(stopped)
    assert "word100 " in stopped
    assert end == "Stopped. The chat or its server was shut down."


async def test_jupyter_ais_own_call_for_one_answer_says_where_to_ask_instead(
    server: RunningServer,
) -> None:
    async with server.client() as http:
        answer = await http.post("api/ai/message/Caesarion", json={"message": "hello"})
    assert answer.json() == {
        "response": "⚠️ Caesarion does not answer here. Use the chat, or POST to caesarion/api/chat."
    }


async def test_personas_that_were_refreshed_answer_once(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(Text("Once."), Text("Twice."))
    async with open_chat(server, "chats/refreshed.chat") as chat:
        await chat.send("/refresh-personas", to=None)
        await chat.until(
            lambda: (
                "Refreshed all AI personas in this chat."
                in [message["body"] for message in chat.messages.values()]
            )
        )
        question = await chat.send("hello", to=None)
        await chat.until(lambda: chat.turns == 1)
        assert shown(chat.answer(question)) == ["Once."]
    assert len(model.requests) == 1


async def test_a_message_that_begins_like_a_command_and_is_none_is_answered(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(Text("A folder."), Text("Here, too."))
    async with open_chat(server, "chats/slash.chat") as chat:
        first = await chat.send("/home/ada, what is it?", to=None)
        await chat.until(lambda: chat.turns == 1)
        second = await chat.send("/fix it")
        await chat.until(lambda: chat.turns == 2)
        assert shown(chat.answer(first)) == ["A folder."]
        assert shown(chat.answer(second)) == ["Here, too."]
    assert [message["content"] for message in told(model)][-1] == "/fix it"


async def test_reasoning_that_a_provider_wants_back_is_kept_for_later_turns(
    tmp_path: Path,
) -> None:
    def thinking(**delta: Any) -> Raw:
        deltas = [{"reasoning_content": "Let me see."}, delta]
        return Raw([{"choices": [{"index": 0, "delta": one}]} for one in deltas])

    arguments = json.dumps({"code": "print(6 * 7)"})
    function = {"name": "python_interpreter", "arguments": arguments}
    wanted = thinking(tool_calls=[{"index": 0, "id": "c1", "function": function}])
    script = [wanted, thinking(content="42."), thinking(content="Yes.")]
    async with OpenAIServer(script, needs="reasoning_content") as provider:
        with running_server(tmp_path, model_url=provider.base_url) as server:
            async with open_chat(server, "chats/thought.chat") as chat:
                first = await chat.ask("six times seven?")
                assert shown(first)[-1] == "42."
                assert first[0]["mime_model"]["data"][REASONING_MIME]["text"] == "Let me see."
            # Another persona, with nothing but the file.
            async with open_chat(server, "chats/thought.chat") as chat:
                assert shown(await chat.ask("sure?"))[-1] == "Yes."
    *_, asked, result, said, _ = provider.requests[-1].body["messages"]
    assert asked["reasoning_content"] == "Let me see."
    assert (result["content"], said["content"]) == ("42", "42.")
    assert "reasoning_content" not in said
    assert len(provider.requests) == 3


async def test_only_personas_of_enabled_extensions_are_loaded(
    model: OpenAIServer, server: RunningServer, tmp_path: Path
) -> None:
    async with open_chat(server, "chats/personas.chat"):
        assert "Loading personas: caesarion\n" in server.log
    on = "--ServerApp.jpserver_extensions=jupyter_ai_acp_client=True"
    with running_server(tmp_path, model_url=model.base_url, arguments=[on]) as other:
        async with open_chat(other, "chats/personas.chat"):
            loaded = re.search(r"Loading personas: (.+)", other.log)
            assert loaded
            assert len(loaded[1].split(", ")) > 1


async def test_a_setting_that_cannot_be_used_is_told_in_the_chat_and_in_the_log(
    model: OpenAIServer, tmp_path: Path
) -> None:
    setting = {"CAESARION_MODEL_TIMEOUT": "soon"}
    with running_server(tmp_path, model_url=model.base_url, environment=setting) as server:
        async with open_chat(server, "chats/setting.chat") as chat:
            await chat.send("hello")
            await chat.until(lambda: len(chat.messages) == 2)
            assert list(chat.messages.values())[1]["body"] == (
                "⚠️ Caesarion did not start in this server, as one of its settings cannot be used. "
                "Tell whoever runs it; the server's log says which."
            )
        assert "CAESARION_MODEL_TIMEOUT is 'soon', which is not a value of" in server.log
        assert server.stop() == 0
