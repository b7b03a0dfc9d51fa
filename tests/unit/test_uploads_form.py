"""A multipart form as it arrives: in whatever pieces, the same comes out."""

import pytest
from caesarion.files.multipart import FileStart, Form, FormError
from hypothesis import given
from hypothesis import strategies as st

TYPE = "multipart/form-data; boundary=mark"


def part(disposition: str, content: bytes = b"") -> bytes:
    head = f"--mark\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"


def read(body: bytes, size: int = 65_536) -> tuple[list[tuple[str, bytes]], bool]:
    """Return the files in ``body``, fed by ``size`` bytes, and whether it was whole."""
    form = Form(TYPE)
    files: list[tuple[str, bytes]] = []
    for start in range(0, len(body), size):
        for piece in form.feed(body[start : start + size]):
            if isinstance(piece, FileStart):
                files.append((piece.name, b""))
            else:
                name, content = files.pop()
                files.append((name, content + piece))
    return files, form.whole


@given(
    # What looks like a boundary, or like its beginning, is the hard part.
    st.lists(st.sampled_from([b"\r\n--mar", b"\r\n--mark-", b"\r", b"\n", b"--", b"x", b"\0"])).map(
        b"".join
    )
    | st.binary(),
    st.integers(1, 100),
)
def test_a_file_is_parsed_from_chunks_of_any_size(content: bytes, size: int) -> None:
    if b"\r\n--mark" not in content:
        body = part('name="file"; filename="a.csv"', content) + b"--mark--\r\n"
        assert read(body, size) == ([("a.csv", content)], True)


def test_fields_that_are_not_files_are_ignored() -> None:
    body = (
        part('name="_xsrf"', b"secret")
        + part('name="file"; filename="a.csv"', b"1")
        + part('name="note"', b"hello")
        + b"--mark--"
    )
    assert read(body) == ([("a.csv", b"1")], True)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('filename="données.csv"', "données.csv"),
        ('filename="a; b=\\"c\\".csv"', 'a; b="c".csv'),
        ('filename="a%22b.csv"', "a%22b.csv"),
        ("filename=a.csv; filename*=UTF-8''..%2Fb.csv", "a.csv"),
        ('filename=""', ""),
    ],
)
def test_the_name_of_a_file_is_the_clients(disposition: str, name: str) -> None:
    assert read(part(f'name="file"; {disposition}') + b"--mark--") == ([(name, b"")], True)


def test_bytes_that_are_not_utf8_are_replaced_in_a_name() -> None:
    body = part('name="file"; filename="a?.csv"').replace(b"?", b"\xff") + b"--mark--"
    assert read(body) == ([("a\ufffd.csv", b"")], True)


@pytest.mark.parametrize("end", [b"", b"--mark", b"--mark-"])
def test_a_form_that_ends_too_early_is_not_whole(end: bytes) -> None:
    assert read(part('name="file"; filename="a.csv"', b"1") + end) == ([("a.csv", b"1")], False)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"json": true}', "The form cannot be read: "),
        (b"--mark\r\nno colon here\r\n\r\n", "The form cannot be read: Found invalid character"),
        (part('name="f"; filename="' + "x" * 5_000 + '"'), "Maximum header size exceeded"),
        (b"--mark\r\n" + b"A: b\r\n" * 100, "Maximum header count exceeded"),
    ],
)
def test_a_malformed_form_is_an_error(body: bytes, sentence: str) -> None:
    with pytest.raises(FormError, match=sentence):
        read(body)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("multipart/form-data", "The Content-Type names no boundary. Let the client library set"),
        ("multipart/form-data; boundary=", "The Content-Type names no boundary"),
        ("multipart/form-data; boundary=" + "x" * 300, "Boundary length 300 exceeds maximum of"),
    ],
)
def test_a_boundary_is_needed(kind: str, sentence: str) -> None:
    with pytest.raises(FormError, match=sentence):
        Form(kind)
