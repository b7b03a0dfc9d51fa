"""
A contents manager that refuses to save some notebooks, as a site's own may.

    --ServerApp.contents_manager_class=tests.fakes.refusing_contents.RefusingContents
"""

from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError


class RefusingContents(AsyncLargeFileManager):
    """Jupyter Server's own, which saves nothing below the folder "locked"."""

    async def save(self, model: Any, path: str = "") -> Any:
        """Save, or refuse with a sentence."""
        if path.startswith("locked/"):
            raise HTTPError(403, "Notebooks of this folder are archived")
        return await super().save(model, path)  # type: ignore[no-untyped-call]
