"""
Retake ``docs/chat.png``, the README's picture: ``.venv/bin/python docs/screenshot.py``.

Starts what ``make up`` starts, with the demo model, and is a person in a browser: runs a
notebook, asks in the chat beside it for a plot of what the notebook has computed.
"""

import sys
import tempfile
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import expect

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from tests.browser.lab import chromium, visit  # noqa: E402
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


def take(target: Path) -> None:
    """Write the picture to ``target``."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_hub(Path(folder) / "state") as hub,
        chromium() as browser,
        visit(browser, hub, "ada") as ada,
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
        ada.page.screenshot(path=target)


if __name__ == "__main__":
    take(DOCS / "chat.png")
