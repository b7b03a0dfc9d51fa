"""Budgets in the chat and in the administrator's pages, which need no JavaScript."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visits
from tests.browser.lab import let_in, new_context
from tests.fakes.openai_server import OpenAIServer, Text, Usage
from tests.hub import RunningHub, Session, running_hub

GATEWAY = "/services/gateway"


@pytest.fixture(scope="module")
def frugal_hub(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHub]:
    """A hub whose users have a large budget each."""
    budgets = [{"scope": "user", "window": "month", "tokens": 100_000}]
    values = {
        "gateway": {"budgets": budgets, "prices": {"gpt-4.1": {"prompt": 2, "completion": 8}}}
    }
    folder = tmp_path_factory.mktemp("frugal") / "state"
    environment = {"OPENAI_BASE_URL": provider.base_url}
    with running_hub(folder, environment=environment, values=values) as hub:
        yield hub


@pytest.fixture(scope="module")
def administrator(frugal_hub: RunningHub) -> Session:
    return frugal_hub.login("admin")


@pytest.fixture
def overview(frugal_hub: RunningHub, administrator: Session, browser: Browser) -> Iterator[Page]:
    """The administrators' overview, whose clock the test moves."""
    context = new_context(browser)
    page = context.new_page()
    page.clock.install()
    let_in(context, administrator)
    page.goto(f"{frugal_hub.url}{GATEWAY}/admin")
    yield page
    context.close()


def add_budget(page: Page, name: str, tokens: str) -> None:
    """Add an overall budget for a user."""
    form = page.locator("#add")
    form.get_by_label("For").select_option("user")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Window").select_option("total")
    form.get_by_label("Tokens").fill(tokens)
    form.get_by_role("button", name="Add").click()


def test_the_smaller_budget_is_refused_in_the_chat_and_the_administrator_sees_both(
    frugal_hub: RunningHub, visits: Visits, provider: OpenAIServer
) -> None:
    provider.replies_left.clear()
    provider.add(*[Text("Certainly", ".", usage=Usage(40, 20))] * 3)
    admin = visits(frugal_hub, "admin")
    admin.send_form(frugal_hub.admin_password, "/hub/home")
    admin.page.get_by_role("button", name="Services").click()
    admin.page.get_by_role("link", name="Gateway overview").click()
    admin.page.get_by_role("link", name="Budgets", exact=True).click()
    for name, tokens in (("ivy", "50"), ("jack", "5000")):
        add_budget(admin.page, name, tokens)
        expect(admin.page.get_by_role("status")).to_contain_text(
            f"overall budget for user {name} was added"
        )
    add_budget(admin.page, "ivy", "9")
    expect(admin.page.get_by_role("alert")).to_contain_text("exists already: 50 tokens.")
    visits.picture(admin, "budgets")
    admin.page.get_by_role("link", name="Overview").click()
    refused = admin.page.locator("#refused")
    expect(refused).to_contain_text("No requests were refused.")

    ivy, jack = visits(frugal_hub, "ivy"), frugal_hub.login("jack")
    ivy.log_in()
    ivy.ask("hello", "Certainly.")
    path = jack.start_server() + "caesarion/api/chat"
    for content in ("hello", "again"):
        asked = {"messages": [{"role": "user", "content": content}]}
        assert "Certainly" in jack.post(path, json=asked).raise_for_status().text
    ivy.ask("again", "Your budget of 50 tokens in total is used up: 60 are used.")
    expect(ivy.messages.last).to_contain_text("the operator can raise it")
    visits.picture(ivy, "refused")

    # The page has come up to date by itself.
    expect(refused.get_by_role("row", name="ivy 1 ")).to_contain_text(
        "Your budget of 50 tokens in total is used up: 60 are used."
    )
    expect(refused.get_by_role("link", name="jack")).to_have_count(0)
    servers = admin.page.locator("#servers")
    for name, tokens in (("ivy", "60"), ("jack", "120")):
        expect(servers.get_by_role("link", name=name)).to_be_visible()
        row = admin.page.locator("tr", has=admin.page.get_by_role("cell", name=name, exact=True))
        expect(row.get_by_role("cell", name=tokens, exact=True).first).to_be_visible()
    visits.picture(admin, "overview")

    admin.page.get_by_role("link", name="Budgets", exact=True).click()
    row = admin.page.get_by_role("row", name="user ivy in total")
    expect(row).to_contain_text("used up")
    row.get_by_label("Tokens").fill("5000")
    row.get_by_role("button", name="Save").click()
    expect(admin.page.get_by_role("status")).to_contain_text("was saved: 5,000 tokens.")
    expect(row.get_by_label("Tokens")).to_have_value("5000")
    provider.add(Text("Gladly.", usage=Usage(40, 20)))
    ivy.ask("and now", "Gladly.")
    admin.page.get_by_role("row", name="user jack in total").get_by_role("link").click()
    admin.page.get_by_role("button", name="Delete it").click()
    expect(admin.page.get_by_role("status")).to_contain_text(
        "overall budget for user jack was deleted."
    )
    admin.page.get_by_role("link", name="Audit", exact=True).click()
    expect(admin.page.get_by_text("user ivy, in total: 50 tokens → 5,000 tokens")).to_be_visible()
    admin.page.get_by_role("button", name="Verify the audit").click()
    expect(admin.page.get_by_role("status")).to_contain_text("The audit is whole. Its records: 5;")
    visits.picture(admin, "audit")


def test_the_switch_to_dark_is_the_hubs_own(frugal_hub: RunningHub, visits: Visits) -> None:
    kim = visits(frugal_hub, "kim")
    kim.send_form(frugal_hub.user_password, f"{GATEWAY}/usage")
    html = kim.page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "light")
    kim.page.get_by_role("button", name="Toggle dark mode").click()
    expect(html).to_have_attribute("data-bs-theme", "dark")
    kim.page.goto(f"{frugal_hub.url}/hub/token")
    expect(html).to_have_attribute("data-bs-theme", "dark")
    kim.page.goto(f"{frugal_hub.url}{GATEWAY}/usage")
    expect(html).to_have_attribute("data-bs-theme", "dark")


@pytest.mark.parametrize(
    "path", ["usage", "admin", "admin/spending", "admin/budgets", "admin/audit"]
)
def test_a_page_is_no_wider_than_a_telephone(
    frugal_hub: RunningHub, administrator: Session, browser: Browser, path: str
) -> None:
    context = new_context(browser, viewport={"width": 400, "height": 800})
    page = context.new_page()
    let_in(context, administrator)
    page.goto(f"{frugal_hub.url}{GATEWAY}/{path}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    context.close()


def test_a_page_in_which_somebody_is_at_work_is_left_alone(overview: Page) -> None:
    page = overview
    page.evaluate("document.querySelector('main h1').textContent = 'Old'")
    heading = page.get_by_role("heading", level=1)
    page.locator("main a").first.focus()
    page.clock.run_for(30_000)
    expect(heading).to_have_text("Old")
    live = page.locator("#live")
    expect(live.get_by_text("paused while you select")).to_be_visible()
    expect(live.get_by_text("updated every 10 seconds")).to_be_hidden()
    page.evaluate("document.activeElement.blur()")
    page.clock.run_for(11_000)
    expect(heading).to_have_text("Overview")
    expect(live.get_by_text("updated every 10 seconds")).to_be_visible()


def test_a_page_that_cannot_be_renewed_does_not_say_that_requests_are_answered(
    overview: Page,
) -> None:
    page = overview
    state = page.locator("#state")
    expect(state).to_have_class("alert alert-success")
    page.route("**/admin", lambda route: route.abort())
    page.clock.run_for(11_000)
    expect(state).to_have_text("The gateway did not answer, so its state is unknown.")
    expect(state).to_have_class("alert alert-secondary")
    page.unroute("**/admin")
    page.clock.run_for(11_000)
    expect(state).to_contain_text("Requests are answered.")


def test_the_longest_name_breaks_no_page_and_a_limit_has_its_label_on_a_telephone(
    frugal_hub: RunningHub, administrator: Session, browser: Browser
) -> None:
    context = new_context(browser, viewport={"width": 400, "height": 800})
    page = context.new_page()
    let_in(context, administrator)
    page.goto(f"{frugal_hub.url}{GATEWAY}/admin/budgets")
    add_budget(page, "x" * 255, "5")
    row = page.locator("#current")
    expect(row.get_by_text("Dollars")).to_be_in_viewport()
    for path in ("admin", "admin/audit", "admin/budgets"):
        page.goto(f"{frugal_hub.url}{GATEWAY}/{path}")
        expect(page.locator("main")).to_contain_text("x" * 255)
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        for width in (400, 1000):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(
                "[...document.querySelectorAll('.scroll')]"
                ".every(one => one.scrollWidth <= one.clientWidth)"
            ), f"{path} {width}"
        page.set_viewport_size({"width": 400, "height": 800})
    page.get_by_role("row", name="x" * 255).get_by_role("link", name="Delete…").click()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("status")).to_contain_text("was deleted.")
    context.close()


def test_the_pages_work_without_javascript(frugal_hub: RunningHub, browser: Browser) -> None:
    context = new_context(browser, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{frugal_hub.url}/hub/login?next=/hub/home")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(frugal_hub.admin_password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/hub/home")
    page.goto(f"{frugal_hub.url}{GATEWAY}/admin/spending")
    expect(page.get_by_role("heading", name="Spending")).to_be_visible()
    page.get_by_label("Name starts with").fill("no-such-user")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No usage yet.")).to_be_visible()
    context.close()
