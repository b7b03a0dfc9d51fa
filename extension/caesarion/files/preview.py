"""
Previews: the content of a file in a few lines of text, made by a process of its own.

Called by :mod:`caesarion.files.uploads` and :mod:`caesarion.files.attachments`; starts
:mod:`caesarion.files.inspection`. The process has limits of memory and time and an
environment without secrets; when it reaches a limit, the preview says so, after what was found
until then. It is started for each file, which takes 0.1 s, or 0.2 s with DuckDB.
"""

import asyncio
import json
import signal
import sys
from dataclasses import dataclass
from typing import BinaryIO

# Seconds after which the process stops reading a long file, and after which it is killed.
_WORK = 3.0
_LIMIT = 8.0

# Bytes of address space: twice what DuckDB takes for a long table.
_MEMORY = 768 * 1_048_576

# Processes at once: many files may be attached, and a pod has a core or two.
_AT_ONCE = 2

# Otherwise glibc reserves 64 MiB of address space for each thread.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True)
class Preview:
    """The description of a file's content."""

    text: str
    """Up to some 4,000 characters."""
    image: str = ""
    """The subtype of its media type, such as ``png``, if it is an image that can be decoded."""


class Previewer:
    """Makes previews, a few at once."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def preview(self, file: BinaryIO, suffix: str) -> Preview:
        """Return the preview of ``file``, whose name has this ``suffix``; raise nothing."""
        async with self._free:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-m", "caesarion.files.inspection"),
                    *(suffix, str(_WORK), str(_MEMORY)),
                    stdin=file,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    env=_ENVIRONMENT,
                )
            except OSError as error:
                return Preview(
                    f"This file was not inspected: no process could be started: {error}."
                )
            try:
                return await _result(process)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()


async def _result(process: asyncio.subprocess.Process) -> Preview:
    assert process.stdout is not None
    texts: list[str] = []
    image = ""
    try:
        async with asyncio.timeout(_LIMIT):
            async for line in process.stdout:
                if not line.endswith(b"\n"):
                    break  # The process ended while it wrote.
                found = json.loads(line)
                image = found.get("image", image)
                texts += [found["text"]] if "text" in found else []
            status = await process.wait()
    except TimeoutError:
        status = -signal.SIGXCPU
    if status:
        what = "The rest of this file" if texts else "This file"
        texts.append(_ended(what, status))
    return Preview("\n".join(texts), image)


def _ended(what: str, status: int) -> str:
    """Return why the process ended before it had read ``what``."""
    match -status:
        case signal.SIGXCPU:
            return f"{what} was not read, since that takes longer than {_LIMIT:g} seconds."
        case signal.SIGABRT | signal.SIGKILL:
            return (
                f"{what} was not read, since that needs more than {_MEMORY >> 20:,} MiB of memory."
            )
        case _:
            return f"{what} could not be inspected (exit status {status})."
