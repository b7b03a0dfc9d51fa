"""
The programs in .venv/tools, which the Makefile installs for the pipelines and their tests.

Called by the tests that run them: Traefik, Java with Groovy, the types of Argo CD.
"""

import os
import sys
from pathlib import Path

import pytest

TOOLS = Path(sys.prefix, "tools")


def need_tools() -> Path:
    """Return their folder; skip the test where the Makefile installs none, but fail in CI."""
    if not TOOLS.exists() and os.environ.get("CI") != "true":
        pytest.skip("There is no .venv/tools: run make .venv/.tools, on 64-bit Linux.")
    return TOOLS
