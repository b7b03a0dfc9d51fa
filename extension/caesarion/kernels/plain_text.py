"""
Rich outputs as text: what the model reads of a display, a result or an error.

Called by :mod:`caesarion.kernels.outputs`. Pure, and from the standard library alone: the
libraries that turn HTML into text with aligned tables bring lxml along.
"""

import json
import re
from html.parser import HTMLParser
from typing import Any

from caesarion.kernels.terminal import ANSI

# Bundles that are text as they are, the most telling first.
_TEXT = ("text/plain", "text/markdown", "text/latex")
_MEDIA = ("image/", "video/", "audio/")

# How objects are shown that have nothing to say: <IPython.core.display.HTML object>.
_BARE = re.compile(r"<[\w.]+(?: object)?(?: at 0x[0-9a-fA-F]+)?>")

# Characters of HTML, and columns of a table, that are read: several times what the model reads.
_HTML = 65_536
_COLUMNS = 100

_SILENT = frozenset(("head", "script", "style", "template", "title"))
_BLOCKS = frozenset(
    ("address", "article", "aside", "blockquote", "br", "caption", "dd", "details", "div", "dl")
) | frozenset(
    ("dt", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header")
)
_BLOCKS |= frozenset(("hr", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "ul"))
_EMBEDDED = {"audio": "src", "iframe": "src", "img": "alt", "video": "src"}


def describe(output: dict[str, Any]) -> str:
    """Return an nbformat output that is no stream as text, ending in a line break, or empty."""
    if output["output_type"] == "error":
        return f"{describe_error(output)}\n"
    text = _describe_bundle(output["data"])
    return f"{text}\n" if text else ""


def describe_error(error: dict[str, Any]) -> str:
    """Return an error's traceback, and its name and value if these are not in it."""
    traceback = "\n".join(error["traceback"]).rstrip("\n")
    name = f"{error['ename']}: {error['evalue']}"
    if not traceback:
        return name
    return traceback if error["ename"] in ANSI.sub("", traceback) else f"{traceback}\n{name}"


def _describe_bundle(data: dict[str, Any]) -> str:
    if media := next((mime for mime in data if mime.startswith(_MEDIA)), ""):
        return f"[{media}, shown to the user]"
    texts = [str(data[mime]) for mime in _TEXT if mime in data]
    if telling := next((text for text in texts if not _BARE.fullmatch(text.strip())), ""):
        return telling
    if text := html_to_text(str(data.get("text/html", ""))):
        return text
    if "application/json" in data:
        return json.dumps(data["application/json"], ensure_ascii=False)
    return texts[0] if texts else f"[{', '.join(data)}, shown to the user]" if data else ""


def html_to_text(html: str) -> str:
    """Return what can be read in ``html``: paragraphs as lines, tables as aligned rows."""
    reader, rest = _Reader(), ""
    if len(html) > _HTML:
        end = html.rfind("<", 0, _HTML)
        html, rest = html[:end], f"\n[... {len(html) - end:,} more characters of HTML ...]"
    reader.feed(html)
    reader.close()
    return f"{reader.text()}{rest}".strip("\n")


class _Table:
    """A table while it is read: rows of cells, each at its column."""

    def __init__(self) -> None:
        self.rows: list[dict[int, str]] = []
        # Columns that cells of rows above reach into, and for how many rows more.
        self._reaching: dict[int, int] = {}
        self._before: list[str] | None = None
        self._span = (1, 1)

    @property
    def in_cell(self) -> bool:
        return self._before is not None

    def begin_row(self) -> None:
        self._reaching = {at: rows - 1 for at, rows in self._reaching.items() if rows > 1}
        self.rows.append({})

    def begin_cell(self, before: list[str], columns: int, rows: int) -> None:
        """Begin a cell; ``before`` is the text around the table until it ends."""
        if not self.rows:
            self.begin_row()
        self._before, self._span = before, (columns, rows)

    def end_cell(self, text: str) -> list[str]:
        """Take the cell's text; return the text around the table."""
        assert self._before is not None
        row, (columns, rows) = self.rows[-1], self._span
        column = 0
        while column in row or column in self._reaching:
            column += 1
        for at in range(column, min(column + columns, _COLUMNS)):
            row[at] = text if at == column else ""
            if rows > 1:
                self._reaching[at] = rows
        before, self._before = self._before, None
        return before

    def text(self) -> str:
        """Return the rows as lines, their cells below each other."""
        width = max((max(row, default=-1) + 1 for row in self.rows), default=0)
        rows = [[row.get(column, "") for column in range(width)] for row in self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(width)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(lines)


class _Reader(HTMLParser):
    """Collects text; ``_pieces`` are those of the cell, or of all that is in no table."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[str] = []
        self._tables: list[_Table] = []
        self._silent: list[str] = []
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        table = self._tables[-1] if self._tables else None
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag == "table":
            self._pieces.append("\n")
            self._tables.append(_Table())
        elif table and tag in ("tr", "td", "th"):
            self._end_cell()
            if tag == "tr":
                table.begin_row()
            else:
                span = (_span(attributes, "colspan"), _span(attributes, "rowspan"))
                table.begin_cell(self._pieces, *span)
                self._pieces = []
        elif tag in _EMBEDDED:
            name = (attributes.get(_EMBEDDED[tag]) or "")[:200]
            named = f": {name}" if name and not name.startswith("data:") else ""
            self._pieces.append(f"[{tag}{named}]")
        elif tag in _BLOCKS:
            self._pieces.append("\n- " if tag == "li" else "\n")
            self._preformatted += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if self._silent and tag == self._silent[-1]:
            self._silent.pop()
        elif tag == "table" and self._tables:
            self._end_table()
        elif tag in ("td", "th", "tr"):
            self._end_cell()
        elif tag in _BLOCKS:
            self._pieces.append("\n")
            self._preformatted -= tag == "pre" and self._preformatted > 0

    def handle_data(self, data: str) -> None:
        between_cells = self._tables and not self._tables[-1].in_cell and not data.strip()
        if not self._silent and not between_cells:
            self._pieces.append(data if self._preformatted else re.sub(r"\s+", " ", data))

    def text(self) -> str:
        """Return all text; what is still open ends here."""
        while self._tables:
            self._end_table()
        return _tidy("".join(self._pieces))

    def _end_cell(self) -> None:
        if self._tables and self._tables[-1].in_cell:
            text = " ".join("".join(self._pieces).split())
            self._pieces = self._tables[-1].end_cell(text)

    def _end_table(self) -> None:
        self._end_cell()
        self._pieces.append(f"{self._tables.pop().text()}\n")


def _span(attributes: dict[str, str | None], name: str) -> int:
    value = attributes.get(name) or ""
    return min(max(1, int(value)), _COLUMNS) if value.isascii() and value.isdigit() else 1


def _tidy(text: str) -> str:
    """Return ``text`` without blanks at the ends of lines, and without empty lines in a row."""
    lines = [line.rstrip() for line in text.split("\n")]
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).strip("\n")
