"""
The user's variables, looked at from inside their kernel.

Sent there as text by :mod:`caesarion.kernels.variables`, behind the text of
:mod:`caesarion.kernels.bounded_repr`, so it imports nothing else that Python does not bring.
Invariant: it changes and keeps nothing, tells no value whole, and runs what may be the user's own
code (a repr, a property) only where a value was asked for, and then for a limited time.
"""

import inspect
import json
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from types import FunctionType, ModuleType
from typing import Any

from caesarion.kernels.bounded_repr import LINE, SIZED, BoundedRepr, clip, is_a, name_of

# Names that a list has at most: the newest ones.
NAMES = 500

# Characters of one digest.
DIGEST = 2_000

_ROWS = 5
_COLUMNS = 40
_SHOWN = 12
_ITEMS = 8

# Libraries whose types may be asked for their shape without a clock.
_KNOWN = frozenset(
    ("cudf", "cupy", "geopandas", "jax", "jaxlib", "numpy", "pandas", "polars", "pyarrow")
) | frozenset(("scipy", "tensorflow", "torch", "xarray"))

# Read past a metaclass of the user's.
_module_of = type.__dict__["__module__"].__get__


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


def versions(_namespace: dict[str, Any], names: list[str]) -> Answer:
    """Return Python's version, and those of the packages ``names`` that are installed."""
    found = {"Python": ".".join(map(str, sys.version_info[:3]))}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return Answer(found)


def listed(namespace: dict[str, Any]) -> list[dict[str, str]]:
    """Return the user's own names, the newest last; runs no code of theirs."""
    hidden = _hidden()
    found = []
    for name, value in reversed(list(namespace.items())):
        if not isinstance(name, str) or name.startswith("_") or not name.isidentifier():
            continue
        if is_a(value, ModuleType) or (name in hidden and hidden[name] is value):
            continue
        found.append({"name": name, "type": _type_name(value), "shape": _size(value)})
        if len(found) == NAMES:
            break
    return found[::-1]


class Inspection(BoundedRepr):
    """One request's digests of values."""

    def digest(self, namespace: dict[str, Any], name: str) -> str | None:
        """Return what ``name`` is: type, size, and the beginning of what is in it."""
        if name not in namespace:
            return None
        value = namespace[name]
        lines = [_described(value)]
        for part in self._parts(value):
            lines += part.split("\n")
        text = "\n".join(clip(line, LINE) for line in lines if line.strip())
        return clip(text, DIGEST)

    def _parts(self, value: Any) -> Iterator[str]:
        if value is None or is_a(value, SIZED):
            yield self.brief(value, _ITEMS)
            return
        if is_a(value, (FunctionType, type, ModuleType)):
            yield self.guarded(lambda: _signature(value))
            return
        for look in (_frame, _series, _array):
            told = self.guarded(lambda look=look: look(value, self))  # type: ignore[misc]
            if told:
                yield told
                return
        yield self.brief(value, _ITEMS)


def _hidden() -> dict[str, Any]:
    """Return what IPython itself put into the namespace."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return dict(shell.user_ns_hidden) if shell else {}


def _type_name(value: Any) -> str:
    return clip(name_of(type(value)), 100)


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
    for base in SIZED:
        if is_a(value, base):
            unit = {str: "character", bytes: "byte", bytearray: "byte"}.get(base, "item")
            return _counted(base.__len__(value), unit)
    if _library(value) not in _KNOWN or is_a(value, type):
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
    if not is_a(shape, (tuple, list)) or len(shape) > 32:
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
    return clip(name, 60) if type(name) is str else inspection.brief(name, _ITEMS)


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
