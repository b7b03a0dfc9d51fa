"""
Retake the README's pictures, ``docs/*.png``: ``.venv/bin/python docs/screenshot.py``.

Starts what ``make up`` starts, with the demo model, and is a person in a browser: runs a
notebook, asks in the chat beside it for a plot of what the notebook has computed; drops a
table on another chat, asks for a plot of it, and takes the cell into a notebook.
"""

import sys
import tempfile
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import expect

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from tests.browser.lab import chromium, visit  # noqa: E402
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


def take(folder: Path) -> None:
    """Write the pictures to ``folder``."""
    with (
        tempfile.TemporaryDirectory() as state,
        running_hub(Path(state) / "state") as hub,
        chromium() as browser,
        visit(browser, hub, "ada") as ada,
        visit(browser, hub, "hana") as hana,
    ):
        session = hub.login("ada")
        session.start_server()
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
        notebook = {"type": "notebook", "content": new_notebook(cells=CELLS, metadata=metadata)}
        session.put("/user/ada/api/contents/Daylight.ipynb", json=notebook).raise_for_status()
        ada.log_in("/user/ada/lab/tree/Daylight.ipynb")
        ada.wait_for_kernel()
        ada.page.locator('.jp-SideBar [data-id="filebrowser"]').click()
        ada.notebook.locator(".jp-CodeCell .cm-content").first.click()
        for _ in CELLS[1:]:
            ada.page.keyboard.press("Shift+Enter")
        expect(ada.notebook.locator("table")).to_be_visible()
        ada.page.keyboard.press("Control+S")
        ada.ask(QUESTION, "The code drew a picture")
        ada.messages.last.hover()
        ada.page.mouse.wheel(0, -1000)
        ada.page.mouse.move(0, 0)
        expect(ada.messages.first).to_be_in_viewport(ratio=1)
        expect(ada.messages.last).to_be_in_viewport(ratio=1)
        ada.page.screenshot(path=folder / "chat.png")

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


if __name__ == "__main__":
    take(DOCS)
