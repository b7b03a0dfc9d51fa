"""
What looks at the user's variables, from inside their kernel.

Sent there as text by :mod:`caesarion.kernels.variables`, so it imports nothing of ours
and nothing that Python itself does not bring. Its law: it changes and keeps
nothing, tells no value whole, and runs what may be the user's own code (a repr,
a property) only where a value was asked for, and then against the clock.
"""

import inspect
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from types import FunctionType, ModuleType
from typing import Any

# Names that a list has at most: the newest ones.
NAMES = 500

# Characters of one digest, and of one line of it.
DIGEST = 2_000
_LINE = 800

# Seconds for one look at what may be the user's code, and for all of a request's. Made up:
# a repr that takes longer is none that one would want to wait for.
_LOOK = 0.5
_ALL = 2.0

_ROWS = 5
_COLUMNS = 40
_SHOWN = 12
_ITEMS = 8
_DEPTH = 3

# Libraries whose types may be asked for their shape without a clock.
_KNOWN = frozenset(
    ("cudf", "cupy", "geopandas", "jax", "jaxlib", "numpy", "pandas", "polars", "pyarrow")
) | frozenset(("scipy", "tensorflow", "torch", "xarray"))

# Read past a metaclass of the user's.
_name_of = type.__dict__["__name__"].__get__
_module_of = type.__dict__["__module__"].__get__

_SIZED: tuple[Any, ...] = (list, tuple, dict, set, frozenset, str, bytes, bytearray)


class Answer:
    """What IPython shows of this is its text, by whatever formatters."""

    def __init__(self, content: Any) -> None:
        self._text = json.dumps(content)

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(self._text)


def answer(namespace: dict[str, Any], names: list[str] | None) -> Answer:
    """
    Return the digests of the variables ``names``; without names, the list of all.

    A digest is a text, or None where there is no such variable; a list has name,
    type and shape of each.
    """
    if names is None:
        return Answer(listed(namespace))
    inspection = Inspection()
    return Answer({name: inspection.digest(namespace, name) for name in names})


def listed(namespace: dict[str, Any]) -> list[dict[str, str]]:
    """Return the user's own names, the newest last; runs no code of theirs."""
    hidden = _hidden()
    found = []
    for name, value in reversed(list(namespace.items())):
        if not isinstance(name, str) or name.startswith("_") or not name.isidentifier():
            continue
        if _is(value, ModuleType) or (name in hidden and hidden[name] is value):
            continue
        found.append({"name": name, "type": _type_name(value), "shape": _size(value)})
        if len(found) == NAMES:
            break
    return found[::-1]


class Inspection:
    """One request's looks at values, which have a time in common."""

    def __init__(self, look: float = _LOOK, altogether: float = _ALL) -> None:
        self._look = look
        self._until = time.monotonic() + altogether

    def digest(self, namespace: dict[str, Any], name: str) -> str | None:
        """Return what ``name`` is: type, size, and the beginning of what is in it."""
        if name not in namespace:
            return None
        value = namespace[name]
        lines = [_described(value)]
        for part in self._parts(value):
            lines += part.split("\n")
        text = "\n".join(_clip(line, _LINE) for line in lines if line.strip())
        return _clip(text, DIGEST)

    def _parts(self, value: Any) -> Iterator[str]:
        if value is None or _is(value, _SIZED):
            yield self.brief(value, _ITEMS)
            return
        if _is(value, (FunctionType, type, ModuleType)):
            yield self.guarded(lambda: _signature(value))
            return
        for look in (_frame, _series, _array):
            told = self.guarded(lambda look=look: look(value, self))  # type: ignore[misc]
            if told:
                yield told
                return
        yield self.brief(value, _ITEMS)

    def brief(self, value: Any, items: int, depth: int = 0) -> str:
        """Return ``value`` as Python writes it, but not all of it."""
        kind = type(value)
        if value is None or kind in (bool, float, complex):
            return repr(value)
        if kind is int:
            bits = int.bit_length(value)
            return repr(value) if bits < 1_000 else f"[an integer of {bits:,} bits]"
        base = next((base for base in _SIZED if _is(value, base)), None)
        if base in (str, bytes, bytearray):
            start = base.__getitem__(value, slice(0, _LINE // 2))
            return repr(start) + ("..." if len(start) < base.__len__(value) else "")
        if base:
            return self._collection(base, value, items, depth)
        return self.guarded(lambda: _clip(repr(value), _LINE))

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
            return f"[not shown: {_name_of(type(error))} when it was looked at]"


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


def _hidden() -> dict[str, Any]:
    """Return what IPython itself put into the namespace."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return dict(shell.user_ns_hidden) if shell else {}


def _is(value: Any, kinds: Any) -> bool:
    """Return isinstance, but do not ask the value, which may lie or run code."""
    return issubclass(type(value), kinds)


def _type_name(value: Any) -> str:
    return _clip(_name_of(type(value)), 100)


def _library(value: Any) -> str:
    module = _module_of(type(value))
    return module.partition(".")[0] if isinstance(module, str) else ""


def _described(value: Any) -> str:
    library = _library(value)
    whose = f" ({library})" if library not in ("", "builtins", "__main__") else ""
    size = _size(value)
    return f"{_type_name(value)}{whose}{', ' if size else ''}{size}"


def _size(value: Any) -> str:
    """Return the size in words, of types that can tell it without code of the user's."""
    for base in _SIZED:
        if _is(value, base):
            unit = {str: "character", bytes: "byte", bytearray: "byte"}.get(base, "item")
            return _counted(base.__len__(value), unit)
    if _library(value) not in _KNOWN or _is(value, type):
        return ""
    try:
        shape = _shape(value)
    except Exception:
        return ""
    if shape is None:
        return ""
    if len(shape) == 2 and hasattr(value, "columns"):
        return f"{_counted(shape[0], 'row')} x {_counted(shape[1], 'column')}"
    if len(shape) == 1:
        return _counted(shape[0], "value")
    return " x ".join(f"{length:,}" for length in shape) or "a single value"


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape, if ``value`` has one that is made of numbers."""
    shape: Any = getattr(value, "shape", None)
    if not _is(shape, (tuple, list)) or len(shape) > 32:
        return None
    lengths = tuple(shape)
    return lengths if all(type(length) is int for length in lengths) else None


def _frame(value: Any, inspection: Inspection) -> str:
    """Return columns with their types, and the first rows, of what is like a data frame."""
    shape = _shape(value)
    columns, types = getattr(value, "columns", None), getattr(value, "dtypes", None)
    if shape is None or len(shape) != 2 or columns is None or types is None:
        return ""
    rows = min(_ROWS, shape[0])
    few = value.iloc[:rows, :_COLUMNS] if hasattr(value, "iloc") else value.head(rows)
    names, kinds = list(few.columns)[:_COLUMNS], list(few.dtypes)[:_COLUMNS]
    told = [f"{_column(name, inspection)}: {kind}" for name, kind in zip(names, kinds, strict=True)]
    if shape[1] > len(told):
        told.append(f"... {shape[1] - len(told):,} more columns")
    few = few.iloc[:, :_SHOWN] if hasattr(few, "iloc") else few
    head = inspection.guarded(lambda: _printed(few, max_colwidth=30))
    return f"columns: {', '.join(told)}\nfirst rows:\n{head}"


def _column(name: Any, inspection: Inspection) -> str:
    return _clip(name, 60) if type(name) is str else inspection.brief(name, _ITEMS)


def _series(value: Any, inspection: Inspection) -> str:
    """Return the type and the first values of what is like one column."""
    shape = _shape(value)
    if shape is None or len(shape) != 1 or not hasattr(value, "head"):
        return ""
    few = value.head(min(_ROWS, shape[0]))
    head = inspection.guarded(lambda: _printed(few))
    return f"dtype: {value.dtype}\nfirst values:\n{head}"


def _printed(few: Any, **how: Any) -> str:
    return str(few.to_string(**how) if hasattr(few, "to_string") else few)


def _array(value: Any, inspection: Inspection) -> str:
    """Return the type and the first values of what is like an array or a tensor."""
    shape, dtype = _shape(value), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return ""
    told = f"shape: {shape!r}, dtype: {dtype}"
    device = f"{getattr(value, 'device', 'cpu')}"
    if device != "cpu":
        told += f", device: {device}"
    few = value
    for length in shape[:-1]:
        few = few[0] if length else None
    if few is not None and hasattr(few, "tolist"):
        first = few[:_ITEMS].tolist() if shape else few.tolist()
        told += f"\nfirst values: {inspection.brief(first, _ITEMS)}"
    return told


def _signature(value: Any) -> str:
    """Return how a function or class is called, and the first line of its documentation."""
    try:
        called = f"{value.__name__}{inspect.signature(value)}"
    except (TypeError, ValueError):
        called = str(value.__name__)
    lines = (value.__doc__ or "").strip().splitlines()
    return "\n".join([called, *lines[:1]])


def _clip(text: str, limit: int) -> str:
    """Return the beginning of ``text``, as a text that is nobody's subclass."""
    if str.__len__(text) <= limit:
        return str.__getitem__(text, slice(0, limit))
    return f"{str.__getitem__(text, slice(0, limit - 4))} ..."
