"""A notebook saved from a chat, and its HTML export, load nothing: a server gets no request."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import expect

from tests.browser.conftest import ARTEFACTS, Visits
from tests.browser.lab import Lab, new_context
from tests.browser.test_chat import python
from tests.browser.test_remote_content import (
    SVG,
    Listener,
    charts,
    expect_silence,
    html,
    listening,
    markdown,
)
from tests.fakes.openai_server import OpenAIServer, Text

DISPLAY = """\
import json
from IPython.display import display
for bundle in json.loads({bundles!r}):
    display(bundle, raw=True)
"shown\""""


def between_parsers(url: str) -> str:
    """Return Markdown that JupyterLab, nbconvert and others read each in another way."""
    other = url.removeprefix("http:")
    return f"""\
[a formula in an address]($" style="background:url({url}/math-style)" $)
![$" srcset="{url}/math-srcset" $](data:image/png;base64,AAAA)

$

$$ x

```text
$$ <img src="{url}/math-over-a-fence">
```

- item

      ```
   ![nested]({url}/nested)
  <img src="{url}/nested-html">

&#36;&#92;style{{background:url({url}/entities)}}{{x}}&#36;

<<img>img src="{url}/joined"> <https://a>img src="{url}/autolink"> <<b>img src="{url}/kept">

<b title="$x$" style="background:url({url}/b)">bold</b> <details open ontoggle="fetch('{url}/on')">x

```&#109;ermaid
flowchart LR
  A["<img src='{url}/escaped-info'>"]
```

``` mermaid-like
<img src="{url}/raw-diagram">
```

```mermaid
flowchart LR
  A["<img src='&#47&#47{other.removeprefix("//")}/diagram-entities'>"]
```
"""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


def save(lab: Lab, provider: OpenAIServer, url: str) -> Path:
    """Save a chat that is full of addresses as a notebook; return its file."""
    words = f"{markdown(url)}\n\n{between_parsers(url)}"
    bundles = [
        {"text/html": html(url)},
        {"text/markdown": words},
        *charts(url),
        {"application/javascript": f"fetch('{url}/javascript')", "text/plain": "plain"},
        {"image/png": f'" src="{url}/png-markup'},
        {"image/svg+xml": f'<svg xmlns="{SVG}"><text y="9">drawn</text></svg>'},
    ]
    provider.add(python(DISPLAY.format(bundles=json.dumps(bundles))), Text(f"{words}\n\nThe end."))
    lab.ask(f"attack <img src='{url}/question'>", "The end.")
    lab.side.get_by_role("button", name="Save as notebook", exact=True).click()
    title = lab.title.text_content()
    expect(lab.notebook.locator(".jp-MarkdownOutput", has_text="The end.")).to_be_visible()
    return lab.hub.home(lab.user) / f"{title}.ipynb"


def test_a_notebook_saved_from_a_chat_loads_nothing_in_the_lab(
    lab: Lab, provider: OpenAIServer, listener: Listener
) -> None:
    save(lab, provider, listener.url)
    expect(lab.notebook.get_by_text("Pictures follow.").nth(2)).to_be_visible()
    expect(lab.cell_output("shown")).to_be_visible()
    expect_silence(lab, listener)
    link = lab.notebook.get_by_role("link", name="Picture: a picture").last
    expect(link).to_have_attribute("href", f"{listener.url}/markdown")


def test_the_html_of_a_notebook_saved_from_a_chat_loads_nothing(
    lab: Lab, provider: OpenAIServer, listener: Listener, visits: Visits, tmp_path: Path
) -> None:
    notebook = save(lab, provider, listener.url)
    for template in ("lab", "classic", "basic"):
        exported, _ = HTMLExporter(template_name=template).from_filename(str(notebook))
        file = tmp_path / f"{template}.html"
        file.write_text(exported)
        page = new_context(visits.browser).new_page()
        page.goto(file.as_uri(), wait_until="domcontentloaded")
        expect(page.get_by_text("Pictures follow.").nth(2)).to_be_visible()
        if visits.pictured:
            page.screenshot(path=ARTEFACTS / f"export-{template}.png", full_page=True)
        page.wait_for_load_state("networkidle")
        page.evaluate("url => fetch(url)", f"{listener.url}/{template}")
        page.context.close()
    assert listener.paths == ["/lab", "/classic", "/basic"]
