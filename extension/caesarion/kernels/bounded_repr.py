"""
Python's ``repr``, bounded in length and in time, of values of any type.

Used by :mod:`caesarion.kernels.inspector`, with which it is sent into the user's kernel as text:
it imports nothing that Python does not bring.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

# Characters of one line.
LINE = 800

# Seconds for one call of what may be the user's code, and for all of a request's. Made up:
# a repr that takes longer is none that one would want to wait for.
_LOOK = 0.5
_ALL = 2.0

_DEPTH = 3

# Types that tell their length without code of the user's.
SIZED: tuple[Any, ...] = (list, tuple, dict, set, frozenset, str, bytes, bytearray)

# Read past a metaclass of the user's.
name_of = type.__dict__["__name__"].__get__


class BoundedRepr:
    """The values of one request, which have a time in common."""

    def __init__(self, look: float = _LOOK, altogether: float = _ALL) -> None:
        self._look = look
        self._until = time.monotonic() + altogether

    def brief(self, value: Any, items: int, depth: int = 0) -> str:
        """Return ``value`` as Python writes it, but not all of it."""
        kind = type(value)
        if value is None or kind in (bool, float, complex):
            return repr(value)
        if kind is int:
            bits = int.bit_length(value)
            return repr(value) if bits < 1_000 else f"[an integer of {bits:,} bits]"
        base = next((base for base in SIZED if is_a(value, base)), None)
        if base in (str, bytes, bytearray):
            start = base.__getitem__(value, slice(0, LINE // 2))
            return repr(start) + ("..." if len(start) < base.__len__(value) else "")
        if base:
            return self._collection(base, value, items, depth)
        return self.guarded(lambda: clip(repr(value), LINE))

    def _collection(self, base: Any, value: Any, items: int, depth: int) -> str:
        opened, closed = {list: ("[", "]"), tuple: ("(", ")")}.get(base, ("{", "}"))
        size = base.__len__(value)
        if depth == _DEPTH and size:
            return f"{opened}...{closed}"
        inner = max(items // 2, 2)
        first: Iterator[Any] = islice(
            dict.items(value) if base is dict else base.__iter__(value), items
        )
        parts = []
        for one in first:
            pair = one if base is dict else (one,)
            parts.append(": ".join(self.brief(part, inner, depth + 1) for part in pair))
        if size > len(parts):
            parts.append(f"... {size - len(parts):,} more")
        return f"{opened}{', '.join(parts)}{closed}"

    def guarded(self, work: Callable[[], str]) -> str:
        """Return what ``work`` says, or what became of it; it may be the user's own code."""
        left = min(self._look, self._until - time.monotonic())
        if left <= 0:
            return "[not looked at: the values before it took too long]"
        try:
            with _clock(left):
                return work()
        except KeyboardInterrupt:
            raise
        except _TooSlowError:
            return f"[not shown: it took longer than {self._look:g} seconds]"
        except BaseException as error:
            return f"[not shown: {name_of(type(error))} when it was looked at]"


class _TooSlowError(BaseException):
    """Raised into a look that takes too long; not an Exception, so that few catch it."""


@contextmanager
def _clock(seconds: float) -> Iterator[None]:
    """Raise _TooSlowError in the block after ``seconds``, where the platform can."""
    usable = (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0  # Else it is the user's.
        and signal.getsignal(signal.SIGALRM) is not None
    )
    if not usable:
        yield
        return
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        # Again and again, for code that catches everything.
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)


def _ring(_signal: int, _frame: Any) -> None:
    raise _TooSlowError


def is_a(value: Any, kinds: Any) -> bool:
    """Return isinstance, but do not ask the value, which may lie or run code."""
    return issubclass(type(value), kinds)


def clip(text: str, limit: int) -> str:
    """Return the beginning of ``text``, as a plain ``str``."""
    if str.__len__(text) <= limit:
        return str.__getitem__(text, slice(0, limit))
    return f"{str.__getitem__(text, slice(0, limit - 4))} ..."
