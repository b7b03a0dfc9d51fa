"""
What is in a file, in a few lines of text, without the model. Called by ``caesarion.files.uploads``.

Its law: never more than a bounded part of a file is in memory or unpacked, files
are opened without following links and never written, nothing heavy is imported
before a file asks for it, and whatever is in a file, what comes back is a text.
The kinds are in ``tables``, ``trees`` and ``packed``, over ``heads``.
"""

from pathlib import Path

from caesarion.files.inspection import heads, packed, tables, trees

_KINDS = {
    "csv": tables.delimited,
    "tsv": tables.delimited,
    "json": trees.json_text,
    "ipynb": trees.notebook,
    "xlsx": packed.workbook,
    "parquet": packed.parquet,
    "png": packed.image,
    "jpg": packed.image,
    "jpeg": packed.image,
    "gif": packed.image,
    "webp": packed.image,
}

_MAX_DIGEST = 4_000


def digest(path: Path, until: float) -> str:
    """
    Return a digest of the file at ``path``, of at most 4,000 characters.

    Work that grows with the file ends at ``until`` (``time.monotonic()``) and the
    digest says so. A file that is not what its suffix says is a digest too.
    """
    inspect = _KINDS.get(path.suffix[1:].lower(), heads.plain_text)
    try:
        text = inspect(path, until)
    except heads.NotReadable as error:
        text = str(error)
    except Exception as error:  # The parsers of other people meet the files of yet others.
        text = f"This file could not be inspected ({type(error).__name__})."
    # A file's text may hold what moves a terminal's cursor or turns the text around.
    shown = "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)
    return shown if len(shown) <= _MAX_DIGEST else shown[: _MAX_DIGEST - 4] + " ..."
