"""JupyterLab's keyboard in a page that has just loaded: shortcuts and toolbars."""

from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.hub import RunningHub


def test_shortcuts_of_plugins_that_load_late_work_and_arrows_go_through_a_toolbar(
    scripted_hub: RunningHub, visits: Visits
) -> None:
    kay = visits(scripted_hub, "kay")
    kay.log_in()
    browser = kay.page.locator("#filebrowser")
    expect(browser).to_be_visible()
    kay.page.keyboard.press("Control+Shift+F")
    expect(browser).to_be_hidden()
    kay.page.keyboard.press("Control+Shift+F")
    expect(browser).to_be_visible()

    # The toolbar is one stop of the Tab key.
    buttons = kay.page.locator("#filebrowser .jp-FileBrowser-toolbar jp-button:visible")
    expect(buttons.and_(kay.page.locator("[tabindex='0']"))).to_have_count(1)
    expect(buttons.nth(0)).to_have_attribute("tabindex", "0")
    buttons.nth(0).focus()
    kay.page.keyboard.press("ArrowRight")
    expect(buttons.nth(1)).to_be_focused()
    expect(buttons.nth(1)).to_have_attribute("tabindex", "0")
    expect(buttons.nth(0)).to_have_attribute("tabindex", "-1")
