"""Describe notebooks of any format: cells, kernel, first cells. Called by ``digest``."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from caesarion.files.inspection import json_document
from caesarion.files.inspection.encoding import Text
from caesarion.files.inspection.source import NotReadable, Source, clipped, counted

_CELLS = 6
_CELL = 300


def describe(source: Source, text: Text) -> Iterator[str]:
    """Yield the description of a notebook."""
    document = json_document.load(source, text)
    content, older = _in_format_4(document.value)
    cells = [cell for cell in content["cells"] if isinstance(cell, dict)]
    kinds = Counter(str(cell.get("cell_type")) for cell in cells)
    kernel = _at(content, "metadata", "kernelspec", "display_name")
    yield (
        f"Jupyter notebook{older}{document.note}: {counted(len(cells), 'cell')} "
        f"({', '.join(f'{count} {kind}' for kind, count in kinds.items()) or 'none'})"
        f"{f', for the kernel {clipped(str(kernel), 60)}' if kernel else ''}."
    )
    for cell in cells[:_CELLS]:
        lines = cell.get("source", "")
        code = "".join(map(str, lines)) if isinstance(lines, list) else str(lines)
        yield f"[{cell.get('cell_type')}] {clipped(code.strip(), _CELL)}"


def _in_format_4(value: Any) -> tuple[dict[str, Any], str]:
    """Return a notebook in format 4, and a phrase with its own format if that is older."""
    if not isinstance(value, dict):
        raise NotReadable("This is not a notebook, but other JSON.")
    number = value.get("nbformat")
    if isinstance(value.get("worksheets"), list) or number in (1, 2, 3):
        number = number if number in (1, 2, 3) else 3
        return _upgraded(value, number), f" of format {number}"
    if not isinstance(value.get("cells"), list):
        raise NotReadable("This is not a notebook, but other JSON: it has no list of cells.")
    return value, ""


def _upgraded(value: dict[str, Any], number: int) -> dict[str, Any]:
    # Importing nbformat takes long, and few notebooks need it.
    import nbformat
    from nbformat import reader

    text = json.dumps({"metadata": {}, **value, "nbformat": number})
    try:
        content: dict[str, Any] = nbformat.convert(reader.reads(text), 4)
    except Exception as error:  # Its code for old formats raises anything.
        raise NotReadable(
            f"This notebook of format {number} cannot be read ({type(error).__name__})."
        ) from error
    return content


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
