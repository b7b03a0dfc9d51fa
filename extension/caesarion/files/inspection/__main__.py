"""
The entry point: limit this process, inspect standard input, print JSON lines.

Each line of output is ``{"text": ...}``, another piece of the description, or
``{"image": ...}``, the kind of an image that could be decoded. Each is flushed, so that
:mod:`caesarion.files.preview` has the first ones if a limit ends the process.
"""

import contextlib
import json
import resource
import sys
import time
from pathlib import Path


def limit(memory: int, seconds: int) -> None:
    """Limit this process's memory, in bytes, and its CPU time, as far as the system supports it."""
    # At the soft limit of CPU time the signal is SIGXCPU, at the hard one SIGKILL.
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
    ):
        with contextlib.suppress(OSError, ValueError):  # macOS refuses RLIMIT_AS.
            resource.setrlimit(what, (soft, hard))
    # When the pod runs out of memory, Linux ends this process before the user's kernel.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Inspect standard input. Arguments: the suffix, seconds of time, bytes of memory."""
    suffix, seconds, memory = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    until = time.monotonic() + seconds
    limit(memory, int(4 * seconds))
    # The parsers are imported after the limits are set.
    from caesarion.files.inspection.digest import digest
    from caesarion.files.inspection.source import Image, Source

    for piece in digest(Source(sys.stdin.buffer, suffix, until)):
        found = {"image": piece.kind} if isinstance(piece, Image) else {"text": piece}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
