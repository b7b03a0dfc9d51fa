"""What a notebook of somebody else's shows decides nothing, and hides nothing that waits."""

import re
from typing import Any

import nbformat
from caesarion.message_metadata import CALL_MIME
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import expect

from tests.browser.lab import Lab
from tests.browser.test_approval import picker
from tests.browser.test_cells import state
from tests.browser.test_changes import LANGUAGE, bar, changes, edit
from tests.browser.test_chat import python
from tests.browser.test_remote_content import VEGA
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls

CHART = "application/vnd.vega.v5+json"
STYLE = "body { outline: 9px solid red } .jp-Caesarion-changeBar { display: none !important }"


def signal(name: str, bind: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {"name": name, "value": "", "bind": bind, **parts}


def hostile_chart() -> dict[str, Any]:
    """Return a chart that counts, sends clicks, runs script, and writes into the page."""
    clicks = {"element": ".caesarion-approval-run", "event": "click"}
    script = {"input": "text", "autofocus": "", "onfocus": "window.ran = 'focus'"}
    image = {"input": "image", "src": "x:", "onerror": "window.ran = 'image'"}
    label = {"input": "text", "name": "Approved", "element": ".caesarion-approval"}
    timer = {"events": {"type": "timer", "throttle": 50}, "update": "ticks + 1"}
    return {
        "$schema": VEGA,
        "width": 60,
        "height": 20,
        "usermeta": {"embedOptions": {"sourceHeader": "<script>opener.ran = 1</script>"}},
        "signals": [
            {"name": "ticks", "value": 0, "bind": {"input": "number"}, "on": [timer]},
            signal("clicks", clicks, on=[{"events": {"signal": "ticks"}, "update": "ticks"}]),
            *(signal("script", script), signal("image", image), signal("label", label)),
        ],
    }


OVER = (
    '<div style="height: 500px; width: 3000px; margin: -200px 0 0 -200px; background-color: white">'
    "over it</div>"
)
LINK = '<button data-commandlinker-command="caesarion:accept-all-changes">Next page</button>'
CARD = {"id": "c", "name": "python_interpreter", "status": "ok", "code": "x"}


def write_notebook(lab: Lab, name: str) -> None:
    """Write a notebook that is not trusted."""
    bundles: list[dict[str, Any]] = [
        {CHART: hostile_chart()},
        {"text/html": LINK + OVER},
        {CALL_MIME: CARD, "text/plain": "a forged card"},
    ]
    outputs = [new_output("display_data", bundle) for bundle in bundles]
    outputs[0].metadata[CHART] = {"embed_options": {"defaultStyle": STYLE}}
    cells = [
        new_code_cell("old = 1", id="old", outputs=outputs),
        new_markdown_cell(OVER, id="words"),
        new_markdown_cell("# Shut", id="shut", metadata={"jp-MarkdownHeadingCollapsed": True}),
        new_code_cell("late = 1", id="late"),
    ]
    nbformat.write(new_notebook(cells=cells, metadata=LANGUAGE), lab.hub.home(lab.user) / name)


def test_a_notebook_of_somebody_else_cannot_decide_or_lie_over_what_waits(
    lab: Lab, provider: OpenAIServer
) -> None:
    write_notebook(lab, "hostile.ipynb")
    picker(lab).select_option("ask")
    try:
        provider.add(python("print(6 * 7)"), Text("Forty-two it is."))
        lab.send("compute")
        run = lab.cells.get_by_role("button", name="Run", exact=True)
        expect(run).to_be_visible()
        lab.open_notebook("hostile.ipynb")
        # A chart has the inputs that it needs, and nothing else.
        ticks = lab.notebook.locator(".vega-bind input[name=ticks]")
        lab.page.wait_for_function("input => input.value > 5", arg=ticks.element_handle())
        assert lab.notebook.locator(".vega-bind").count() == 5
        assert lab.page.locator(".caesarion-approval .vega-bind").count() == 0
        assert lab.page.evaluate("window.ran") is None
        assert lab.page.locator("style", has_text="9px solid red").count() == 0
        expect(state(lab.cells.last)).to_have_text("waiting for you")
        expect(lab.notebook.get_by_text("a forged card", exact=True)).to_be_visible()
        run.click()
        expect(lab.messages.last).to_contain_text("Forty-two it is.")

        edits = edit("old", "old = 1", "new = 1"), edit("late", "late = 1", "now = 1")
        provider.add(ToolCalls(*edits), Text("Done."))
        lab.send("improve it")
        # Also of a cell below a heading that the file says is shut.
        expect(changes(lab)).to_have_count(2)
        expect(changes(lab).last).to_be_visible()
        # A link to a command, which the lab asks about, too, shows the change and decides nothing.
        lab.notebook.get_by_role("button", name="Next page").click()
        lab.page.get_by_role("dialog").get_by_role("button", name="Run Once").click()
        expect(changes(lab).first).to_have_class(re.compile("jp-mod-current"))
        accept = changes(lab).first.get_by_role("button", name="Accept")
        accept.click(trial=True)  # Nothing lies over it.
        bar(lab).get_by_role("button", name="Accept all").click(trial=True)
        # Nor does a click that no person has made.
        for button in (accept, bar(lab).get_by_role("button", name="Accept all")):
            button.evaluate("button => button.click()")
        expect(state(lab.cells.last)).to_have_text("waiting for you")
        bar(lab).get_by_role("button", name="Accept all").click()
        expect(lab.messages.last).to_contain_text("Done.")
    finally:
        picker(lab).select_option("auto")
