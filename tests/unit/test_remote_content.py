"""Content of a chat for notebooks: nothing of it loads, in any reading; the rest stays as it is."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from caesarion.notebooks.remote_content import (
    ADDRESS,
    TEX_OF_THE_PAGE,
    inert_bundle,
    inert_html,
    inert_markdown,
)
from hypothesis import example, given
from hypothesis import strategies as st
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from tests.hub import REPOSITORY

SOURCES = REPOSITORY / "extension/labextension/src"
PIXEL = "data:image/png;base64,AAAA"


class Loading(HTMLParser):
    """Finds what a browser would load in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "iframe", "svg", "object", "embed", "link", "base", "meta"):
            self.found.append(tag)
        for name, value in attrs:
            is_text = name in ("alt", "class", "id", "title") or (tag, name) == ("a", "href")
            holds_its_content = (tag, name) == ("img", "src") and (value or "").startswith("data:")
            if not is_text and not holds_its_content and "evil" in (value or ""):
                self.found.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.found.append(name)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("![a b](http://evil/x)", "[Picture: a b](http://evil/x)"),
        ("![](http://evil/x)", "[Picture](http://evil/x)"),
        ("![by name][x]", "! [by name][x]"),
        (f"![a]({PIXEL})", f"![a]({PIXEL})"),
        (f'![$" srcset="//evil$]({PIXEL})', f'[Picture: $" srcset="//evil$]({PIXEL})'),
        ('<img src="http://evil/x" alt="a">', '<a href="http://evil/x">Picture: a</a>'),
        (f"<IMG SRC={PIXEL}>", f'<img src="{PIXEL}">'),
        ('<video src="http://evil/x">', '< video src="http://evil/x">'),
        ('<div style="background:url(//evil)" align="left">', '<div align="left">'),
        ("<a href='javascript:x'>a</a>", "<a>a</a>"),
        ("<https://example.org/>", "https://example.org/"),
        ("<!-- x --><script>x</script>", "< !-- x -->< script>x< /script>"),
        ("`vec![1]` and `<img src=x>`", "`vec! [1]` and `< img src=x>`"),
        ("```html\n<div class='a'>\n```", "```html\n< div class='a'>\n```"),
        ("$\\style{x}{y}$ $a<b$", "$\\ style{x}{y}$ $a< b$"),
        ("&#36;&#92;style{x}{y}&dollar;", "$\\ style{x}{y}$"),
        ('[a]($" style="background:url(//evil)$)', '[a]($" style="background:url (//evil)$)'),
        (f"&#{'9' * 5000};", f"&#{'9' * 5000};"),
        (f'<b title="&#{"9" * 5000};">', f'<b title="&amp;#{"9" * 5000};">'),
    ],
)
def test_what_would_load_becomes_a_link_or_text(written: str, kept: str) -> None:
    assert inert_markdown(written) == kept


@pytest.mark.parametrize(
    "written",
    [
        "# Title\n\n- *one* `two` **three** [four](http://example.org/) & $x^2 \\alpha$\n\n> a",
        "```c\n#include <stdio.h>\nvector<int> a; if (a < b) {}\n```",
        "<details><summary>More</summary>\n\nH<sub>2</sub>O<br>\n\n</details>",
        "| a | b |\n|---|---|\n| 1 | C:\\data |",
        "```mermaid\nflowchart LR\n  A[a<br/>b] --> B\n```",
    ],
)
def test_what_loads_nothing_stays_as_it_is(written: str) -> None:
    assert inert_markdown(written) == written


@pytest.mark.parametrize(
    "diagram",
    [
        "```mermaid\nA[\"<img src='//evil'>\"]\n```",
        "```mermaid\nA[\"<img src='&#47&#47evil'>\"]\n```",
        "~~~ mermaid\nA --> B\n~~~",
        "```mermaid\nA --> B",
        "```MERMAID-like\nA --> B\n```",
        "```&#109;ermaid\nA --> B\n```",
        "> ```mermaid\n> A --> B\n> ```",
    ],
)
def test_a_diagram_that_may_load_is_code(diagram: str) -> None:
    assert "mermaid" not in markdown2html_mistune(inert_markdown(diagram)).split("<pre>")[0]
    assert not re.search(r"[`~]{3}\s*mermaid", inert_markdown(diagram), re.IGNORECASE)


_fragments = st.lists(
    st.one_of(
        st.sampled_from(
            (
                *("![a]", "![", "]", "(http://evil/x)", "[r]", "\n\n[r]: //evil 'evil'\n\n"),
                *("<img ", 'src="//evil"', "style='background:url(//evil)'", ">", "<", "/>"),
                *("<svg>", "<style>", "<script>", "<b ", "</b>", "<!--", "-->", "<?", "<![CDATA["),
                *("<https://evil>", "<pre>", "`", "``", "```", "\n```\n", "\n~~~\n", "mermaid\n"),
                *("$", "$$", "\\begin{a}", "\\end{a}", "\\\\[", "\\\\]", "\\", "&#36;", "&#92;"),
                *("\n", "\n\n", "    ", "\t", "> ", "- ", "1. ", "| a |\n|---|\n| ", "# ", "@@0@@"),
                *('"', "'", "=", " ", "!", "on=", "onload='evil'", "*", "~~", ": ", "\r", "\x00"),
                *("<a href='//evil'>", "<iframe src=//evil>", "<object data='//evil'>"),
            )
        ),
        st.text(max_size=2),
    ),
    max_size=24,
).map("".join)


@given(_fragments)
@example('x $\n$$ y\n\n```text\n<img src="//evil">\n$$\n```')
@example("$$ x\n\n```text\n$$ ![a](//evil)\n```")
def test_no_reading_of_markdown_loads_anything(text: str) -> None:
    inert = inert_markdown(text)
    assert Loading(markdown2html_mistune(inert)).found == []
    assert Loading(inert).found == [], "as HTML, which is how a parser may read any part of it"
    assert re.findall(r"!\[(?![\w ,.:-]*\]\(data:image/)", inert) == []


@given(_fragments)
def test_no_html_loads_anything(text: str) -> None:
    assert Loading(inert_html(text)).found == []


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (
            '<style scoped>td {}</style><table border="1" class="a"><tr style="text-align: right; '
            'background: url(//evil)"><td style="background-color: rgb(1, 2, 3)">1 < 2</td>',
            '<table border="1"><tr style="text-align: right">'
            '<td style="background-color: rgb(1, 2, 3)">1 &lt; 2</td>',
        ),
        ("<!DOCTYPE html><!-- x --><html><body><p>a</p></body></html>", "<p>a</p>"),
        ('<iframe src="http://evil/x"><p></iframe>b', '<a href="http://evil/x">Page</a>b'),
        ("<<x>img src=//evil>", "&lt;img src=//evil>"),
        ("<STYLE>a</Style >b", "b"),
    ],
)
def test_html_keeps_its_tables_and_text(written: str, kept: str) -> None:
    assert inert_html(written) == kept


def test_a_bundle_keeps_what_loads_nothing_and_says_what_was_left_out() -> None:
    chart = {"application/vnd.vegalite.v5+json": {"data": {"url": "//evil"}}}
    assert inert_bundle({**chart, "text/plain": "<Chart>"}) == {"text/plain": "<Chart>"}
    assert inert_bundle(chart) == {
        "text/plain": "An output (application/vnd.vegalite.v5+json) was left out: it may load "
        "things from other sites. Run the cell to see it."
    }
    assert inert_bundle({"image/png": "iVBOR\n", "image/jpeg": '" src="//evil'}) == {
        "image/png": "iVBOR\n"
    }
    assert inert_bundle({"image/svg+xml": "<svg/>"}) == {
        "text/html": '<img src="data:image/svg+xml;base64,PHN2Zy8+">'
    }
    assert inert_bundle({"text/latex": "$\\style{x}{y}$"}) == {"text/latex": "$\\ style{x}{y}$"}
    assert inert_bundle({}) == {}


@pytest.mark.parametrize(
    ("file", "pattern"),
    [("remote_content.ts", ADDRESS), ("chat_rendermime.ts", TEX_OF_THE_PAGE)],
)
def test_the_page_looks_for_the_same(file: str, pattern: str) -> None:
    assert f"/{pattern}/" in Path(SOURCES / file).read_text()
