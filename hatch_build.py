"""
The step of the build that Python's own tools do not know: the labextension.

Called by hatchling for wheels and editable installs; calls
``extension/labextension/bundle.py``, which does the work.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "extension" / "labextension"))
import bundle


class LabextensionHook(BuildHookInterface):
    """Makes the labextension's bundle before the wheel is packed."""

    def dependencies(self) -> list[str]:
        """Ask for Node as a package only where it is needed and the system has none that does."""
        return [] if bundle.is_current() or bundle.system_npm() else [bundle.NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the bundle, or stop the build with a sentence."""
        try:
            bundle.build()
        except bundle.BundleError as error:
            self.app.abort(str(error))
