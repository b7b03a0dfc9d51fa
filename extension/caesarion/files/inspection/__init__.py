"""
What is in a file, in a few lines of text, without the model. Called by ``caesarion.files.uploads``.

Its law: never more than a bounded part of a file is in memory or unpacked, files
are opened without following links and never written, nothing heavy is imported
before a file asks for it, and whatever is in a file, what comes back is a text.
The kinds are in ``table``, ``json_document`` and ``spreadsheet``, over ``text``.
"""

from pathlib import Path

from caesarion.files.inspection import json_document, spreadsheet, table, text

_KINDS = {
    "csv": table.delimited,
    "tsv": table.delimited,
    "json": json_document.json_text,
    "ipynb": json_document.notebook,
    "xlsx": spreadsheet.workbook,
    "parquet": spreadsheet.parquet,
    "png": spreadsheet.image,
    "jpg": spreadsheet.image,
    "jpeg": spreadsheet.image,
    "gif": spreadsheet.image,
    "webp": spreadsheet.image,
}

_MAX_DIGEST = 4_000


def digest(path: Path, until: float) -> str:
    """
    Return a digest of the file at ``path``, of at most 4,000 characters.

    Work that grows with the file ends at ``until`` (``time.monotonic()``) and the
    digest says so. A file that is not what its suffix says is a digest too.
    """
    inspect = _KINDS.get(path.suffix[1:].lower(), text.plain_text)
    try:
        said = inspect(path, until)
    except text.NotReadable as error:
        said = str(error)
    except Exception as error:  # The parsers of other people meet the files of yet others.
        said = f"This file could not be inspected ({type(error).__name__})."
    # A file's text may hold what moves a terminal's cursor or turns the text around.
    shown = "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in said)
    return shown if len(shown) <= _MAX_DIGEST else shown[: _MAX_DIGEST - 4] + " ..."
