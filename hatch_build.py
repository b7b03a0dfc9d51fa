"""
Hatchling's build hook: builds the labextension before the Python package.

Called by hatchling for wheels and editable installs; calls
``extension/labextension/bundle.py``.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "extension" / "labextension"))
import bundle


class LabextensionHook(BuildHookInterface):
    """Builds the labextension's bundle before the wheel is packed."""

    def dependencies(self) -> list[str]:
        """Require Node as a package only if it is needed and the system has no suitable one."""
        return [] if bundle.is_current() or bundle.nodejs.find() else [bundle.nodejs.PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the bundle, or stop the build with a sentence."""
        try:
            bundle.build()
        except bundle.BundleError as error:
            self.app.abort(str(error))
