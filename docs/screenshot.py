"""
Retake the README's pictures, ``docs/*.png``: ``.venv/bin/python docs/screenshot.py``.

Starts what ``make up`` starts, with the demo model, and is a person in a browser: runs a
notebook, lets a cell that fails be fixed, asks in the chat beside it for a plot of what the
notebook has computed; drops a table on another chat, asks for a plot of it, and takes the cell
into a notebook.
"""

import sys
import tempfile
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import expect

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from tests.browser.lab import Lab, chromium, visit  # noqa: E402
from tests.browser.test_uploads import drop  # noqa: E402
from tests.hub import running_hub  # noqa: E402

CELLS = [
    new_markdown_cell(
        "# How long is the day?\n\n"
        "The sun's declination $\\delta$ and the latitude $\\varphi$ say how long it stays up: "
        "$\\cos\\omega = -\\tan\\varphi\\,\\tan\\delta$."
    ),
    new_code_cell(
        "import matplotlib.pyplot as plt\n"
        "import numpy as np\n"
        "import pandas as pd\n\n"
        'plt.rcParams |= {"figure.figsize": (6, 3.4), "axes.grid": True}\n\n'
        "day = np.arange(1, 366)\n"
        "declination = -np.radians(23.44) * np.cos(2 * np.pi * (day + 10) / 365)\n\n"
        "def daylight(latitude):\n"
        "    cosine = -np.tan(np.radians(latitude)) * np.tan(declination)\n"
        "    return 24 / np.pi * np.arccos(cosine.clip(-1, 1))"
    ),
    new_code_cell(
        'latitudes = {"Reykjavik": 64.1, "Lisbon": 38.7, "Hobart": -42.9}\n'
        "hours = pd.DataFrame(\n"
        "    {city: daylight(latitude) for city, latitude in latitudes.items()},\n"
        '    index=pd.Index(day, name="day of the year"),\n'
        ")\n"
        'hours.agg(["min", "mean", "max"]).round(1)'
    ),
]
QUESTION = 'run hours.plot(title="Hours of daylight");'


TABLE = "date,region,sales\n" + "".join(
    f"2026-{month:02}-{day:02},{region},{100 + 37 * month * factor % 90 + 5 * month}\n"
    for month in range(1, 13)
    for day, region, factor in ((4, "north", 3), (18, "south", 7))
)


FAILING = new_code_cell('longest = hour.idxmax()\nlongest.to_frame("the longest day")')


def open_notebook(lab: Lab, cells: list[NotebookNode]) -> None:
    """Log in, open a notebook of these ``cells`` beside the chat, and run it."""
    session = lab.hub.login(lab.user)
    session.start_server()
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    notebook = {"type": "notebook", "content": new_notebook(cells=cells, metadata=metadata)}
    path = f"/user/{lab.user}/api/contents/Daylight.ipynb"
    session.put(path, json=notebook).raise_for_status()
    lab.log_in(f"/user/{lab.user}/lab/tree/Daylight.ipynb")
    lab.wait_for_kernel()
    lab.page.locator('.jp-SideBar [data-id="filebrowser"]').click()
    lab.notebook.locator(".jp-CodeCell .cm-content").first.click()
    for _ in cells[1:]:
        lab.page.keyboard.press("Shift+Enter")
    expect(lab.notebook.locator("table")).to_be_visible()
    lab.page.keyboard.press("Control+S")


def take_fix(eve: Lab, folder: Path) -> None:
    """Write the picture of a correction that waits for a decision."""
    open_notebook(eve, [*CELLS, FAILING])
    eve.side.get_by_label("Who decides what runs").select_option("ask")
    eve.notebook.get_by_role("button", name="Fix", exact=True).click()
    change = eve.notebook.locator(".jp-Caesarion-change")
    expect(change).to_contain_text("longest = hours.idxmax()")
    expect(eve.status).to_contain_text("waiting for you")
    eve.page.mouse.move(0, 0)
    eve.notebook.locator(".jp-CodeCell").nth(1).evaluate("cell => cell.scrollIntoView()")
    expect(change).to_be_in_viewport(ratio=1)
    eve.page.screenshot(path=folder / "fix.png")


def take_chat(ada: Lab, folder: Path) -> None:
    """Write the picture of a plot of what a notebook has computed."""
    open_notebook(ada, CELLS)
    ada.ask(QUESTION, "The code drew a picture")
    ada.messages.last.hover()
    ada.page.mouse.wheel(0, -1000)
    ada.page.mouse.move(0, 0)
    expect(ada.messages.first).to_be_in_viewport(ratio=1)
    expect(ada.messages.last).to_be_in_viewport(ratio=1)
    ada.page.screenshot(path=folder / "chat.png")


def take_table(hana: Lab, folder: Path) -> None:
    """Write the picture of a plot of a table, whose cell was taken into a notebook."""
    hana.log_in()
    drop(hana, {"sales.csv": TABLE.encode()})
    expect(hana.side.locator(".jp-chat-input-container .jp-chat-attachment")).to_be_visible()
    hana.ask("plot sales by month", "The result has")
    expect(hana.plot).to_be_visible()
    hana.cells.get_by_role("button", name="Insert into the notebook").click()
    hana.wait_for_kernel()
    hana.notebook.locator(".jp-CodeCell .cm-content").first.click()
    hana.page.keyboard.press("Control+Enter")
    expect(hana.notebook.locator("img")).to_be_visible()
    expect(hana.plot).to_be_in_viewport(ratio=1)
    hana.page.screenshot(path=folder / "table.png")


def take(folder: Path) -> None:
    """Write the pictures to ``folder``."""
    with (
        tempfile.TemporaryDirectory() as state,
        running_hub(Path(state) / "state") as hub,
        chromium() as browser,
        visit(browser, hub, "eve") as eve,
        visit(browser, hub, "ada") as ada,
        visit(browser, hub, "hana") as hana,
    ):
        take_fix(eve, folder)
        take_chat(ada, folder)
        take_table(hana, folder)


if __name__ == "__main__":
    take(DOCS)
