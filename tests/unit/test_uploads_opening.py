"""Files are opened without following links, and created without replacing others."""

import os
from pathlib import Path

import pytest
from caesarion.files.opening import create_new, open_below


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "data" / "deep").mkdir(parents=True)
    (root / "data" / "deep" / "a.txt").write_text("mine")
    (tmp_path / "secret.txt").write_text("secret")
    return root


def test_a_file_at_any_depth_is_opened(root: Path) -> None:
    with open_below(root, root / "data" / "deep" / "a.txt") as file:
        assert file.read() == b"mine"


def test_a_link_that_takes_the_place_of_a_file_is_not_followed(root: Path, tmp_path: Path) -> None:
    path = root / "data" / "deep" / "a.txt"
    path.unlink()
    path.symlink_to(tmp_path / "secret.txt")
    with pytest.raises(OSError, match="symbolic links"):
        open_below(root, path)


def test_a_link_that_takes_the_place_of_a_folder_is_not_followed(
    root: Path, tmp_path: Path
) -> None:
    (root / "data").rename(tmp_path / "data")
    (root / "data").symlink_to(tmp_path / "data")
    with pytest.raises(OSError, match="Not a directory"):
        open_below(root, root / "data" / "deep" / "a.txt")


def test_a_file_outside_is_not_opened(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not in the subpath of"):
        open_below(root, tmp_path / "secret.txt")


def test_a_pipe_or_a_folder_is_not_opened_and_does_not_block(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(OSError, match="Not a regular file"):
        open_below(root, root / "pipe")
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        open_below(root, root / "data")


def test_opening_leaves_no_descriptor_behind(root: Path) -> None:
    before = list(Path("/dev/fd").iterdir())
    for path in (root / "data" / "deep" / "a.txt", root / "data" / "deep", root / "no" / "file"):
        try:
            open_below(root, path).close()
        except OSError:
            assert path.name != "a.txt"
    assert len(list(Path("/dev/fd").iterdir())) == len(before)


def test_a_new_file_never_takes_the_place_of_another(root: Path) -> None:
    (root / "a.txt").write_text("kept")
    assert create_new(root, "a.txt") == root / "a (2).txt"
    assert (root / "a.txt").read_text() == "kept"
