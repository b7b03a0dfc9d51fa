"""
Errors, classed by who reads them.

    CaesarionError
    +-- ModelError        the user: the model could not answer
    |   +-- ImagesRefused   ... because the request showed images, as far as one can tell
    +-- KernelError       the user: there is no kernel to run code in
    |   +-- UnknownKernel   ... because the one that was named does not exist (HTTP 404)
    |   +-- OtherLanguage   ... because it does not speak Python
    |   +-- BusyKernel      it cannot be looked into while something runs
    +-- NotebookError     the user: a notebook cannot be read, or has no free name
    |   +-- UnknownNotebook   ... because there is none at its path (HTTP 404)
    |   +-- NotebookNotSaved  ... it can, but not be written: a full disk, say (HTTP 507)
    +-- ToolError         the model: this call cannot be done as it was asked for
    +-- SettingError      the operator: a trait or an environment variable is wrong
    Stopped (a CancelledError)  a cancellation with a sentence for the user

Every message is a sentence that says what happened, with the value, and the
remedy. Foreign exceptions are translated at the edge where they come in.
"""

import asyncio


class CaesarionError(Exception):
    """The base of all of ours; ``str()`` of it may be shown to a person."""


class ModelError(CaesarionError):
    """The model could not be reached, refused, fell silent or spoke nonsense."""


class ImagesRefused(ModelError):  # noqa: N818 - its base says Error
    """The provider did not take a request that showed images."""


class KernelError(CaesarionError):
    """No kernel could be found or started."""


class UnknownKernel(KernelError):  # noqa: N818 - its base says Error
    """The kernel or notebook that was named does not exist."""


class OtherLanguage(KernelError):  # noqa: N818
    """The kernel that was named speaks another ``language`` than Python."""

    def __init__(self, language: str) -> None:
        self.language = language
        super().__init__(
            f"The kernel speaks {language}, and the agent's code is Python. "
            "Open a notebook with a Python kernel."
        )


class BusyKernel(KernelError):  # noqa: N818
    """Something runs in the kernel, so that it cannot be looked into now."""


class NotebookError(CaesarionError):
    """A notebook cannot be read, or no name is left for a new one."""


class UnknownNotebook(NotebookError):  # noqa: N818
    """There is no notebook at a path."""


class NotebookNotSaved(NotebookError):  # noqa: N818
    """A notebook could not be written."""


class ToolError(CaesarionError):
    """A tool was called in a way it cannot serve; the model is told, and may try again."""


class SettingError(CaesarionError):
    """A setting has a value that cannot be used."""


class Stopped(asyncio.CancelledError):
    """A cancellation that carries one sentence: what the stop did to the kernel."""
