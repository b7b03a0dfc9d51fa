"""
Errors of model servers in any shape, and the words in them. Pure.

Called by ``reader`` for errors within an answer, and by the gateway and the extension for
bodies of errors; calls no other module. The words are the provider's own: they may quote its
key, which the caller has to redact.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

MAX_WORDS = 500
"""Characters that the words of an error have at most; a made-up number."""

# The fields of an error that hold its words, the most specific first. OpenRouter has the words
# of the provider behind it in "raw", below its own "Provider returned error".
_WORDS = (
    *("raw", "error", "message", "msg", "detail", "details", "errors", "error_msg"),
    *("errorMessage", "error_description", "description", "status_msg", "reason", "title"),
    *("metadata", "base_resp"),
)
# An object of a stream with one of these is an error though it has no "error":
# vLLM's, Anthropic's, FastAPI's, Baidu's.
_NAMED = ("detail", "error_msg", "errorMessage", "error_description")
_LEVELS = 8
_SEVERAL = 3
MAX_PAGE = 16_384
"""Characters of a page in which its words are looked for; a made-up number."""

_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_INVISIBLE = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<[^<>]*>", re.IGNORECASE | re.DOTALL)
_SPACE = re.compile(r"\s+")


class TooMuchError(Exception):
    """An answer with more of something than is read; ``str`` of it is a sentence."""


def parse(body: bytes | str) -> Any:
    """Return the JSON value that ``body`` holds, or its text if it holds none."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    text = text.strip().removeprefix("\ufeff")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def words(said: Any) -> str:
    """
    Return the words of an error as one line; "" if there are none.

    ``said`` is a body's bytes, its text, or a JSON value. The words are also found in JSON
    within a string, in lists, in FastAPI's ``detail`` and in HTML.
    """
    if isinstance(said, bytes):
        said = parse(said)
    found = _SPACE.sub(" ", _words(said, _LEVELS)).strip()
    return found if len(found) <= MAX_WORDS else found[: MAX_WORDS - 1] + "…"


def field(said: Any, name: str) -> str:
    """Return an error's ``code``, ``type`` or ``param``, at any depth; "" if it has none."""
    if isinstance(said, bytes):
        said = parse(said)
    for table in _tables(said, _LEVELS):
        value = table.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return ""


def find(chunk: dict[str, Any]) -> Any:
    """Return the error in a chunk of an answer, or None; :func:`words` reads it."""
    if error := chunk.get("error"):
        return error
    choices = chunk.get("choices")
    if isinstance(choices, list):
        for one in choices:
            if isinstance(one, dict) and (error := one.get("error")):
                return error  # OpenRouter's, if the model fails during the answer
        return None
    if chunk.get("object") == "error" or chunk.get("type") == "error":
        return chunk
    status = chunk.get("base_resp")
    if isinstance(status, dict) and status.get("status_code"):
        return status  # MiniMax's
    return chunk if any(chunk.get(name) for name in _NAMED) else None


def _words(said: Any, levels: int) -> str:
    if isinstance(said, str):
        return _text(said, levels)
    if not levels:
        return ""
    if isinstance(said, list):
        several = dict.fromkeys(filter(None, (_words(one, levels - 1) for one in said)))
        return "; ".join(list(several)[:_SEVERAL])
    if not isinstance(said, dict):
        return ""
    where = said.get("loc")
    for name in _WORDS:
        if found := _words(said.get(name), levels - 1):
            nested = said.get("metadata") if name == "message" else None
            found = (isinstance(nested, dict) and _words(nested, levels - 1)) or found
            place = ".".join(str(part) for part in where) if isinstance(where, list) else ""
            return f"{place}: {found}" if place else found
    return ""


def _text(text: str, levels: int) -> str:
    """Return the words of a text: of the JSON that it holds, or of the page that it is."""
    text = text.strip()
    if levels and text[:1] in ("{", "["):
        within = parse(text)
        if not isinstance(within, str) and (found := _words(within, levels - 1)):
            return found
    if text[:1] != "<":
        return text
    text = text[:MAX_PAGE]
    titles = [html.unescape(_INVISIBLE.sub(" ", title)) for _, title in _TITLE.findall(text)]
    return next((title for title in titles if title.strip()), _INVISIBLE.sub(" ", text))


def _tables(said: Any, levels: int) -> Iterator[dict[str, Any]]:
    """Yield the tables of an error, the inner ones first, since they are more specific."""
    if isinstance(said, str) and said.lstrip()[:1] in ("{", "["):
        said = parse(said)
    if not levels:
        return
    if isinstance(said, list):
        for one in said:
            yield from _tables(one, levels - 1)
    elif isinstance(said, dict):
        for name in _WORDS:
            yield from _tables(said.get(name), levels - 1)
        yield said
