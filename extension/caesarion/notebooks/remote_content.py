"""
Content of a chat without anything that loads by itself, for notebooks made of it: pure functions.

Called by :mod:`caesarion.notebooks.export`. The page does the same for chats
(``labextension/src/remote_content.ts``), but a notebook is read by many programs, each with
a Markdown parser of its own. So nothing here depends on how a parser reads Markdown.

Invariant: in the Markdown that is returned, also in its code, no picture begins unless it
contains its content itself, and no HTML tag has an attribute that is not on a list. All
others are rewritten, or get a blank after their ``!`` or ``<``, so every parser takes them
for a link or text. What is code is looked at only to change as little of it as possible.
"""

import html
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

_INLINE_IMAGE = re.compile(
    r"data:image/(?:png|jpe?g|gif|webp|bmp|svg\+xml);base64,[A-Za-z0-9+/=]+", re.IGNORECASE
)
_PICTURE = re.compile(r"!\[([^\[\]\n]*)\]\(([^\s()]*)\)|(?<!!)!++(?=\[)")
_PICTURE_START = re.compile(r"(?<!!)!++(?=\[)")
_PLAIN_ALT = re.compile(r"[\w ,.:-]*")

_AUTOLINK = re.compile(r"<(https?://[^\s<>\"'`]+)>", re.IGNORECASE)
# A tag; or a text like "<sys/types.h>" or "<K, V>", to a browser an element that is unknown
# and has no attributes; or the begin of anything else.
_TAG = re.compile(
    r"<(/?)([A-Za-z][A-Za-z0-9]*)((?:[\s/][^<>]*)?)>"
    r"|<[A-Za-z]\w*[.,:][\w.,:*&\s/+-]*>"
    r"|<(?=[A-Za-z/!?])"
)
_CODE = re.compile(
    r"^[>\t ]*+([`~]{3,}+)[^\n]*\n.*?(?:^[>\t ]*+\1|\Z)"
    r"|(?<!`)`[^`\n]{1,500}`(?!`)",
    re.MULTILINE | re.DOTALL,
)
_ATTRIBUTE = re.compile(
    r"(?<![A-Za-z])([A-Za-z]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'=<>`]+))"
)

_DIAGRAM = "```mermaid"
# Begins a diagram, or might, by an escape in its name.
_DIAGRAM_LIKE = re.compile(
    r"(?<![`~])([`~]{3,}+[^\S\n]*+)(?=[^\s`]*(?:mermaid|[&\\]))", re.IGNORECASE
)

ADDRESS = r"\/\/|\\|https?:|ftp:|&#|&\w+;|#\w+;"
"""Matches what might be an address in a diagram; ``mayNameAddress`` in the page has the same."""
_ADDRESS = re.compile(ADDRESS, re.IGNORECASE)

TEX_OF_THE_PAGE = r"\\(?:style|mmlToken|bbox|require|csname|cssId|class|data|unicode)\b"
"""TeX that sets style, or attributes of any name; ``chat_rendermime.ts`` has the same."""
_TEX_OF_THE_PAGE = re.compile(TEX_OF_THE_PAGE)
_ENTITY = re.compile(r"&(?:#(x?)0*+([0-9a-f]{1,8})|bsol|dollar)\b;?", re.IGNORECASE)
_MATH = re.compile(r"\$|\\[(\[]|\\begin\b")
# JupyterLab 4.6 puts formulas into the HTML that it has made of their surroundings, as they
# are: one in the address of a link can add a style to it.
_CSS_URL = re.compile(r"(?<=url)(?=\()", re.IGNORECASE)

# Elements that are kept, with the attributes that they may have besides _ATTRIBUTES.
_KEPT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            *("abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd"),
            *("del", "details", "div", "dl", "dt", "em", "figcaption", "figure", "h1"),
            *("h2", "h3", "h4", "h5", "h6", "hr", "i", "ins", "kbd", "li", "mark", "ol"),
            *("p", "pre", "q", "s", "samp", "small", "span", "strong", "sub", "summary"),
            *("sup", "table", "tbody", "tfoot", "thead", "tr", "u", "ul", "var"),
        ),
        (),
    ),
    "a": ("href",),
    "img": ("alt", "src"),
    "td": ("colspan", "rowspan"),
    "th": ("colspan", "rowspan"),
}
_ATTRIBUTES = ("align", "border", "height", "open", "title", "valign", "width")
_CLICKED = re.compile(r"(?:https?:|mailto:|#|[\w./-]+(?:[?#]|$)).*", re.IGNORECASE)

# Elements that load, or whose content is not text.
_EMPTY = frozenset(
    (
        *("base", "embed", "frame", "image", "input", "link", "meta", "source"),
        *("track", "wbr"),
    )
)
_OPAQUE = _EMPTY | frozenset(
    (
        *("applet", "audio", "canvas", "frameset", "iframe", "listing", "math"),
        *("noembed", "noframes", "noscript", "object", "picture", "plaintext"),
        *("portal", "script", "select", "style", "svg", "template", "textarea"),
        *("title", "video", "xmp"),
    )
)
_MEDIA = {"audio": "Sound", "embed": "Content", "iframe": "Page", "video": "Video"}

# Properties that are kept in the HTML of outputs; none of them takes an address.
_STYLES = frozenset(
    (
        *("background-color", "border-bottom", "border-collapse", "border-left"),
        *("border-right", "border-top", "color", "font-family", "font-size"),
        *("font-style", "font-weight", "margin-left", "padding", "text-align"),
        *("text-decoration", "vertical-align", "white-space", "width"),
    )
)
_PLAIN_STYLE = re.compile(r"[\w\s#%.,+-]+|rgba?\([\d\s,.%]+\)")

_PLAIN = ("text/plain", "application/vnd.jupyter.stderr", "application/json")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
_SVG = "image/svg+xml"


def inert_markdown(text: str) -> str:
    """Return Markdown ``text`` in which remote pictures are links, and other media text."""
    text = "\n".join(_diagrams(text.replace("\r\n", "\n").replace("\r", "\n")))
    text = _ENTITY.sub(_decoded, text)
    if _MATH.search(text):
        text = _CSS_URL.sub(" ", inert_tex(text))
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [_inert_prose(text[end : code.start()]), _inert_code(code[0])]
        end = code.end()
    return "".join([*parts, _inert_prose(text[end:])])


def inert_tex(text: str) -> str:
    r"""Return TeX in which ``\style`` and its like are no commands."""
    return _TEX_OF_THE_PAGE.sub(lambda match: f"\\ {match[0][1:]}", text)


def inert_html(text: str) -> str:
    """Return HTML of listed elements and attributes, in which remote media are links."""
    text = inert_tex(_ENTITY.sub(_decoded, text))
    parts: list[str] = []
    start = 0
    while tag := _TAG.search(text, start):
        parts.append(text[start : tag.start()].replace("<", "&lt;"))
        start = tag.end()
        name = (tag[2] or "").lower()
        if name in _KEPT:
            parts.append(_kept(tag, is_output=True))
        elif name in _OPAQUE and not tag[1]:
            parts.append(_link(what, _given(tag)) if (what := _MEDIA.get(name)) else "")
            if name not in _EMPTY:
                start = _find(f"</{name}", text, start)
        elif not name and text[start : start + 1] in ("!", "?"):
            is_comment = text.startswith("!--", start)
            start = _find("-->" if is_comment else ">", text, start)
            start += len("-->" if is_comment else ">")
        elif not name:
            parts.append(f"&lt;{tag[0][1:]}")
    parts.append(text[start:].replace("<", "&lt;"))
    return "".join(parts).strip()


def inert_bundle(data: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the MIME bundle ``data`` with the types that load nothing, each made inert.

    All other types are left out: their renderers may load what the data name. A bundle that
    has nothing else says so.
    """
    kept = {mime: safe for mime, value in data.items() if (safe := _inert(mime, value)) is not None}
    if isinstance(svg := data.get(_SVG), str) and "text/html" not in kept:
        # As a picture, whose addresses a browser does not load; and it needs no trust.
        content = b64encode(svg.encode("utf-8", "replace")).decode()
        kept["text/html"] = f'<img src="data:{_SVG};base64,{content}">'
    if data and not kept:
        kept["text/plain"] = (
            f"An output ({', '.join(data)}) was left out: it may load things from other sites. "
            "Run the cell to see it."
        )
    return kept


def _inert(mime: str, value: Any) -> Any:
    """Return the inert form of one type of a bundle; None if it has none."""
    if mime in _PLAIN:
        return value
    if not isinstance(value, str):
        return None
    if mime == "text/html":
        return inert_html(value) or None
    if mime == "text/markdown":
        return inert_markdown(value)
    if mime == "text/latex":
        return inert_tex(value)
    return value if mime in _IMAGES and _BASE64.fullmatch(value) else None


def _diagrams(text: str) -> Iterator[str]:
    """Yield the lines of Markdown; diagrams that may name an address are code."""
    block: list[str] = []
    for line in text.split("\n"):
        if block or line.rstrip() == _DIAGRAM:
            block.append(line)
        else:
            yield _DIAGRAM_LIKE.sub(r"\1text ", line)
        if len(block) > 1 and line.rstrip() == "```":
            yield from _diagram(block)
            block = []
    yield from (_DIAGRAM_LIKE.sub(r"\1text ", line) for line in block)


def _diagram(block: list[str]) -> list[str]:
    content = "".join("".join(block[1:-1]).split())
    if _ADDRESS.search(content) or "```" in content or "~~~" in content:
        return ["```text", *(_DIAGRAM_LIKE.sub(r"\1text ", line) for line in block[1:])]
    return block


def _inert_prose(text: str) -> str:
    return _TAG.sub(_tag, _AUTOLINK.sub(r"\1", _PICTURE.sub(_picture, text)))


def _inert_code(text: str) -> str:
    return _TAG.sub(_tag_in_code, _PICTURE_START.sub("! ", text))


def _picture(match: re.Match[str]) -> str:
    alt, address = match[1], match[2]
    if alt is None:
        return "! "
    if _INLINE_IMAGE.fullmatch(address) and _PLAIN_ALT.fullmatch(alt):
        return match[0]
    return f"[{_words('Picture', alt)}]({address})"


def _words(what: str, alt: str) -> str:
    return f"{what}: {alt}" if alt else what


def _tag_in_code(match: re.Match[str]) -> str:
    """Return a tag as it is if it has no attributes, else with a blank that makes it text."""
    is_harmless = (match[2] or "").lower() not in _OPAQUE and "=" not in match[0]
    return match[0] if is_harmless and match[0].endswith(">") else f"< {match[0][1:]}"


def _tag(match: re.Match[str]) -> str:
    return _kept(match) if (match[2] or "").lower() in _KEPT else _tag_in_code(match)


def _kept(match: re.Match[str], *, is_output: bool = False) -> str:
    """Return the tag of a listed element, with its listed attributes."""
    name = match[2].lower()
    if match[1]:
        return f"</{name}>"
    given = _given(match)
    if name == "img" and not _INLINE_IMAGE.fullmatch(given.get("src", "")):
        return _link("Picture", given)
    style = _style(given.get("style", "")) if is_output else {}
    return _start_tag(name, {**_attributes(name, given), **style})


def _given(match: re.Match[str]) -> dict[str, str]:
    """Return the attributes of a tag."""
    return {
        key.lower(): _unescaped(next(filter(None, values), "")).strip()
        for key, *values in _ATTRIBUTE.findall(match[3])
    }


def _unescaped(value: str) -> str:
    """Return ``value`` without entities; a long one, which has none, as it is."""
    # unescape() raises ValueError for numbers of 4300 digits.
    return html.unescape(value) if len(value) < 4000 else value


def _link(what: str, given: Mapping[str, str]) -> str:
    """Return a link to remote media, which is followed by a click; words without an address."""
    words = _words(what, given.get("alt", ""))
    words = words if _is_plain(words) else what
    if not (address := given.get("src")):
        return words
    return f"{_start_tag('a', _attributes('a', {'href': address}))}{words}</a>"


def _start_tag(name: str, attributes: Mapping[str, str]) -> str:
    written = "".join(f' {key}="{html.escape(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>"


def _is_plain(value: str) -> bool:
    """Return whether no parser of Markdown or TeX sees anything in ``value``."""
    return not re.search(r"[\"'<>`$\\\[\]\n@]", value)


def _attributes(name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes of an element that are on the list, with values that may be kept."""
    return {
        key: value
        for key, value in given.items()
        if key in (*_ATTRIBUTES, *_KEPT[name])
        and _is_plain(value)
        and (key != "href" or _CLICKED.fullmatch(value))
    }


def _style(declarations: str) -> dict[str, str]:
    """Return the attribute with the listed declarations of a style; nothing if there are none."""
    pairs = (one.partition(":")[::2] for one in declarations.split(";"))
    kept = [
        f"{name.strip().lower()}: {value.strip()}"
        for name, value in pairs
        if name.strip().lower() in _STYLES and _PLAIN_STYLE.fullmatch(value.strip())
    ]
    return {"style": "; ".join(kept)} if kept else {}


def _find(mark: str, text: str, start: int) -> int:
    """Return where ``mark`` begins in ``text``, in any case of letters; its end if nowhere."""
    found = re.compile(re.escape(mark), re.IGNORECASE).search(text, start)
    return found.start() if found else len(text)


def _decoded(entity: re.Match[str]) -> str:
    """Return the character of an entity if it can be a part of a TeX command."""
    if not entity[2]:
        return "\\" if entity[0].lower().startswith("&b") else "$"
    try:
        character = chr(int(entity[2], 16 if entity[1] else 10))
    except ValueError:
        return entity[0]
    return character if re.fullmatch(r"[A-Za-z\\$]", character) else entity[0]
