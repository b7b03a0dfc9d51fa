"""
Attachments: only files of the message just sent are read, below the server's root and not
hidden; images are shown within limits.
"""

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import pytest
from caesarion.config import CaesarionModel, CaesarionUploads
from caesarion.files.attachments import Attachments
from caesarion.files.opening import open_below
from caesarion.files.uploads import Uploads

from tests.files import image

OUTSIDE = "This lies outside the folders of this server and was not read. Upload a copy."
HIDDEN = (
    "This file is hidden, as a part of its path begins with a dot, and was not read. "
    "Attach it once more if it is to be read."
)
GONE = "There is no such file any more."


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "home"
    (root / "data").mkdir(parents=True)
    (root / "data" / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "secret.txt").write_text("secret")
    return root


def attachments(root: Path, folder: str = "uploads", **settings: int) -> Attachments:
    uploads = Uploads(CaesarionUploads(folder=folder), root)
    return Attachments(CaesarionModel(**settings), uploads, root)


def data_url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


async def read(files: Attachments, value: str, cells: Sequence[str] = ()) -> str:
    """Read what is attached to a message of its own."""
    return await files.read((uuid4().hex, value), cells)


async def shown(files: Attachments, *values: str) -> dict[str, str]:
    """Return the images among what is attached to one message, newest first, after reading it."""
    wanted = [("message", value) for value in values]
    for one in wanted:
        await files.read(one)
    return {value: url for (_, value), url in (await files.images(wanted)).items()}


@pytest.mark.parametrize("value", ["data/a.txt", "/data/a.txt", "data/../data/a.txt"])
async def test_a_file_below_the_root_is_looked_into(root: Path, value: str) -> None:
    assert await read(attachments(root), value) == "Text, 2 lines, UTF-8. It begins:\none\ntwo"


async def test_a_file_in_a_folder_for_uploads_beside_the_root_is_looked_into(
    root: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "uploaded_files"
    volume.mkdir()
    path = volume / "b.txt"
    path.write_text("three")
    beside = attachments(root, folder=str(volume))
    assert beside.path(str(path)) == path
    assert await read(beside, str(path)) == "Text, 1 line, UTF-8. It begins:\nthree"
    assert await read(beside, f"{volume}/../secret.txt") == OUTSIDE


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("../secret.txt", OUTSIDE),
        ("data/../../secret.txt", OUTSIDE),
        ("out.txt", OUTSIDE),
        ("folder/secret.txt", OUTSIDE),
        ("gone.txt", GONE),
        ("broken.txt", GONE),
        ("data/a.txt/b.txt", "There is no such file."),
        ("loop.txt", "There is no such file."),
        ("a\0b.txt", "There is no such file."),
        ("x" * 5_000, "There is no such file."),
        ("data", "This is a folder."),
        ("", "This is a folder."),
        ("pipe", "This is not a file that can be read."),
    ],
)
async def test_what_is_not_looked_into_is_said(
    root: Path, tmp_path: Path, value: str, sentence: str
) -> None:
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    (root / "folder").symlink_to(tmp_path)
    (root / "broken.txt").symlink_to(root / "nothing")
    (root / "loop.txt").symlink_to(root / "loop.txt")
    os.mkfifo(root / "pipe")
    assert await read(attachments(root), value) == sentence


async def test_an_absolute_path_elsewhere_is_taken_for_one_in_the_root(
    root: Path, tmp_path: Path
) -> None:
    assert await read(attachments(root), str(tmp_path / "secret.txt")) == GONE


async def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "link.txt").symlink_to(root / "data" / "a.txt")
    assert (await read(attachments(root), "link.txt")).startswith("Text, 2 lines")


@pytest.mark.parametrize("value", [".env", ".ssh/id.txt", "data/.deep/a.txt", "link.txt", ".a.txt"])
async def test_a_hidden_file_is_read_when_it_is_attached_once_more(root: Path, value: str) -> None:
    for path in (root / ".env", root / ".ssh" / "id.txt", root / "data" / ".deep" / "a.txt"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret")
    (root / "link.txt").symlink_to(root / ".env")
    (root / ".a.txt").symlink_to(root / "data" / "a.txt")
    files = attachments(root)
    assert await read(files, value) == HIDDEN
    assert (await read(files, value)).startswith("Text, ")
    assert await read(attachments(root), value) == HIDDEN


@pytest.mark.parametrize("other", ["/.env", "./.env", "data/../.env", "link.txt"])
async def test_a_hidden_file_named_twice_in_one_message_is_not_read(root: Path, other: str) -> None:
    (root / ".env").write_text("secret")
    (root / "link.txt").symlink_to(root / ".env")
    files = attachments(root)
    assert await files.read(("m", ".env")) == HIDDEN
    assert "secret" not in await files.read(("m", other))


async def test_a_root_below_a_hidden_folder_hides_nothing(tmp_path: Path) -> None:
    root = tmp_path / ".hidden" / "home"
    root.mkdir(parents=True)
    (root / "a.txt").write_text("one")
    assert (await read(attachments(root), "a.txt")).startswith("Text, 1 line")


async def test_a_link_that_takes_a_files_place_after_the_check_is_not_followed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap(folder: Path, path: Path) -> BinaryIO:
        (root / "data" / "a.txt").unlink()
        (root / "data" / "a.txt").symlink_to(tmp_path / "secret.txt")
        return open_below(folder, path)

    monkeypatch.setattr("caesarion.files.attachments.open_below", swap)
    assert await read(attachments(root), "data/a.txt") == "There is no such file."


# Images


async def test_images_are_shown_by_what_they_are_not_by_their_names(root: Path) -> None:
    (root / "a.jpg").write_bytes(image("png"))
    (root / "b.jpeg").write_bytes(image("jpeg"))
    (root / "c.gif").write_bytes(image("gif"))
    (root / "d.webp").write_bytes(image("webp"))
    (root / "e.png").write_bytes(b"no image")
    values = ["a.jpg", "b.jpeg", "c.gif", "d.webp", "e.png", "data/a.txt", "gone.png"]
    assert await shown(attachments(root, max_images=9), *values) == {
        "a.jpg": data_url(image("png"), "png"),
        "b.jpeg": data_url(image("jpeg"), "jpeg"),
        "c.gif": data_url(image("gif"), "gif"),
        "d.webp": data_url(image("webp"), "webp"),
    }


async def test_an_image_that_cannot_be_decoded_is_said_and_not_shown(root: Path) -> None:
    (root / "a.png").write_bytes(image()[:45])
    (root / "b.png").write_bytes(image())
    files = attachments(root)
    assert (await read(files, "a.png")).startswith("PNG image that cannot be decoded: ")
    assert list(await shown(files, "a.png", "b.png")) == ["b.png"]
    # It was whole when it was sent, and is not any more.
    (root / "b.png").write_bytes(image()[:45])
    assert await files.images([("message", "b.png")]) == {}


async def test_only_what_was_sent_to_this_server_is_shown(root: Path) -> None:
    (root / "a.png").write_bytes(image())
    (root / "b.png").write_bytes(image())
    files = attachments(root)
    await files.read(("sent", "a.png"))
    wanted = [("sent", "a.png"), ("sent", "b.png"), ("of a file", "a.png")]
    assert list(await files.images(wanted)) == [("sent", "a.png")]


async def test_an_image_that_the_provider_refuses_is_not_sent_again(root: Path) -> None:
    (root / "a.png").write_bytes(image())
    (root / "b.png").write_bytes(image(width=5))
    files = attachments(root)
    sent = await shown(files, "a.png", "b.png")
    files.refuse([sent["a.png"]])
    assert await shown(files, "a.png", "b.png") == {"b.png": sent["b.png"]}
    assert await read(files, "a.png") == (
        "PNG image, 3 x 2 pixels.\n"
        "The model's provider refused this image, so it is not shown to you."
    )


async def test_only_the_newest_images_are_shown(root: Path) -> None:
    (root / "a.png").write_bytes(image())
    files = attachments(root, max_images=2)
    wanted = [(str(number), "a.png") for number in range(5)]
    for one in wanted:
        await files.read(one)
    assert list(await files.images(wanted)) == wanted[:2]
    assert await shown(attachments(root, max_images=0), "a.png") == {}


async def test_images_outside_the_root_are_not_shown(root: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image())
    (root / "link.png").symlink_to(tmp_path / "a.png")
    assert await shown(attachments(root), "../a.png", "link.png") == {}


async def test_images_share_the_room_that_there_is(root: Path) -> None:
    (root / "large.png").write_bytes(image() + bytes(2_000))
    (root / "small.png").write_bytes(image())
    size = len(image())
    wanted = [("1", "small.png"), ("2", "large.png"), ("3", "small.png"), ("4", "large.png")]
    for limit, numbers in ((2_000 + size, ["1", "3"]), (2_000 + 3 * size, ["1", "2", "3"])):
        files = attachments(root, image_bytes=limit)
        for one in wanted:
            await files.read(one)
        assert [number for number, _ in await files.images(wanted)] == numbers


async def test_an_image_that_will_not_be_shown_is_said_to_be_so(root: Path) -> None:
    size = len(image()) + 2_000
    (root / "a.png").write_bytes(image() + bytes(2_000))
    seen = "PNG image, 3 x 2 pixels."
    assert await read(attachments(root), "a.png") == seen
    assert await read(attachments(root, image_bytes=2_000), "a.png") == (
        f"{seen}\nIt is not shown to you, as its {size:,} bytes are more than the 2,000 that are "
        "sent. Make it smaller with Python."
    )
    assert await read(attachments(root, max_images=0), "a.png") == (
        f"{seen}\nNo images are shown to you, only this text."
    )


# Cells


def cell(id: str, source: str | list[str], kind: str = "code") -> dict[str, Any]:
    return {"id": id, "cell_type": kind, "source": source, "metadata": {}, "outputs": []}


async def test_the_cells_that_are_attached_are_told_with_their_notebook(root: Path) -> None:
    cells = [cell("a", "x = 1"), cell("b", ["# Title\n", "words"], "markdown"), cell("c", "y")]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (root / "n.ipynb").write_text(json.dumps(notebook))
    whole = await read(attachments(root), "n.ipynb")
    assert await read(attachments(root), "n.ipynb", ["a", "b"]) == (
        "Attached of it: 2 cells.\n"
        f"Cell 1 (code):\nx = 1\nCell 2 (markdown):\n# Title\nwords\n{whole}"
    )


@pytest.mark.parametrize(
    "notebook",
    ["", "{", "[]", '{"cells": 1}', '{"cells": [1]}', '{"cells": [{"id": "a"}]}', "[" * 100_000],
)
async def test_a_cell_that_is_not_in_the_file_is_said(root: Path, notebook: str) -> None:
    (root / "n.ipynb").write_text(notebook)
    whole = await read(attachments(root), "n.ipynb")
    assert await read(attachments(root), "n.ipynb", ["a"]) == (
        "Attached of it: 1 cell.\n"
        "Some of the attached cells are not in the file: it was not saved, or has changed.\n"
        + whole
    )
