"""The model's reasoning is folded under a line that says how long the model thought."""

import re
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.fakes.openai_server import OpenAIServer, Raw

THOUGHTS = """\
The user wants the largest prime below 100.

1. 99 is divisible by 3, 98 by 2.
2. 97 is divisible by none of **2, 3, 5 and 7**, and 11 squared is above it.

So the answer is 97."""


def thinking(words: str, *, delay: float = 0.0) -> Raw:
    """Return an answer that thinks first."""
    deltas: list[dict[str, Any]] = [
        *({"reasoning_content": piece} for piece in re.findall(r"\S+\s*", THOUGHTS)),
        {"content": words},
    ]
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return Raw([*chunks, end], delay=delay)


def test_reasoning_is_folded_and_can_be_read(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(thinking("It is **97**.", delay=0.03))
    lab.send("the largest prime below 100?")
    reasoning = lab.side.locator(".caesarion-reasoning")
    summary = reasoning.locator("summary")
    expect(summary).to_have_text(re.compile("^Thinking for "))
    visits.picture(lab, "thinking")
    expect(summary).to_have_text(re.compile("^Thought for "))
    expect(lab.messages.last).to_have_text("It is 97.")
    text = reasoning.get_by_role("region", name="What the model thought")
    expect(text).to_have_count(0)
    visits.picture(lab, "folded")
    summary.focus()
    lab.page.keyboard.press("Enter")
    expect(text).to_contain_text("divisible by none of 2, 3, 5 and 7")
    expect(text.locator("li")).to_have_count(2)
    visits.picture(lab, "light")
    visits.picture(lab, "dark", dark=True)
    lab.reload()
    expect(summary).to_have_text(re.compile("^Thought for "))
    expect(text).to_have_count(0)


def test_reasoning_that_is_unfolded_stays_so_while_it_grows(
    lab: Lab, provider: OpenAIServer
) -> None:
    provider.add(thinking("It is 97.", delay=0.05))
    lab.send("the largest prime below 100?")
    reasoning = lab.side.locator(".caesarion-reasoning")
    reasoning.locator("summary").click()
    text = reasoning.get_by_role("region", name="What the model thought")
    expect(text).to_contain_text("The user wants")
    # The click may have come to a node that was being replaced, and opened it without the focus.
    reasoning.locator("summary").focus()
    expect(text).to_contain_text("So the answer is 97.")
    expect(lab.messages.last).to_have_text("It is 97.")
    expect(text).to_be_visible()
    expect(reasoning.locator("summary")).to_be_focused()
