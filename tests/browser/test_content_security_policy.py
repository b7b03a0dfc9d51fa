"""A lab that the operator has closed: it works, and loads nothing from elsewhere."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab, visit
from tests.browser.test_remote_content import SVG, html, listening, markdown
from tests.hub import RunningHub, running_hub

REMOTE = "http://elsewhere.invalid/a.png"
LOAD = """url => new Promise(done => {
  document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
  const image = document.createElement('img');
  image.src = url;
  document.body.append(image);
})"""


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    values = {
        "singleuser": {
            "contentSecurityPolicy": {"enabled": True, "hosts": ["https://cdn.test"]},
            "userConfiguration": True,
        }
    }
    with running_hub(tmp_path_factory.mktemp("closed") / "state", values=values) as hub:
        yield hub


@pytest.fixture(scope="module")
def page_of_carol(closed: RunningHub, browser: Browser) -> Iterator[Lab]:
    """Carol at her page, whose own configuration would open the lab again."""
    own = closed.home("carol") / ".jupyter" / "jupyter_server_config.py"
    own.parent.mkdir(parents=True)
    own.write_text("c.ServerApp.tornado_settings = {'headers': {'Content-Security-Policy': ''}}")
    with visit(browser, closed, "carol") as carol:
        carol.log_in()
        yield carol


@pytest.fixture
def carol(page_of_carol: Lab, visits: Visits) -> Lab:
    visits.labs.append(page_of_carol)
    return page_of_carol


def test_a_closed_lab_works_and_loads_nothing_from_elsewhere(
    carol: Lab, closed: RunningHub
) -> None:
    carol.ask("plot a sine wave", "The code drew a picture")
    expect(carol.plot).to_have_count(1)
    assert carol.plot.evaluate("image => image.naturalWidth") > 300
    assert [line for line in carol.console if "Content Security Policy" in line] == []
    assert carol.page.evaluate(LOAD, REMOTE) == "img-src"
    header = closed.login("carol").get("/user/carol/lab").headers["Content-Security-Policy"]
    assert "default-src 'self' data: blob: https://cdn.test;" in header


def test_the_viewers_of_files_in_a_closed_lab_load_nothing_from_elsewhere(
    carol: Lab, visits: Visits
) -> None:
    """Those of an open lab load what a file names, for it may be the user's own."""
    home = carol.hub.home("carol")
    carol.console.clear()  # On a busy machine the lab warns of plugins that are slow to start.
    with listening() as listener:
        url = listener.url
        (home / "table.csv").write_text(f"a,b\n<img src='{url}/csv'>,![b]({url}/csv)\n")
        (home / "drawing.svg").write_text(f'<svg xmlns="{SVG}"><image href="{url}/svg"/></svg>')
        (home / "page.html").write_text(f"<script>fetch('{url}/script')</script>{html(url)}")
        (home / "words.md").write_text(markdown(url))
        carol.refresh_files()
        for name, viewer in (
            *(("table.csv", ".jp-CSVViewer canvas"), ("drawing.svg", ".jp-ImageViewer img")),
            ("page.html", ".jp-HTMLViewer iframe"),
        ):
            carol.files.get_by_text(name).dblclick()
            expect(carol.page.locator(viewer).first).to_be_visible()
        carol.files.get_by_text("words.md").click(button="right")
        item = carol.page.locator(".lm-Menu-item:visible")
        item.filter(has_text="Open With").hover()
        item.filter(has_text="Markdown Preview").click()
        preview = carol.page.locator(".jp-MarkdownViewer")
        expect(preview.get_by_text("Pictures follow.")).to_be_visible()
        visits.picture(carol, "markdown")
        carol.page.wait_for_load_state("networkidle")
        assert listener.paths == []
    blocked = [line for line in carol.console if "Content Security Policy" in line]
    assert any(f"{url}/markdown" in line for line in blocked), "the preview is what was closed"
