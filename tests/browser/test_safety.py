"""What an agent shows is not run as script in the lab's page."""

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


def test_what_the_agent_shows_does_not_run_script(lab: Lab, provider: OpenAIServer) -> None:
    dialogs: list[str] = []

    def note(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    lab.page.on("dialog", note)
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


def test_what_the_agent_shows_runs_no_command(lab: Lab, provider: OpenAIServer) -> None:
    shown = f"from IPython.display import HTML\n\nHTML({COMMAND!r})"
    provider.add(python(shown), Text(COMMAND, "\n\nThe end."))
    lab.ask("attack", "The end.")
    expect(lab.messages.get_by_text("a command", exact=True)).to_have_count(2)
    expect(lab.messages.locator("[data-commandlinker-command]")).to_have_count(0)
