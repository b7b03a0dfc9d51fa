"""A lab that the operator has closed: it works, and loads nothing from elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visits
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
        "singleuser": {"contentSecurityPolicy": {"enabled": True, "hosts": ["https://cdn.test"]}}
    }
    with running_hub(tmp_path_factory.mktemp("closed") / "state", values=values) as hub:
        yield hub


def test_a_closed_lab_works_and_loads_nothing_from_elsewhere(
    closed: RunningHub, visits: Visits
) -> None:
    home = closed.home("carol")
    (home / ".jupyter").mkdir(parents=True)
    own = Path(home, ".jupyter", "jupyter_server_config.py")
    own.write_text("c.ServerApp.tornado_settings = {'headers': {'Content-Security-Policy': ''}}")
    carol = visits(closed, "carol")
    carol.log_in()
    carol.ask("plot a sine wave", "The code drew a picture")
    expect(carol.plot).to_have_count(1)
    assert carol.plot.evaluate("image => image.naturalWidth") > 300
    assert [line for line in carol.console if "Content Security Policy" in line] == []
    assert carol.page.evaluate(LOAD, REMOTE) == "img-src"
    header = closed.login("carol").get("/user/carol/lab").headers["Content-Security-Policy"]
    assert "default-src 'self' data: blob: https://cdn.test;" in header
