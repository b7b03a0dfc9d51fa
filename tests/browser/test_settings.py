"""JupyterLab's settings in the page: those that nobody has set, and those that somebody has."""

from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.browser.lab import DARK
from tests.hub import RunningHub

# ajv 8, as JupyterLab 4.6 bundles it, makes functions of three texts for each schema.
COUNTED = """
window.compiled = 0;
window.Function = new Proxy(Function, {
  apply(target, self, texts) {
    window.compiled += texts.length === 3;
    return Reflect.apply(target, self, texts);
  }
});
"""
# Three for the schema of schemas, by each of JupyterLab's two validators, before there is a plugin.
BEFORE = 6


def test_only_settings_that_somebody_has_set_are_compiled_and_they_last(
    scripted_hub: RunningHub, visits: Visits
) -> None:
    una = visits(scripted_hub, "una")
    una.page.add_init_script(COUNTED)
    una.log_in()
    assert una.page.evaluate("compiled") == BEFORE

    una.use_theme(DARK)
    assert una.page.evaluate("compiled") > BEFORE

    una.page.reload()
    expect(una.page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
