"""
Stands for tini in the image that is made of this checkout: a program of its own.

``tini -g -- PROGRAM ...`` is a container's first process, which ignores signals
that it does not handle; it passes them to the program's process group, reaps
what others leave behind and ends as the program ends.
"""

import os
import signal
import sys
from collections.abc import Callable

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)


def main(arguments: list[str], execute: Callable[[list[str]], None]) -> int:
    """Return the program's status, or 128 and the number of the signal that ended it."""
    words = arguments[arguments.index("--") + 1 :]
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    program = os.fork()
    if program == 0:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
            signal.signal(number, signal.SIG_DFL)
        try:
            execute(words)
        except OSError as error:
            print(f"[FATAL tini] exec {words[0]} failed: {error.strerror}", file=sys.stderr)
            os._exit(127)
    for number in FORWARDED:
        signal.signal(number, lambda number, _: os.killpg(program, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    while True:
        ended, status = os.wait()
        if ended == program:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], lambda words: os.execvp(words[0], words)))
