"""What is attached: only files of the server's own are opened, and images within bounds."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from caesarion.config import CaesarionModel, CaesarionUploads
from caesarion.files.attachments import Attachments
from caesarion.files.uploads import Uploads

from tests.unit.test_uploads_inspection import png

OUTSIDE = "This lies outside the folders of this server and was not looked into. Upload a copy."
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


def data_url(image: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


@pytest.mark.parametrize("value", ["data/a.txt", "/data/a.txt", "data/../data/a.txt"])
async def test_a_file_below_the_root_is_looked_into(root: Path, value: str) -> None:
    assert await attachments(root).digest(value) == "Text, 2 lines, UTF-8. It begins:\none\ntwo"


async def test_a_file_in_a_folder_for_uploads_beside_the_root_is_looked_into(
    root: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "uploaded_files"
    volume.mkdir()
    path = volume / "b.txt"
    path.write_text("three")
    beside = attachments(root, folder=str(volume))
    assert beside.path(str(path)) == path
    assert await beside.digest(str(path)) == "Text, 1 line, UTF-8. It begins:\nthree"
    assert await beside.digest(f"{volume}/../secret.txt") == OUTSIDE


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
        ("pipe", "This is no file that can be read."),
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
    assert await attachments(root).digest(value) == sentence


async def test_an_absolute_path_elsewhere_is_taken_for_one_in_the_root(
    root: Path, tmp_path: Path
) -> None:
    assert await attachments(root).digest(str(tmp_path / "secret.txt")) == GONE


async def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "link.txt").symlink_to(root / "data" / "a.txt")
    assert (await attachments(root).digest("link.txt")).startswith("Text, 2 lines")


async def test_images_are_shown_by_what_they_are_not_by_their_names(root: Path) -> None:
    (root / "a.jpg").write_bytes(png(1, 2))
    (root / "b.jpeg").write_bytes(b"\xff\xd8\xff rest")
    (root / "c.gif").write_bytes(b"GIF89a rest")
    (root / "d.webp").write_bytes(b"RIFF\0\0\0\0WEBP rest")
    (root / "e.png").write_bytes(b"no image")
    values = ["a.jpg", "b.jpeg", "c.gif", "d.webp", "e.png", "data/a.txt", "gone.png"]
    images = await attachments(root, max_images=9).images((value, value) for value in values)
    assert images == {
        "a.jpg": data_url(png(1, 2), "png"),
        "b.jpeg": data_url(b"\xff\xd8\xff rest", "jpeg"),
        "c.gif": data_url(b"GIF89a rest", "gif"),
        "d.webp": data_url(b"RIFF\0\0\0\0WEBP rest", "webp"),
    }


async def test_only_the_newest_images_are_shown(root: Path) -> None:
    wanted = [(number, "a.png") for number in range(5)]
    (root / "a.png").write_bytes(png(1, 1))
    assert list(await attachments(root, max_images=2).images(wanted)) == [0, 1]
    assert await attachments(root, max_images=0).images(wanted) == {}


async def test_images_outside_the_root_are_not_shown(root: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1, 1))
    (root / "link.png").symlink_to(tmp_path / "a.png")
    assert await attachments(root).images([(0, "../a.png"), (1, "link.png")]) == {}


async def test_images_share_the_room_that_there_is(root: Path) -> None:
    (root / "large.png").write_bytes(png(1, 1) + bytes(2_000))
    (root / "small.png").write_bytes(png(1, 1))
    wanted = [(0, "small.png"), (1, "large.png"), (2, "small.png"), (3, "large.png")]
    assert list(await attachments(root, image_bytes=2_050).images(wanted)) == [0, 2]
    assert list(await attachments(root, image_bytes=2_200).images(wanted)) == [0, 1, 2]


async def test_an_image_that_will_not_be_shown_is_told_as_such(root: Path) -> None:
    size = len(png(3, 2)) + 2_000
    (root / "a.png").write_bytes(png(3, 2) + bytes(2_000))
    seen = "PNG image, 3 x 2 pixels."
    assert await attachments(root).digest("a.png") == seen
    assert await attachments(root, image_bytes=2_000).digest("a.png") == (
        f"{seen}\nIt is not shown to you, as its {size:,} bytes are more than the 2,000 that are "
        "sent. Make it smaller with Python."
    )
    assert await attachments(root, max_images=0).digest("a.png") == (
        f"{seen}\nNo images are shown to you, only this text."
    )


def cell(id: str, source: str | list[str], kind: str = "code") -> dict[str, Any]:
    return {"id": id, "cell_type": kind, "source": source, "metadata": {}, "outputs": []}


async def test_the_cells_that_are_attached_are_told_with_their_notebook(root: Path) -> None:
    cells = [cell("a", "x = 1"), cell("b", ["# Title\n", "words"], "markdown"), cell("c", "y")]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (root / "n.ipynb").write_text(json.dumps(notebook))
    whole = await attachments(root).digest("n.ipynb")
    assert await attachments(root).digest("n.ipynb", ["a", "b"]) == (
        "Attached of it: 2 cells.\n"
        f"Cell 1 (code):\nx = 1\nCell 2 (markdown):\n# Title\nwords\n{whole}"
    )


@pytest.mark.parametrize(
    "notebook",
    ["", "{", "[]", '{"cells": 1}', '{"cells": [1]}', '{"cells": [{"id": "a"}]}', "[" * 100_000],
)
async def test_a_cell_that_is_not_in_the_file_is_said(root: Path, notebook: str) -> None:
    (root / "n.ipynb").write_text(notebook)
    whole = await attachments(root).digest("n.ipynb")
    assert await attachments(root).digest("n.ipynb", ["a"]) == (
        "Attached of it: 1 cell.\n"
        f"Of the attached cells some are not in the file: it was not saved, or changed.\n{whole}"
    )
