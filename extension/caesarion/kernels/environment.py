"""
The environment of a kernel: Python's version, and those of the packages that matter.

Called by :mod:`caesarion.services` for the prompt; calls :mod:`caesarion.kernels.inspector` in the
kernel, which knows best what it would import.
"""

import json
from weakref import WeakKeyDictionary

from caesarion.errors import KernelError
from caesarion.kernels import inspector
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.variables import inspector_source

# Distributions whose interfaces differ between versions, and that an analysis is made of.
PACKAGES = (
    *("numpy", "pandas", "polars", "duckdb", "pyarrow", "scipy", "scikit-learn", "statsmodels"),
    *("matplotlib", "seaborn", "plotly", "torch", "tensorflow"),
)


class Environments:
    """What kernels have said of their environments, which is asked once in each process."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Kernel, tuple[int | None, dict[str, str]]] = (
            WeakKeyDictionary()
        )

    async def versions(self, kernel: Kernel) -> dict[str, str]:
        """
        Return versions by name, the first of which is Python's.

        Empty if the kernel cannot say: it is busy, dead, or has answered something else.
        """
        process, versions = self._known.get(kernel, (None, {}))
        try:
            if (versions and process == kernel.process_id) or await kernel.state() != "ready":
                return versions
            shown = await kernel.evaluate(
                inspector_source(), inspector.versions.__name__, list(PACKAGES)
            )
            found = {str(name): str(version) for name, version in json.loads(shown).items()}
        except (KernelError, ValueError, AttributeError):
            return {}
        self._known[kernel] = kernel.process_id, found
        return found
