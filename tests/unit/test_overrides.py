"""The lab that is shipped does not call home: no news, no look for updates."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.hub import REPOSITORY

PLUGIN = "@jupyterlab/apputils-extension:notification"


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_news_and_update_checks_are_off_in_words_that_this_lab_knows() -> None:
    ours = read(REPOSITORY / "singleuser_image/overrides.json")[PLUGIN]
    assert ours == {"checkForUpdates": False, "fetchNews": "false"}
    schemas = Path(sys.prefix) / "share/jupyter/lab/schemas/@jupyterlab/apputils-extension"
    known = read(schemas / "notification.json")["properties"]
    assert known["checkForUpdates"]["type"] == "boolean"
    assert "false" in known["fetchNews"].get("enum", []) + [
        choice["const"] for choice in known["fetchNews"].get("oneOf", [])
    ]
