"""The warning before another user's server that shares the hub's host name, on real hubs."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.hub import RunningHub, Session, free_port, running_hub

HEADING = "<h1>The server of bob</h1>"
WARNING = "This server's pages can act as you."
LAB = "/user/bob/lab"


@pytest.fixture(scope="module")
def bob(hub: RunningHub) -> Session:
    """Bob, whose server runs."""
    bob = hub.login("bob")
    bob.start_server()
    return bob


@pytest.fixture
def admin(hub: RunningHub, bob: Session) -> Session:
    """An administrator in a browser that has opened nothing yet."""
    return hub.login("admin")


def go_on(admin: Session, page: httpx.Response) -> httpx.Response:
    """Press the button of the page."""
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text)
    data = {name: [value for key, value in fields if key == name] for name, _ in fields}
    return admin.post(page.url, data=data)


def is_warning(page: httpx.Response) -> bool:
    return page.status_code == 200 and HEADING in page.text and WARNING in page.text


def test_the_way_from_the_admin_panel_leads_through_the_warning(admin: Session) -> None:
    page = admin.get("/hub/enter", params={"next": f"{LAB}?reset"})
    assert is_warning(page)
    assert "and you are an administrator" in page.text
    lab = go_on(admin, page)
    assert (lab.status_code, lab.url.path, lab.url.query) == (200, LAB, b"reset")


def test_the_panel_sends_its_links_that_way(admin: Session) -> None:
    assert "'/hub/enter?next='" in admin.get("/hub/admin").text


def test_a_server_asks_for_authorization_with_the_warning_each_time(admin: Session) -> None:
    for _ in range(2):
        page = admin.get(LAB)
        assert page.url.path == "/hub/api/oauth2/authorize"
        assert is_warning(page)
        lab = go_on(admin, page)
        assert (lab.status_code, lab.url.path) == (200, LAB)
        assert admin.get(LAB).url.path == LAB, "within the server it is not asked again"
        admin.cookies.delete("jupyterhub-user-bob", path="/user/bob/")


@pytest.mark.parametrize("path", ["/hub/spawn/bob", "/hub/spawn-pending/bob"])
def test_the_pages_of_a_start_lead_through_the_warning(admin: Session, path: str) -> None:
    page = admin.get(path)
    assert page.url.path == "/hub/enter"
    assert is_warning(page)


@pytest.mark.parametrize(
    "disguised", ["/user/admin/../bob/lab", "/user/admin/%2e%2e/bob/lab", "/user//bob/lab"]
)
def test_an_address_is_read_as_the_browser_reads_it(admin: Session, disguised: str) -> None:
    assert is_warning(admin.get("/hub/enter", params={"next": disguised}))


@pytest.mark.parametrize(
    "elsewhere", ["", "/hub/home", "https://example.org/user/bob/", "//x/user/"]
)
def test_the_page_leads_nowhere_else(admin: Session, elsewhere: str) -> None:
    page = admin.get("/hub/enter", params={"next": elsewhere})
    assert page.status_code == 400
    assert "must be a user&#39;s server on this hub" in page.text


def test_to_consent_takes_the_form_of_the_page(admin: Session) -> None:
    admin.get("/hub/home")
    admin.event_hooks["request"].clear()  # no XSRF token
    refused = admin.post("/hub/enter", data={"next": LAB})
    assert refused.status_code == 403


def test_users_reach_their_own_server_without_a_warning(hub: RunningHub, bob: Session) -> None:
    for path in (LAB, "/hub/spawn", "/hub/enter?next=/user/bob/lab"):
        page = hub.login("bob").get(path)
        assert page.url.path == LAB
        assert WARNING not in page.text


class Loopback(httpx.HTTPTransport):
    """Sends requests for any host to the loopback interface."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(host="127.0.0.1")
        sent = httpx.Request(
            request.method,
            url,
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        return super().handle_request(sent)


@pytest.fixture(scope="module")
def subdomains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that gives each user a host name."""
    port = free_port()
    values = {"hub": {"subdomainHost": f"http://hub.test:{port}"}}
    folder = tmp_path_factory.mktemp("subdomains") / "state"
    with running_hub(folder, values=values, port=port) as hub:
        yield hub


def visit(hub: RunningHub, user: str, password: str) -> Session:
    session = Session(f"http://hub.test:{hub.port}", user, transport=Loopback())
    hub.sessions.append(session)
    session.log_in(password).raise_for_status()
    return session


def test_users_with_host_names_of_their_own_are_not_warned_of(subdomains: RunningHub) -> None:
    bob = visit(subdomains, "bob", subdomains.user_password)
    url = bob.start_server()
    assert url == f"http://bob.hub.test:{subdomains.port}/user/bob/"
    admin = visit(subdomains, "admin", subdomains.admin_password)
    page = admin.get("/hub/spawn/bob")
    assert page.url.path == "/hub/api/oauth2/authorize"
    assert WARNING not in page.text
    assert "Authorize access" in page.text
