"""
What texts in a piece of code mean to those who get them: addresses, SQL, markup, formulas, names.

Called by the other modules of this package. All expressions take time in proportion to the text.
"""

import html
import re

from caesarion.agent.risk import table
from caesarion.events import RiskClass

# Those who open addresses take out control characters, and blanks at both ends.
_BLANKS = re.compile(r"[\x00-\x20\x7f]+")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*::?)+//|(https?|ftps?):.|//\w|\\\\\w", re.IGNORECASE)

_READING_SQL = re.compile(r"\s*(select|from|with|show|describe|summarize|explain|values)\b", re.I)
_WRITING_SQL = re.compile(
    r"\b(insert|update|delete|drop|alter|create|copy|export|attach|replace|truncate|load)\b"
    r"|;\s*\S",
    re.I,
)
# Addresses, extensions, and functions that read what the text does not name plainly.
_REMOTE_SQL = re.compile(
    r"://|\binstall\b|\b(mysql|postgres|sqlite|iceberg|delta|odbc)_\w+\s*\("
    r"|\b(read_\w+|\w+_scan|sniff_csv|glob|query|query_table)\s*\((?!\s*'[^'|]*'\s*[,)])",
    re.I,
)
# Comments may stand within a call, and a function's name may be quoted.
_DISGUISED_SQL = re.compile(r"/\*|--|\"\s*\(")
_SCRIPT = re.compile(
    r"<(script|i?frame|object|embed|form|base|meta|portal)\b|javascript:|\bon\w+\s*=", re.IGNORECASE
)
_SCRIPT_ANYWHERE = re.compile(r"<\s*script\b|javascript:|<\w+\s[^<>]*\bon\w+\s*=", re.IGNORECASE)
_LOADING = re.compile(
    r"<(link|style|animate\w*|set)\b|\b(url|image|image-set)\s*\(|@import"
    r"|\b(src|srcset|poster|background)\s*=(?!\s*[\"']?(data:|\w[\w.-]*(/\w[\w.-]*)*[\"'\s>]))"
    r"|<(image|use|feimage)\b[^<>]*href|!\[",
    re.IGNORECASE,
)
_STYLE = re.compile(r"\bstyle\s*=", re.IGNORECASE)
_TEX = re.compile(r"\\(href|url|html\w*|class|style|cssId|includegraphics|require|unicode)\b", re.I)


def is_address(text: str | None) -> bool:
    """Return whether a text is the address of something elsewhere."""
    return bool(_ADDRESS.match(_BLANKS.sub("", text or "")))


def is_path(text: str, *, is_whole: bool) -> bool:
    """Return whether a text names a file here for sure; one that is not whole may go on."""
    squeezed = _BLANKS.sub("", text).lower()
    if is_address(squeezed) or "://" in squeezed or "::" in squeezed:
        return False
    return is_whole or not any(
        scheme.startswith(squeezed) or squeezed.startswith(f"{scheme}:") for scheme in table.SCHEMES
    )


def sql(text: str | None) -> set[RiskClass]:
    """Return the classes of a statement in SQL, None for one that is unknown."""
    if text is None:
        return {"network"}  # DuckDB reads addresses, and writes files, too.
    found: set[RiskClass] = {"network"} if is_remote_sql(text) else set()
    if not _READING_SQL.match(text) or _WRITING_SQL.search(text):
        found.add("files")
    return found


def is_remote_sql(text: str) -> bool:
    """Return whether an expression in SQL may read from an address."""
    return bool(_REMOTE_SQL.search(text) or _DISGUISED_SQL.search(text))


def markup(text: str | None) -> set[RiskClass]:
    """Return the classes of markup that is shown: scripts run, and some of it loads by itself."""
    if text is None:
        return {"processes"}
    read = html.unescape(text)
    if any(_SCRIPT.search(one) or _TEX.search(one) for one in (text, read)):
        return {"processes"}
    # Styles have escapes of their own.
    is_loading = _LOADING.search(read) or ("\\" in read and _STYLE.search(read))
    return {"network"} if is_loading or _LOADING.search(text) else set()


def has_script(text: str) -> bool:
    """Return whether a text has a script, wherever it is shown."""
    return bool(_SCRIPT_ANYWHERE.search(text))


def breaks_markup(text: str) -> bool:
    """Return whether a text ends the attribute or the element that it is put into."""
    return bool(re.search("[<>\"'&]", text))


def is_formula(text: str | None) -> bool:
    """Return whether a model's formula, whose parts are evaluated, has known functions alone."""
    if text is None or "__" in text:
        return False
    *called, _ = text.split("(")
    names = [re.split(r"[^\w.]", before.rstrip())[-1] for before in called]
    is_other = any(before.rstrip().endswith(tuple(")]}\"'")) for before in called)
    return not is_other and all(not name or name in table.FORMULA for name in names)


def is_sql(text: str) -> bool:
    """Return whether a text that is no Python begins as a statement in SQL does."""
    return bool(_READING_SQL.match(text) or _WRITING_SQL.match(text.strip()))


def is_known_engine(text: str) -> bool:
    """Return whether the name of a backend or an engine imports nothing that is unknown."""
    return text.lower() in table.ENGINES
