"""What a person sees before the first question: the light, and questions to begin with."""

import json

from playwright.sync_api import Route, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.fakes.openai_server import OpenAIServer, Text

STATUS = "**/caesarion/api/status*"


def test_a_suggestion_is_sent_with_all_that_goes_along(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text("You have one: rain."))
    welcome = lab.side.locator(".jp-Caesarion-welcome")
    offered = welcome.get_by_role("button")
    expect(offered).to_have_count(4)
    expect(welcome).to_contain_text("Compute the factorial of 20")
    lab.page.wait_for_timeout(700)  # It comes in slowly.
    visits.picture(lab, "light theme")
    lab.new_notebook()
    lab.run_cell("rain = [1.5, 2.5]")
    lab.notebook.locator(".jp-CodeCell .cm-content").first.click()
    expect(lab.side.locator(".jp-Caesarion-chip")).to_have_count(2)
    lab.box.fill("a draft")
    visits.picture(lab, "dark theme", dark=True)
    offered.filter(has_text="What variables do I have?").press("Enter")
    expect(lab.messages.last).to_contain_text("You have one: rain.")
    expect(welcome).to_have_count(0)
    expect(lab.box).to_have_value("a draft")
    messages = provider.requests[-1].body["messages"]
    assert messages[-1]["content"].startswith("What variables do I have?\n\n[Sent along")
    assert messages[-1]["content"].endswith("| rain = [1.5, 2.5]")
    assert "your code runs in its kernel." in messages[0]["content"]


def test_the_light_says_what_is_wrong_and_what_to_do(lab: Lab, visits: Visits) -> None:
    lamp = lab.side.locator(".jp-Caesarion-statusButton")
    told = lab.side.locator(".jp-Caesarion-statusTooltip")
    expect(lamp).to_have_text("Ready")
    lamp.focus()
    expect(told).to_contain_text("Model: gpt-4.1 answers.")
    visits.picture(lab, "ready")

    lab.new_notebook()
    lab.run_cell("import time; time.sleep(4)")
    expect(lamp).to_have_text("Busy")
    lamp.hover()
    expect(told).to_contain_text("is busy: code of the agent waits until it is free.")
    visits.picture(lab, "busy")
    expect(lamp).to_have_text("Ready")

    problem = "The gateway does not answer. Tell whoever runs this server if it stays so."
    away = {"model": "gpt-4.1", "problem": problem, "kernel": None}

    def without_gateway(route: Route) -> None:
        route.fulfill(body=json.dumps(away), content_type="application/json")

    lab.page.route(STATUS, without_gateway)
    look(lab)
    expect(lamp).to_have_text("No model")
    lamp.hover()
    expect(told).to_contain_text(f"Model: {problem}")
    visits.picture(lab, "gateway down")
    lab.page.unroute(STATUS)

    lab.page.route(STATUS, lambda route: route.abort())
    look(lab)
    expect(lamp).to_have_text("Server away")
    lab.page.unroute(STATUS)
    expect(lamp).to_have_text("Ready")


def test_a_page_that_is_not_seen_does_not_ask(lab: Lab) -> None:
    lamp = lab.side.locator(".jp-Caesarion-statusButton")
    expect(lamp).to_have_text("Ready")
    asked: list[str] = []
    lab.page.on("request", lambda request: asked.append(request.url))
    lab.page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: 1})")
    look(lab)
    lab.page.wait_for_timeout(1500)
    assert [url for url in asked if "caesarion/api/status" in url] == []
    lab.page.evaluate("delete document.hidden")
    with lab.page.expect_request(STATUS):
        look(lab)


def test_the_lab_asks_for_no_news_and_no_updates(lab: Lab) -> None:
    asked: list[str] = []
    lab.page.on("request", lambda request: asked.append(request.url))
    lab.page.reload()
    lab.wait_for_chat()
    expect(lab.side.locator(".jp-Caesarion-statusButton").last).to_have_text("Ready")
    assert any("/lab/api/" in url for url in asked)
    assert [url for url in asked if "/lab/api/news" in url or "/lab/api/update" in url] == []
    assert [url for url in asked if not url.startswith((lab.hub.url, "data:", "blob:"))] == []
    expect(lab.page.locator(".Toastify__toast")).to_have_count(0)


def look(lab: Lab) -> None:
    """Let the page think that somebody came back to it."""
    lab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
