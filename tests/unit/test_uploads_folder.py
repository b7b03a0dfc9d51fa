"""The uploads folder: files are stored whole or not at all, inside it, and never replaced."""

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from caesarion.config import CaesarionUploads
from caesarion.errors import SettingError
from caesarion.files.inspection.digest import PROMISED
from caesarion.files.uploads import UploadError, Uploads
from hypothesis import given
from hypothesis import strategies as st
from traitlets import TraitError
from traitlets.config import Config

from tests.unit.test_uploads_names import PIECES

SUFFIXES = st.sampled_from([".csv", ".CSV", ".json", ".py", ".parquet"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "root" / "uploads"


@pytest.fixture
def uploads(folder: Path) -> Uploads:
    return Uploads(CaesarionUploads(folder="uploads", max_size=1_000), folder.parent)


def put(uploads: Uploads, name: str, content: bytes = b"1\n") -> Path:
    incoming = uploads.receive(name)
    incoming.write(content)
    return incoming.keep()


def tree(root: Path) -> set[str]:
    """Return everything below ``root``, hidden things too."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


# Receiving


@given(PIECES, SUFFIXES)
def test_a_file_of_any_name_is_written_inside_the_folder(name: str, end: str) -> None:
    with TemporaryDirectory() as outside:
        root = Path(outside) / "home" / "root"
        root.mkdir(parents=True)
        uploads = Uploads(CaesarionUploads(folder="uploads"), root)
        try:
            incoming = uploads.receive(name + end)
        except UploadError:
            assert tree(root.parent) == {"root"}
            return
        incoming.write(b"content")
        path = incoming.keep()
        assert path.read_bytes() == b"content"
        assert path.resolve().parent == (root / "uploads").resolve()
        written = f"root/uploads/{path.name}"
        assert tree(Path(outside)) == {
            "home",
            *(f"home/{p}" for p in ("root", "root/uploads", written)),
        }
        assert [file["name"] for file in uploads.files()] == [path.name]
        uploads.delete(path.name)
        assert uploads.files() == []


def test_a_file_is_hidden_until_it_is_whole(uploads: Uploads, folder: Path) -> None:
    incoming = uploads.receive("a.csv")
    incoming.write(b"1,2\n")
    (unfinished,) = folder.iterdir()
    assert unfinished.name.startswith(".caesarion-upload-")
    assert uploads.files() == []
    assert incoming.keep() == folder / "a.csv"
    assert tree(folder) == {"a.csv"}
    assert (folder / "a.csv").read_bytes() == b"1,2\n"
    assert incoming.size == 4


def test_a_kept_file_has_the_rights_that_any_new_file_has(uploads: Uploads, folder: Path) -> None:
    path = put(uploads, "a.csv")
    (folder / "other").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((folder / "other").stat().st_mode)


def test_a_message_names_a_file_relative_to_the_root_or_else_absolutely(
    tmp_path: Path,
) -> None:
    inside = Uploads(CaesarionUploads(folder="data/in"), tmp_path)
    assert inside.attachment(tmp_path / "data/in/a.csv") == "data/in/a.csv"
    beside = Uploads(CaesarionUploads(folder="/uploaded_files"), tmp_path)
    assert beside.attachment(Path("/uploaded_files/a.csv")) == "/uploaded_files/a.csv"


def test_a_discarded_file_leaves_nothing(uploads: Uploads, folder: Path) -> None:
    incoming = uploads.receive("a.csv")
    incoming.write(b"1")
    incoming.discard()
    incoming.discard()
    assert tree(folder) == set()


def test_discarding_a_kept_file_changes_nothing(uploads: Uploads, folder: Path) -> None:
    incoming = uploads.receive("a.csv")
    incoming.keep()
    incoming.discard()
    assert tree(folder) == {"a.csv"}


def test_a_file_never_takes_the_place_of_another(uploads: Uploads, folder: Path) -> None:
    for content in (b"1", b"2", b"3"):
        put(uploads, "a.csv", content)
    there = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert there == {"a.csv": b"1", "a (2).csv": b"2", "a (3).csv": b"3"}


def test_files_of_one_name_that_come_at_once_are_all_kept(uploads: Uploads, folder: Path) -> None:
    incoming = [uploads.receive("a.csv") for _ in range(20)]
    threads = [threading.Thread(target=one.keep) for one in incoming]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(tree(folder)) == 20


def test_a_thousandth_file_of_one_name_is_refused(uploads: Uploads, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "a.csv").touch()
    for number in range(2, 1_000):
        (folder / f"a ({number}).csv").touch()
    with pytest.raises(UploadError) as refused:
        put(uploads, "a.csv")
    assert refused.value.status == 409
    assert str(refused.value) == "There are 999 files named 'a.csv' already. Rename this one."
    assert len(tree(folder)) == 999


def test_a_link_in_the_folder_is_not_written_through(uploads: Uploads, folder: Path) -> None:
    folder.mkdir(parents=True)
    outside = folder.parent / "outside.csv"
    (folder / "a.csv").symlink_to(outside)
    assert put(uploads, "a.csv") == folder / "a (2).csv"
    assert not outside.exists()


@pytest.mark.parametrize(
    ("name", "status", "sentence"),
    [
        ("", 400, "'' cannot be used as a file name. Rename the file."),
        ("../..", 400, "'../..' cannot be used as a file name. Rename the file."),
        ("a.exe", 415, "Files like 'a.exe' are not accepted. Accepted types: csv, log."),
        ("a.csv/b.sh", 415, "Files like 'b.sh' are not accepted. Accepted types: csv, log."),
        ("csv", 415, "Files like 'csv' are not accepted. Accepted types: csv, log."),
        (".csv", 415, "Files like 'csv' are not accepted. Accepted types: csv, log."),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(
    folder: Path, name: str, status: int, sentence: str
) -> None:
    uploads = Uploads(CaesarionUploads(folder="uploads", types=["csv", "log"]), folder.parent)
    with pytest.raises(UploadError) as refused:
        uploads.receive(name)
    assert (refused.value.status, str(refused.value)) == (status, sentence)
    assert not folder.exists()


def test_a_file_may_be_as_large_as_the_limit_and_not_a_byte_larger(
    uploads: Uploads, folder: Path
) -> None:
    put(uploads, "a.csv", b"x" * 1_000)
    incoming = uploads.receive("b.csv")
    incoming.write(b"x" * 1_000)
    with pytest.raises(UploadError) as refused:
        incoming.write(b"x")
    assert refused.value.status == 413
    assert str(refused.value) == "The file is larger than the limit of 1,000 bytes."
    assert tree(folder) == {"a.csv"}


def test_a_file_larger_than_the_free_space_is_refused(folder: Path) -> None:
    uploads = Uploads(CaesarionUploads(folder="uploads", max_size=1 << 60), folder.parent)
    uploads.check_space(1_000)
    with pytest.raises(UploadError) as refused:
        uploads.check_space(1 << 60)
    assert refused.value.status == 507
    assert "bytes free, and the file needs 1,152,921,504,606,846,976." in str(refused.value)
    with pytest.raises(UploadError, match="The file is larger than the limit of") as refused:
        uploads.check_space((1 << 60) + 1)
    assert refused.value.status == 413


# Failures to store


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_a_full_disk_is_a_sentence_and_leaves_nothing(uploads: Uploads, folder: Path) -> None:
    incoming = uploads.receive("a.csv")
    # The system itself now refuses what is written through the file's number.
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, incoming._file)
    os.close(full)
    with pytest.raises(UploadError) as refused:
        incoming.write(b"1")
    assert refused.value.status == 507
    assert str(refused.value) == (
        "The disk of the uploads folder is full. Delete files that you no longer need."
    )
    assert tree(folder) == set()


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (
            errno.ENOSPC,
            "The disk of the uploads folder is full. Delete files that you no longer need.",
        ),
        (
            errno.EDQUOT,
            "The disk of the uploads folder is full. Delete files that you no longer need.",
        ),
        (errno.EIO, "cannot be written: Input/output error."),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end_leaves_nothing(
    uploads: Uploads,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    number: int,
    sentence: str,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    incoming = uploads.receive("a.csv")
    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(UploadError) as refused:
        incoming.keep()
    assert refused.value.status == 507
    assert str(refused.value).endswith(sentence)
    assert tree(folder) == set()


@pytest.mark.parametrize("use", [lambda u: u.receive("a.csv"), lambda u: u.check_space(1)])
def test_a_file_in_place_of_the_folder_is_an_error(
    uploads: Uploads, folder: Path, use: Callable[[Uploads], None]
) -> None:
    folder.parent.mkdir()
    folder.write_text("not a folder")
    with pytest.raises(UploadError) as refused:
        use(uploads)
    assert refused.value.status == 409
    assert str(refused.value) == f"{folder} is needed for uploads and is not a folder. Rename it."
    assert uploads.files() == []


# Listing and deleting


def test_only_files_are_listed_by_name(uploads: Uploads, folder: Path) -> None:
    assert uploads.files() == []
    put(uploads, "b.csv", b"12")
    put(uploads, "a.csv", b"1")
    (folder / "folder").mkdir()
    (folder / ".hidden").touch()
    (folder.parent / "outside.csv").write_text("secret")
    (folder / "link.csv").symlink_to(folder.parent / "outside.csv")
    os.mkfifo(folder / "pipe.csv")
    assert uploads.files() == [
        {"name": "a.csv", "size": 1, "path": str(folder / "a.csv")},
        {"name": "b.csv", "size": 2, "path": str(folder / "b.csv")},
    ]


@pytest.mark.parametrize(
    "name",
    [
        "b.csv",
        "",
        ".",
        "..",
        "../outside.csv",
        "folder",
        ".hidden",
        "link.csv",
        "a.csv/",
        "./a.csv",
    ],
)
def test_nothing_but_a_listed_file_is_deleted(uploads: Uploads, folder: Path, name: str) -> None:
    put(uploads, "a.csv")
    (folder / "folder").mkdir()
    (folder / ".hidden").touch()
    (folder.parent / "outside.csv").touch()
    (folder / "link.csv").symlink_to(folder.parent / "outside.csv")
    before = tree(folder.parent)
    with pytest.raises(UploadError) as refused:
        uploads.delete(name)
    assert (refused.value.status, str(refused.value)) == (
        404,
        f"There is no uploaded file {name!r}.",
    )
    assert tree(folder.parent) == before
    uploads.delete("a.csv")
    assert tree(folder.parent) == before - {"uploads/a.csv"}


def test_a_file_that_cannot_be_deleted_is_an_error(
    uploads: Uploads, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(uploads, "a.csv")

    def refuse(_: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UploadError) as refused:
        uploads.delete("a.csv")
    assert refused.value.status == 409
    assert str(refused.value) == "'a.csv' cannot be deleted: Read-only file system."


# Leftovers


def test_leftovers_of_a_killed_server_are_deleted_and_files_being_written_stay(
    uploads: Uploads, folder: Path
) -> None:
    uploads.clear_leftovers()
    killed = f"""
import os
from pathlib import Path
from caesarion.config import CaesarionUploads
from caesarion.files.uploads import Uploads

uploads = Uploads(CaesarionUploads(folder="uploads"), Path({str(folder.parent)!r}))
uploads.receive("lost.csv").write(b"1")
os._exit(9)
"""
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", killed], env=environment, timeout=60)
    assert done.returncode == 9
    assert len(tree(folder)) == 1

    living = uploads.receive("a.csv")
    (folder / ".caesarion-upload-link").symlink_to(folder.parent)
    (folder / ".caesarion-upload-folder").mkdir()
    (folder / "b.csv").touch()
    uploads.clear_leftovers()
    assert tree(folder) == {
        living._path.name,
        ".caesarion-upload-link",
        ".caesarion-upload-folder",
        "b.csv",
    }
    assert living.keep().name == "a.csv"


# Previews


async def test_a_file_in_the_folder_is_previewed(uploads: Uploads) -> None:
    assert await uploads.preview(put(uploads, "a.csv", b"x\n1\n")) == (
        "Table, 1 row, 1 column:\n  x: whole number\nIt begins:\nx\n1"
    )


async def test_a_file_that_is_gone_or_has_become_a_link_is_not_previewed(
    uploads: Uploads, folder: Path
) -> None:
    path = put(uploads, "a.csv")
    path.unlink()
    assert await uploads.preview(path) == "This file cannot be read: No such file or directory."
    path.symlink_to(put(uploads, "b.csv"))
    assert await uploads.preview(path) == (
        "This file cannot be read: Too many levels of symbolic links."
    )


# Settings


def test_types_are_given_with_or_without_a_dot_in_any_case() -> None:
    config = Config({"CaesarionUploads": {"types": [".CSV", "log"]}})
    assert CaesarionUploads(config=config).types == ["csv", "log"]


def test_types_in_the_environment_are_separated_by_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESARION_UPLOADS_TYPES", ".CSV  log")
    assert CaesarionUploads().types == ["csv", "log"]
    monkeypatch.setenv("CAESARION_UPLOADS_TYPES", "")
    assert CaesarionUploads().types == []


def test_a_type_that_is_not_a_suffix_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TraitError) as refused:
        CaesarionUploads(types=["csv", "x/y"])
    assert str(refused.value) == (
        "'x/y' in CaesarionUploads.types is not a suffix such as csv or .csv."
    )
    monkeypatch.setenv("CAESARION_UPLOADS_TYPES", "a/b")
    with pytest.raises(
        SettingError, match="CAESARION_UPLOADS_TYPES is 'a/b', which is not a value"
    ):
        CaesarionUploads()


def test_an_empty_list_of_types_accepts_nothing(folder: Path) -> None:
    uploads = Uploads(CaesarionUploads(folder="uploads", types=[]), folder.parent)
    with pytest.raises(UploadError, match="Accepted types: none"):
        uploads.receive("a.csv")


def test_uploads_may_have_200_mb_by_default() -> None:
    assert CaesarionUploads().max_size == 200_000_000


def test_whatever_the_inspection_knows_by_its_name_is_accepted() -> None:
    assert {*PROMISED, "zip"} == set(CaesarionUploads().types)
