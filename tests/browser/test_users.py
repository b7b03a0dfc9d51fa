"""Who comes in, what they find, and what they do not see of each other."""

from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.hub import RunningHub


def test_a_newcomer_logs_in_and_plots_a_sine_wave(hub: RunningHub, visits: Visits) -> None:
    newcomer = visits(hub, "newcomer")
    newcomer.log_in_by_form()
    assert newcomer.page.url == f"{hub.url}/user/newcomer/lab"
    expect(newcomer.title).to_have_text("Chat")
    expect(newcomer.page.locator("#jp-right-stack .jp-chat-sidepanel")).to_be_visible()
    expect(newcomer.page.locator(".jp-LauncherCard").first).to_be_visible()
    visits.picture(newcomer, "before")
    newcomer.ask("plot a sine wave", "The code drew a picture")
    expect(newcomer.messages.nth(1)).to_contain_text("I am Caesarion's demo model")
    expect(newcomer.code).to_contain_text("plt.plot(x, np.sin(x))")
    expect(newcomer.plot).to_have_count(1)
    assert newcomer.plot.evaluate("image => image.naturalWidth") > 300
    expect(newcomer.plot).to_be_in_viewport(ratio=1)
    expect(newcomer.messages.last).to_be_in_viewport(ratio=1)


def test_a_wrong_password_is_a_message(hub: RunningHub, visits: Visits) -> None:
    mallory = visits(hub, "mallory")
    mallory.send_form("not the password")
    expect(mallory.page.get_by_text("Invalid username or password")).to_be_visible()
    expect(mallory.page.get_by_label("Username")).to_have_value("mallory")


def test_two_users_do_not_see_each_others_chats_or_files(hub: RunningHub, visits: Visits) -> None:
    neighbour, newcomer = visits(hub, "neighbour"), visits(hub, "newcomer")
    neighbour.log_in()
    neighbour.new_chat()
    neighbour.ask("run open('mine.txt', 'w').write('a secret')", "The result is 8.")
    neighbour.refresh_files()
    expect(neighbour.files.filter(has_text="mine.txt")).to_be_visible()

    newcomer.log_in("/user/newcomer/lab/workspaces/alone")
    newcomer.new_chat()
    expect(newcomer.files).to_have_text(["chats"])
    expect(newcomer.messages).to_have_count(0)
    newcomer.ask("what files do I have", "You have no files here")
    visits.picture(newcomer, "files")
    answers = {
        path: newcomer.page.request.get(f"{hub.url}/user/neighbour/{path}").status
        for path in ("lab", "api/contents/mine.txt", "api/kernels", "caesarion/api/status")
    }
    assert set(answers.values()) <= {403, 404}, answers
    newcomer.page.goto(f"{hub.url}/user/neighbour/lab")
    expect(newcomer.page.get_by_role("heading")).to_contain_text("403")
    expect(newcomer.page.locator("#main.jp-LabShell")).to_have_count(0)


def test_the_administrator_sees_both_and_stops_a_server(hub: RunningHub, visits: Visits) -> None:
    for name in ("newcomer", "neighbour"):
        hub.login(name).start_server()
    admin = visits(hub, "admin")
    admin.send_form(hub.admin_password, "/hub/admin")
    newcomer, neighbour = (
        admin.page.locator("tr.user-row", has_text=name) for name in ("newcomer", "neighbour")
    )
    for row in (newcomer, neighbour):
        expect(row.get_by_role("button", name="Stop Server")).to_be_visible()
    visits.picture(admin, "before")
    neighbour.get_by_role("button", name="Stop Server").click()
    expect(neighbour.get_by_role("button", name="Start Server")).to_be_visible()
    expect(newcomer.get_by_role("button", name="Stop Server")).to_be_visible()
    users = hub.login("admin").get("/hub/api/users").raise_for_status().json()
    servers = {user["name"]: user["server"] for user in users}
    assert (servers["newcomer"], servers["neighbour"]) == ("/user/newcomer/", None)


def test_the_admin_panel_warns_before_it_opens_another_users_server(
    hub: RunningHub, visits: Visits
) -> None:
    hub.login("neighbour").start_server()
    admin = visits(hub, "admin")
    admin.send_form(hub.admin_password, "/hub/admin")
    row = admin.page.locator("tr.user-row", has_text="neighbour")
    heading = admin.page.get_by_role("heading", name="The server of neighbour")
    row.get_by_role("link", name="Access Server").click()
    expect(heading).to_be_visible()
    expect(admin.page.get_by_text("This server's pages can act as you.")).to_be_visible()
    visits.picture(admin, "warning")
    admin.page.get_by_role("link", name="Stop").click()
    expect(admin.page).to_have_url(f"{hub.url}/hub/home")
    admin.page.goto(f"{hub.url}/hub/admin")
    row.get_by_role("link", name="Access Server").click()
    admin.page.get_by_role("button", name="Go on").click()
    expect(admin.page).to_have_url(f"{hub.url}/user/neighbour/lab")
    expect(admin.page.locator("#main.jp-LabShell")).to_be_visible()
