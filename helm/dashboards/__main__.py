"""
Write the chart's dashboards for Grafana: ``.venv/bin/python helm/dashboards``.

Each is a file in ``caesarion/dashboards``, which the chart carries as a ConfigMap.
"""

import json
import sys
from pathlib import Path

import agents
import capacity
import gateway
import users
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = Path(__file__).resolve().parents[1] / "caesarion" / "dashboards"


def write(folder: Path) -> None:
    """Write every dashboard into ``folder``."""
    for module in (users, gateway, agents, capacity):
        text = json.dumps(module.build().build(), cls=JSONEncoder, indent=1, sort_keys=True)
        (folder / f"{module.__name__}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
