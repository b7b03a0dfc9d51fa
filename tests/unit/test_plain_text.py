"""Rich outputs are told to the model as text: tables as rows, never as an object's repr."""

from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest
from caesarion.kernels.plain_text import describe, html_to_text
from hypothesis import given
from hypothesis import strategies as st

FRAME = pd.DataFrame({"city": ["Lisbon", "Rome"], "rain": [1.5, 22.25]})
ROWS = """\
   city    rain
0  Lisbon  1.50
1  Rome    22.25"""


def shown(data: dict[str, Any]) -> str:
    return describe({"output_type": "display_data", "data": data, "metadata": {}})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"text/plain": "<IPython.core.display.HTML object>", "text/html": "<b>a</b> b"}, "a b\n"),
        (
            {
                "text/plain": "<pandas.io.formats.style.Styler at 0x7f1dbc0>",
                "text/html": FRAME.to_html(),
            },
            f"{ROWS}\n",
        ),
        ({"text/html": FRAME._repr_html_()}, f"{ROWS}\n"),
        ({"text/plain": "   a\n0  1", "text/html": "<table>"}, "   a\n0  1\n"),
        (
            {"text/plain": "<IPython.core.display.Markdown object>", "text/markdown": "# Rain"},
            "# Rain\n",
        ),
        ({"text/plain": "<IPython.core.display.Latex object>", "text/latex": "$x$"}, "$x$\n"),
        (
            {"text/plain": "<IPython.core.display.JSON object>", "application/json": {"a": "é"}},
            '{"a": "é"}\n',
        ),
        (
            {
                "text/plain": "<IPython.lib.display.IFrame at 0x7f>",
                "text/html": '<iframe src="https://a.b/c" width=9></iframe>',
            },
            "[iframe: https://a.b/c]\n",
        ),
        (
            {
                "text/plain": "<IPython.lib.display.Audio object>",
                "text/html": '<audio controls><source src="data:audio/wav;base64,AAAA"></audio>',
            },
            "[audio]\n",
        ),
        ({"text/html": "<script>draw()</script>"}, "[text/html, shown to the user]\n"),
        ({"text/plain": "<__main__.Thing object at 0x7f>"}, "<__main__.Thing object at 0x7f>\n"),
        ({"text/plain": "<b>"}, "<b>\n"),
        (
            {"text/plain": "<Figure size 640x480 with 1 Axes>", "image/png": "aGk="},
            "[image/png, shown to the user]\n",
        ),
        ({"x/y": "z"}, "[x/y, shown to the user]\n"),
        ({}, ""),
    ],
)
def test_a_display_is_told_by_its_most_telling_form(data: dict[str, Any], told: str) -> None:
    assert shown(data) == told


@pytest.mark.parametrize(
    ("traceback", "told"),
    [
        ([], "KeyError: 'a'\n"),
        (["custom"], "custom\nKeyError: 'a'\n"),
        (["\x1b[31mKeyError\x1b[0m: 'a'"], "\x1b[31mKeyError\x1b[0m: 'a'\n"),
    ],
)
def test_an_error_is_told_with_its_name(traceback: list[str], told: str) -> None:
    error = {"output_type": "error", "ename": "KeyError", "evalue": "'a'", "traceback": traceback}
    assert describe(error) == told


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<h1>Rain</h1><p>a <b>bold</b>\n   word<br>next</p>", "Rain\n\na bold word\nnext"),
        ("<ul><li>one<li>two</ul>", "- one\n- two"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("a &amp; b &lt;c&gt; &#233;", "a & b <c> é"),
        ("<style>p { x }</style><title>t</title>a<script>1 < 2</script>", "a"),
        ("<img src='data:x' alt='a plot'>", "[img: a plot]"),
        ("<table><tr><td>1<td>22<tr><td>333<td>4</table>", "1    22\n333  4"),
        (
            "<table><tr><th colspan=2>both<th>c</tr><tr><td>1</td><td>2<td>3</tr></table>",
            "both     c\n1     2  3",
        ),
        (
            "<table><tr><td rowspan=2>a<td>1<tr><td>2<tr><td>b<td>3</table>",
            "a  1\n   2\nb  3",
        ),
        ("<table><tr><td>a<table><tr><td>in<td>ner</table><td>b</table>", "a in ner  b"),
        ("before<table><tr><th>open", "before\nopen"),
        ("<td>no table</td>", "no table"),
        ("</table></p></pre>x", "x"),
        ("a < b", "a < b"),
        ("", ""),
    ],
)
def test_html_is_read_as_text(html: str, text: str) -> None:
    assert html_to_text(html) == text


def test_of_very_much_html_the_beginning_is_read() -> None:
    html = "<table>" + "<tr><td>1<td>2" * 10_000
    text = html_to_text(html)
    assert text.startswith("1  2\n1  2\n")
    assert text.endswith(" more characters of HTML ...]")


def test_a_table_has_no_more_columns_than_can_be_read() -> None:
    text = html_to_text(
        "<table>" + "<tr>" + "<td colspan=1000000000>x" * 3_000 + "<tr><td>y" * 3_000
    )
    assert len(text) < 100_000


TAGS = "<table> </table> <tr> <td> </td> <td\trowspan=3> <th\tcolspan=2> <pre> </pre> <p> <script>"
tags = st.sampled_from([*TAGS.split(" "), "</script>", "<li>", "&amp;", "<", "<!--", "x"])


@given(st.lists(tags | st.text(max_size=4), max_size=40))
def test_whatever_is_displayed_can_be_told(pieces: list[str]) -> None:
    assert isinstance(html_to_text("".join(pieces)), str)
