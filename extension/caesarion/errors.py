"""
Errors, classed by who reads them.

    CaesarionError
    +-- ModelError        the user: the model could not answer
    |   +-- ImagesRefused   ... because the request showed images, as far as one can tell
    +-- KernelError       the user: there is no kernel to run code in
    |   +-- UnknownKernel   ... because the one that was named does not exist (HTTP 404)
    |   +-- OtherLanguage   ... because it does not speak Python
    |   +-- BusyKernel      it cannot be looked into while something runs
    |   +-- NoScratchRun    the model: it cannot run code in a copy of its namespace
    +-- NotebookError     the user: a notebook cannot be read, or has no free name
    |   +-- UnknownNotebook   ... because there is none at its path (HTTP 404)
    |   +-- NotebookNotSaved  ... it can, but not be written: a full disk, say (HTTP 507)
    +-- ToolError         the model: this call cannot be done as it was asked for
    |   +-- StaleCell       ... because the cell was changed since the model read it
    |   +-- UnknownCell     ... because the notebook has no such cell
    +-- JournalError      the user: the journal of a run cannot be written (HTTP 507)
    |   +-- JournalFull     ... because the run has reached its most bytes
    +-- PageGone          us: the browser's page that was asked has closed its connection
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


class NoScratchRun(KernelError):  # noqa: N818
    """A kernel cannot run code in a copy of its namespace."""


class NotebookError(CaesarionError):
    """A notebook cannot be read, or no name is left for a new one."""


class UnknownNotebook(NotebookError):  # noqa: N818
    """There is no notebook at a path."""


class NotebookNotSaved(NotebookError):  # noqa: N818
    """A notebook could not be written."""


class ToolError(CaesarionError):
    """A tool was called in a way it cannot serve; the model is told, and may try again."""


class StaleCell(ToolError):  # noqa: N818
    """A cell has another ``source`` than the one that a change was made for."""

    def __init__(self, message: str, source: str) -> None:
        self.source = source
        super().__init__(message)


class UnknownCell(ToolError):  # noqa: N818
    """A notebook has no cell of an id."""


class JournalError(CaesarionError):
    """The journal of a run cannot be written."""


class JournalFull(JournalError):  # noqa: N818
    """The journal of a run has reached the most bytes that it may have."""


class PageGone(CaesarionError):  # noqa: N818
    """A page was closed, reloaded or cut off before it answered."""


class SettingError(CaesarionError):
    """A setting has a value that cannot be used."""


class Stopped(asyncio.CancelledError):
    """A cancellation that carries one sentence: what the stop did to the kernel."""
