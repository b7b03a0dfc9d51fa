"""Caesarion's server extension: an agent in the chat that works in the user's own kernel."""

from typing import Any

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter Server where the extension's application is."""
    from caesarion.extension import Caesarion

    return [{"module": "caesarion", "app": Caesarion}]
