"""The chat: words stream, code runs and is stopped, failures are readable, nothing is lost."""

import json

from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call

LOOP = """\
import time

kept = 6 * 7
for i in range(600):
    print(f"step {i}")
    time.sleep(0.1)"""

PLOTS = """\
import matplotlib.pyplot as plt

for power in (2, 3):
    plt.plot([number**power for number in range(10)])
    plt.show()"""


def python(code: str) -> ToolCalls:
    return ToolCalls(call("python_interpreter", {"code": code}))


def words(count: int) -> list[str]:
    return [f"word{number} " for number in range(count)]


def stop(lab: Lab) -> None:
    """Click Stop and wait until the chat is idle."""
    lab.stop_button.click()
    expect(lab.stop_button).to_be_disabled()


def test_words_are_seen_as_they_come(lab: Lab, provider: OpenAIServer, visits: Visits) -> None:
    provider.add(Text(*words(40), delay=0.1))
    lab.send("count slowly")
    expect(lab.messages.last).to_contain_text("word3")
    expect(lab.status).to_contain_text("Caesarion is thinking")
    visits.picture(lab, "half way")
    half = lab.messages.last.inner_text().split()
    assert half == [word.strip() for word in words(len(half))]
    assert len(half) < 40
    expect(lab.messages.last).to_have_text("".join(words(40)).strip())
    expect(lab.stop_button).to_be_disabled()


def test_the_end_of_an_answer_stays_in_view_unless_one_scrolls_up(
    lab: Lab, provider: OpenAIServer
) -> None:
    provider.add(python(PLOTS), Text("Two plots."), Text(*words(300), delay=0.02))
    lab.ask("plot twice", "Two plots.")
    expect(lab.plot).to_have_count(2)
    expect(lab.messages.last).to_be_in_viewport(ratio=1)
    lab.send("count to 300")
    expect(lab.messages.last).to_contain_text("word99")
    expect(lab.stop_button).to_be_enabled()
    lab.messages.last.hover()
    lab.page.mouse.wheel(0, -5000)
    expect(lab.messages.last).to_contain_text("word299")
    expect(lab.messages.first).to_be_in_viewport()
    provider.add(Text("At the end."))
    lab.ask("and now?", "At the end.")
    expect(lab.messages.last).to_be_in_viewport(ratio=1)


def test_stop_ends_words(lab: Lab, provider: OpenAIServer, visits: Visits) -> None:
    provider.add(Text(*words(600), delay=0.05), Text("Here I am again."))
    lab.send("count to 600")
    expect(lab.messages.last).to_contain_text("word5")
    stop(lab)
    expect(lab.messages.last).to_have_text("Stopped.")
    said = lab.messages.nth(1).inner_text()
    lab.ask("are you there?", "Here I am again.")
    assert lab.messages.nth(1).inner_text() == said


def test_stop_ends_a_running_cell(lab: Lab, provider: OpenAIServer, visits: Visits) -> None:
    provider.add(python(LOOP), python("print(kept)"), Text("It was kept."))
    lab.send("loop for a minute")
    expect(lab.messages.last).to_contain_text("step 3")
    expect(lab.status).to_contain_text("Caesarion is running code")
    visits.picture(lab, "running")
    stop(lab)
    expect(lab.messages.last).to_have_text("Stopped.")
    lab.ask("what was kept?", "It was kept.")
    expect(lab.messages.nth(-2)).to_have_text("42")


def test_a_failing_cell_shows_a_readable_traceback(lab: Lab, provider: OpenAIServer) -> None:
    provider.add(python("def inverse(x):\n    return 1 / x\n\ninverse(0)"), Text("It failed."))
    lab.ask("divide by zero", "It failed.")
    trace = lab.messages.filter(has_text="ZeroDivisionError: division by zero")
    expect(trace).to_be_visible()
    shown = trace.inner_text()
    assert "return 1 / x" in shown
    assert "\x1b" not in shown
    assert "[0;31m" not in shown
    everything = lab.side.inner_text()
    for servers in ("site-packages", "caesarion/", "tornado", "asyncio"):
        assert servers not in everything


def test_a_reload_keeps_the_conversation(lab: Lab, provider: OpenAIServer) -> None:
    provider.add(
        python("import matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.show()"),
        Text("These are **squares**."),
    )
    lab.ask("plot the squares", "These are squares.")
    expect(lab.plot).to_have_count(1)
    before = lab.messages.all_inner_texts()
    lab.reload()
    expect(lab.plot).to_have_count(1)
    assert lab.messages.all_inner_texts() == before
    provider.add(Text("Yes, three of them."))
    lab.ask("do you remember?", "Yes, three of them.")
    expect(lab.messages.last).to_be_in_viewport(ratio=1)
    roles = [message["role"] for message in provider.requests[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


def test_each_question_begins_a_trace_that_the_gateway_logs(
    lab: Lab, provider: OpenAIServer
) -> None:
    before, chat_file = len(lab.hub.log.splitlines()), f"{lab.title.text_content()}.chat"
    provider.add(Text("One."), Text("Two."))
    lab.ask("first", "One.")
    lab.ask("second", "Two.")

    def settled() -> list[str]:
        lines = [line for line in lab.hub.log.splitlines()[before:] if '"settled"' in line]
        return [line["trace"] for line in map(json.loads, lines) if line["user"] == lab.user]

    def begun() -> list[str]:
        chat = json.loads((lab.hub.home(lab.user) / "chats" / chat_file).read_text())
        return [
            message["metadata"]["traceparent"].split("-")[1]
            for message in chat["messages"]
            if message["body"] in ("first", "second")
        ]

    # The chat is saved, and the log read, a little later than the answer is seen.
    lab.until(lambda: len(begun()) == len(settled()) == 2)
    assert settled() == begun()
    assert len(set(begun())) == 2
