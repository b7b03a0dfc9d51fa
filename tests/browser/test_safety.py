"""What an agent shows is not run as script in the lab's page."""

import json
from collections.abc import Iterator

import pytest
from caesarion.message_metadata import CALL_MIME, OUTPUT_MIME
from playwright.sync_api import Dialog, expect

from tests.browser.lab import Lab
from tests.browser.test_chat import python
from tests.fakes.openai_server import OpenAIServer, Text

SCRIPTS = """\
<script>window.ran = 'script'; alert('script')</script>
<img src="x:" onerror="window.ran = 'image'; alert('image')">
<svg onload="window.ran = 'svg'; alert('svg')"><script>window.ran = 'svg script'</script></svg>
<iframe srcdoc="<script>parent.ran = 'frame'</script>"></iframe>
<details open ontoggle="window.ran = 'toggle'">more</details>
<a href="javascript:window.ran = 'link'">a link</a>
"""


COMMAND = """\
<button data-commandlinker-command="apputils:change-theme" \
data-commandlinker-args='{"theme": "JupyterLab Dark"}'>a command</button>
"""


@pytest.fixture
def dialogs(lab: Lab) -> Iterator[list[str]]:
    """The messages of the dialogs that scripts have opened; each is dismissed."""
    messages: list[str] = []

    def note(dialog: Dialog) -> None:
        messages.append(dialog.message)
        dialog.dismiss()

    lab.page.on("dialog", note)
    yield messages
    # The page is the next test's, too, which may have to accept a dialog.
    lab.page.remove_listener("dialog", note)


def test_what_the_agent_shows_does_not_run_script(
    lab: Lab, provider: OpenAIServer, dialogs: list[str]
) -> None:
    shown = f"""\
from IPython.display import HTML, SVG, Javascript, Markdown, display
scripts = {SCRIPTS!r}
display(HTML("<b>as HTML</b>" + scripts))
display(Markdown("**as Markdown**\\n\\n" + scripts))
display(SVG("<svg xmlns='http://www.w3.org/2000/svg' onload='window.ran = 1'><text>as SVG</text>"
            "<script>window.ran = 'svg'; alert('svg')</script></svg>"))
display(Javascript("window.ran = 'javascript'; alert('javascript')"))"""
    provider.add(python(shown), Text("**As words**\n\n", SCRIPTS, "\n\nThe end."))
    lab.ask("attack", "The end.")
    for seen in ("as HTML", "as Markdown", "As words"):
        expect(lab.messages.get_by_text(seen, exact=True)).to_be_visible()
    expect(lab.messages.get_by_text("IPython.core.display.SVG object")).to_be_visible()
    links = lab.messages.get_by_text("a link", exact=True)
    expect(links).to_have_count(3)
    for link in links.all():
        link.click()
    for hostile in ("script", "iframe[srcdoc]", "[onload]", "[onerror]", "[ontoggle]"):
        expect(lab.messages.locator(hostile)).to_have_count(0)
    assert lab.page.evaluate("window.ran") is None
    assert dialogs == []


FORM = """\
<form action="/hub/logout" method="get"><input name="a"><button>send it</button></form>
<button formaction="javascript:window.ran = 'formaction'">go</button>
"""


def test_a_form_that_the_agent_shows_leads_nowhere(lab: Lab, provider: OpenAIServer) -> None:
    provider.add(
        python(f"from IPython.display import HTML\n\nHTML({FORM!r})"), Text(FORM, "\n\nEnd.")
    )
    lab.ask("attack", "End.")
    address = lab.page.url
    lab.page.evaluate("window.stayed = true")
    for button in lab.messages.get_by_text("send it", exact=True).all():
        button.click()
    for button in lab.messages.get_by_text("go", exact=True).all():
        button.click()
    assert lab.page.evaluate("[window.stayed, window.ran ?? null]") == [True, None]
    assert lab.page.url == address


def test_a_chat_file_from_elsewhere_runs_neither_script_nor_command(
    lab: Lab, provider: OpenAIServer
) -> None:
    """Nothing of ours has looked at what is in it."""
    hostile = COMMAND + SCRIPTS
    bundles = [
        {CALL_MIME: {"id": "c", "name": "n", "status": hostile, "code": hostile, "place": hostile}},
        {CALL_MIME: {"id": "c", "name": "n", "status": "ok", "label": hostile, "told": hostile}},
        {OUTPUT_MIME: {"call": hostile, "output_type": hostile}, "text/html": hostile},
        {"text/html": hostile},
        {"text/markdown": hostile},
    ]
    said = {"type": "msg", "time": 1.0, "sender": "elsewhere", "body": hostile}
    messages = [
        {**said, "id": "0"},
        *(
            {**said, "id": str(number), "time": 1.0 + number, "mime_model": {"data": bundle}}
            for number, bundle in enumerate(bundles, start=1)
        ),
    ]
    chat = {"messages": messages, "users": {}, "attachments": {}, "metadata": {"id": "hostile"}}
    (lab.hub.home(lab.user) / "chats" / "hostile.chat").write_text(json.dumps(chat))
    lab.open_chat("hostile")
    commands = lab.messages.get_by_text("a command", exact=True)
    expect(commands.first).to_be_visible()
    for command in commands.all():
        command.click()
    for link in lab.messages.get_by_text("a link", exact=True).all():
        link.click()
    expect(lab.page.locator("body")).to_have_attribute("data-jp-theme-light", "true")
    for hostile in ("script", "iframe[srcdoc]", "[onload]", "[onerror]", "[ontoggle]"):
        expect(lab.messages.locator(hostile)).to_have_count(0)
    assert lab.page.evaluate("window.ran") is None


def test_a_files_name_is_text(lab: Lab, provider: OpenAIServer) -> None:
    """In the list of files, and among what a message carries along."""
    name = "<img src=x onerror=window.ran=1>.csv"
    (lab.hub.home(lab.user) / name).write_text("a,b\n1,2\n")
    provider.add(
        python(f"from IPython.display import FileLink\n\nFileLink({name!r})"), Text("End.")
    )
    lab.ask("link it", "End.")
    lab.refresh_files()
    expect(lab.files.get_by_text(name)).to_be_visible()
    expect(lab.messages.locator("[onerror]")).to_have_count(0)
    assert lab.page.evaluate("window.ran") is None


def test_what_the_agent_shows_runs_no_command(lab: Lab, provider: OpenAIServer) -> None:
    shown = f"from IPython.display import HTML\n\nHTML({COMMAND!r})"
    provider.add(python(shown), Text(COMMAND, "\n\nThe end."))
    lab.ask("attack", "The end.")
    expect(lab.messages.get_by_text("a command", exact=True)).to_have_count(2)
    expect(lab.messages.locator("[data-commandlinker-command]")).to_have_count(0)


def test_nothing_that_is_shown_looks_like_the_lab_or_lies_over_it(
    lab: Lab, provider: OpenAIServer
) -> None:
    size = "width: 5000px; height: 5000px; margin-left: -900px; background-color: white"
    over = "".join(
        f'<div class="{name}" inert="inert" style="{size}; z-index: 99999">over it</div>'
        for name in ("lm-cursor-backdrop", "Toastify__toast-container", "jp-chat-selector-popup")
    )
    forged = '<div class="caesarion-call caesarion-approval-run">In [3]: approved by vic</div>'
    hidden = (
        "<div style='height: 0; overflow: hidden'><pre>print(1)"
        "<span style='display:none'>; print(2)</span><datalist>; print(4)</datalist>"
        "<font color='white'>; print(5)</font></pre></div>"
    )
    provider.add(
        python(f"from IPython.display import HTML\n\nHTML({over!r})"),
        Text(over, forged, hidden, "\n\n```python\nprint(3)\n```\n\nEnd."),
    )
    lab.ask("look like the lab", "End.")
    expect(lab.messages.get_by_text("over it", exact=True)).to_have_count(6)
    shown = lab.messages.last
    classes = "*:where(.lm-cursor-backdrop, .Toastify__toast-container, .caesarion-call, [inert])"
    expect(shown.locator(classes)).to_have_count(0)
    for part in ("; print(2)", "; print(4)", "; print(5)"):
        expect(shown.get_by_text(part)).to_be_visible()
    expect(shown.locator("pre font, pre datalist, pre [style]")).to_have_count(0)
    # What colours code stays.
    expect(shown.locator("pre [class]").first).to_be_visible()
    # Whatever a class may do: a message keeps to its own place.
    assert lab.page.evaluate(
        """() => [...document.querySelectorAll('.jp-chat-rendered-message')]
            .every(message => getComputedStyle(message).contain.includes('paint'))"""
    )
    box = lab.stop_button.bounding_box()
    assert box
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    top = lab.page.evaluate(
        "([x, y]) => document.elementFromPoint(x, y).closest('.jp-chat-rendered-message')", middle
    )
    assert top is None
