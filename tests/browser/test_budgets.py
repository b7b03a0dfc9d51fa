"""Budgets in the chat and in the administrator's pages, which need no JavaScript."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Visits
from tests.fakes.openai_server import OpenAIServer, Text, Usage
from tests.hub import RunningHub, running_hub

GATEWAY = "/services/gateway"


@pytest.fixture(scope="module")
def frugal_hub(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHub]:
    """A hub whose users have budgets: ivy a small one, others a large one."""
    budgets = [
        {"scope": "user", "window": "month", "tokens": 100_000},
        {"scope": "user", "name": "ivy", "window": "total", "tokens": 50},
    ]
    values = {
        "gateway": {"budgets": budgets, "prices": {"gpt-4.1": {"prompt": 2, "completion": 8}}}
    }
    folder = tmp_path_factory.mktemp("frugal") / "state"
    environment = {"OPENAI_BASE_URL": provider.base_url}
    with running_hub(folder, environment=environment, values=values) as hub:
        yield hub


def test_the_smaller_budget_is_refused_in_the_chat_and_the_administrator_sees_both(
    frugal_hub: RunningHub, visits: Visits, provider: OpenAIServer, browser: Browser
) -> None:
    provider.replies_left.clear()
    provider.add(*[Text("Certainly", ".", usage=Usage(40, 20))] * 3)
    ivy, jack = visits(frugal_hub, "ivy"), visits(frugal_hub, "jack")
    for lab in (ivy, jack):
        lab.log_in()
        lab.ask("hello", "Certainly.")
    jack.ask("again", "Certainly.")
    ivy.ask("again", "Your budget of 50 tokens in all is used up: 60 are used.")
    expect(ivy.messages.last).to_contain_text("the operator can raise it")
    visits.picture(ivy, "refused")

    admin = visits(frugal_hub, "admin")
    admin.send_form(frugal_hub.admin_password, "/hub/home")
    admin.page.get_by_role("button", name="Services").click()
    admin.page.get_by_role("link", name="gateway").click()
    expect(admin.page.get_by_role("heading", name="My usage")).to_be_visible()
    admin.page.get_by_role("link", name="Overview").click()
    servers = admin.page.locator("#servers")
    for name, tokens in (("ivy", "60"), ("jack", "120")):
        expect(servers.get_by_role("link", name=name)).to_be_visible()
        row = admin.page.locator("tr", has=admin.page.get_by_role("cell", name=name, exact=True))
        expect(row.get_by_role("cell", name=tokens, exact=True).first).to_be_visible()
    visits.picture(admin, "overview")

    admin.page.get_by_role("link", name="Budgets").click()
    row = admin.page.get_by_role("row", name="user ivy total")
    row.get_by_label("Tokens").fill("5000")
    row.get_by_role("button", name="Save").click()
    expect(row.get_by_label("Tokens")).to_have_value("5000")
    provider.add(Text("Gladly.", usage=Usage(40, 20)))
    ivy.ask("and now", "Gladly.")
    admin.page.get_by_role("link", name="Audit").click()
    admin.page.get_by_role("button", name="Verify the chain").click()
    expect(admin.page.get_by_role("status")).to_contain_text("The audit is whole. Its records: 1;")
    visits.picture(admin, "audit")


def test_the_pages_work_without_javascript(frugal_hub: RunningHub, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{frugal_hub.url}/hub/login")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(frugal_hub.admin_password)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{frugal_hub.url}{GATEWAY}/admin/spending")
    expect(page.get_by_role("heading", name="Spending")).to_be_visible()
    page.get_by_label("Name begins with").fill("no-such-user")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
    context.close()
