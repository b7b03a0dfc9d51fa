"""Uploads through a real server, from the request to the disk, with every failure between."""

import asyncio
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from shlex import join, quote
from urllib.parse import urlsplit

import httpx
import pytest

from tests.hub import RunningHub, free_port
from tests.integration.test_hub import server_of
from tests.server import RunningServer, eventually, running_server

API = "caesarion/api/uploads"
LIMIT = 200_000_000
TYPES = (
    "csv, tsv, txt, log, json, py, md, ipynb, parquet, zip, "
    "xlsx, xlsm, xlsb, xls, ods, png, jpg, jpeg, gif, webp"
)
CSV = b"month,mm\n2024-01,1.5\n2024-02,2\n"
PREVIEW = (
    "Table, 2 rows, 2 columns separated by ',':\n  month: text\n  mm: number\n"
    "It begins:\nmonth,mm\n2024-01,1.5\n2024-02,2"
)

tells_its_peak = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak of memory"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    with running_server(tmp_path_factory.mktemp("uploads"), model_url=nobody) as server:
        yield server
    assert server.failures == []


@pytest.fixture
def folder(server: RunningServer) -> Path:
    """The server's folder for uploads, emptied."""
    folder = server.root / "uploads"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


@pytest.fixture
async def http(server: RunningServer, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with server.client() as http:
        yield http


def there(folder: Path) -> list[str]:
    """Return all names in a folder, hidden ones too; none if there is no folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def peak_memory(pid: int) -> int:
    """Return the most bytes that a process has had in memory since ``forget_peak``."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1_024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def large_file(path: Path, megabytes: int) -> Path:
    line = b"2024-01-01,Berlin,12.5,some more text\n"
    with path.open("wb") as file:
        file.writelines([line * (1_000_000 // len(line))] * megabytes)
    return path


@asynccontextmanager
async def connection(
    server: RunningServer, headers: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Send the head of a POST by hand; what follows is the caller's."""
    where = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(f"POST /{API} HTTP/1.1\r\nHost: {where.netloc}\r\n{headers}\r\n\r\n".encode())
        await writer.drain()
        yield reader, writer
    finally:
        writer.close()


def head_of_form(server: RunningServer, length: int) -> str:
    return (
        f"Authorization: token {server.token}\r\nContent-Length: {length}\r\n"
        "Content-Type: multipart/form-data; boundary=mark"
    )


FORM_BEGINS = (
    b'--mark\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nmonth,mm\n'
)


# Successful uploads


async def test_a_file_is_put_looked_into_listed_and_deleted(
    http: httpx.AsyncClient, folder: Path
) -> None:
    put = await http.post(API, files={"file": ("rain data.csv", CSV)})
    path = str(folder / "rain data.csv")
    assert put.status_code == 201
    assert put.headers["Location"] == f"/{API}/rain%20data.csv"
    assert put.json() == {
        "name": "rain data.csv",
        "size": len(CSV),
        "path": path,
        "attachment": "uploads/rain data.csv",
        "preview": PREVIEW,
    }
    assert (folder / "rain data.csv").read_bytes() == CSV

    listed = await http.get(API)
    assert listed.status_code == 200
    assert listed.json() == [{"name": "rain data.csv", "size": len(CSV), "path": path}]
    status = (await http.get("caesarion/api/status")).json()
    assert status["uploads"] == listed.json()
    assert status["upload_limits"] == {"max_size": LIMIT, "types": TYPES.split(", ")}

    deleted = await http.delete(put.headers["Location"])
    assert (deleted.status_code, deleted.content) == (204, b"")
    again = await http.delete(put.headers["Location"])
    assert again.status_code == 404
    assert again.json() == {"message": "There is no uploaded file 'rain data.csv'."}
    assert (await http.get(API)).json() == []


async def test_a_name_that_is_there_gets_a_number(http: httpx.AsyncClient, folder: Path) -> None:
    answers = await asyncio.gather(
        *(http.post(API, files={"file": ("a.csv", CSV)}) for _ in range(5))
    )
    names = {answer.json()["name"] for answer in answers}
    assert names == {"a.csv", "a (2).csv", "a (3).csv", "a (4).csv", "a (5).csv"}
    assert set(there(folder)) == names


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../outside.csv", "outside.csv"),
        ("/etc/cron.d/outside.csv", "outside.csv"),
        ("..\\outside.csv", "outside.csv"),
        (".hidden.csv", "hidden.csv"),
        ("con.csv", "_con.csv"),
        ("\u202evsc.csv", "vsc.csv"),
        ("x" * 1_000 + ".csv", "x" * 196 + ".csv"),
        ("$(touch outside).csv", "$(touch outside).csv"),
    ],
)
async def test_a_hostile_name_ends_up_in_the_folder(
    server: RunningServer, http: httpx.AsyncClient, folder: Path, name: str, safe: str
) -> None:
    before = set(server.root.parent.rglob("*outside*"))
    answer = await http.post(API, files={"file": (name, CSV)})
    assert answer.json()["name"] == safe
    assert there(folder) == [safe]
    outside = set(server.root.parent.rglob("*outside*")) - before
    assert outside <= {folder / safe}


@pytest.mark.parametrize("path", ["..%2fa.csv", "%2e%2e%2fa.csv", "%2fetc%2fpasswd", "a%00.csv"])
async def test_nothing_outside_the_folder_is_deleted(
    server: RunningServer, http: httpx.AsyncClient, folder: Path, path: str
) -> None:
    outside = server.root / "a.csv"
    outside.write_text("")
    answer = await http.delete(f"{API}/{path}")
    assert answer.status_code == 404
    assert answer.json()["message"].startswith("There is no uploaded file ")
    assert outside.exists()


async def test_a_file_that_cannot_be_inspected_is_kept_all_the_same(
    http: httpx.AsyncClient, folder: Path
) -> None:
    answer = await http.post(API, files={"file": ("a.xlsx", b"no workbook")})
    assert answer.status_code == 201
    assert answer.json()["preview"] == (
        "The name ends in .xlsx, but this is another kind of file:\n"
        "Text, 1 line, UTF-8. It begins:\nno workbook"
    )
    assert there(folder) == ["a.xlsx"]


# Refused requests


@pytest.mark.parametrize(
    ("name", "status", "sentence"),
    [
        ("a.sh", 415, f"Files like 'a.sh' are not accepted. Accepted types: {TYPES}."),
        ("../csv", 415, f"Files like 'csv' are not accepted. Accepted types: {TYPES}."),
        ("../..", 400, "'../..' cannot be used as a file name. Rename the file."),
    ],
)
@pytest.mark.parametrize("size", [10, 20_000_000])
async def test_a_file_that_is_not_taken_is_refused_however_much_follows(
    http: httpx.AsyncClient, folder: Path, name: str, status: int, sentence: str, size: int
) -> None:
    answer = await http.post(API, files={"file": (name, io.BytesIO(b"x" * size))})
    assert (answer.status_code, answer.json()) == (status, {"message": sentence})
    assert there(folder) == []


@pytest.mark.parametrize(
    ("kind", "body", "status", "sentence"),
    [
        (
            "application/json",
            b"{}",
            415,
            "The body is not multipart/form-data. Send the file as a form.",
        ),
        ("", b"x", 415, "The body is not multipart/form-data. Send the file as a form."),
        (
            "multipart/form-data",
            b"x",
            400,
            "The Content-Type names no boundary. Let the client library set it.",
        ),
        (
            "multipart/form-data; boundary=mark",
            b"no form",
            400,
            "The form cannot be read: Expected boundary character 45, got 110 at index 2.",
        ),
        (
            "multipart/form-data; boundary=mark",
            FORM_BEGINS + b"1,2",
            400,
            "The form ended before its last boundary. Send it again.",
        ),
        (
            "multipart/form-data; boundary=mark",
            b'--mark\r\nContent-Disposition: form-data; name="file"\r\n\r\n1\r\n--mark--\r\n',
            400,
            "The form contains no file. Send one, with its name.",
        ),
        (
            "multipart/form-data; boundary=mark",
            b"",
            400,
            "The form ended before its last boundary. Send it again.",
        ),
    ],
)
async def test_a_body_that_is_no_form_with_a_file_is_one_sentence(
    http: httpx.AsyncClient, folder: Path, kind: str, body: bytes, status: int, sentence: str
) -> None:
    answer = await http.post(API, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()) == (status, {"message": sentence})
    assert there(folder) == []


async def test_two_files_in_one_form_are_refused_and_neither_is_kept(
    http: httpx.AsyncClient, folder: Path
) -> None:
    files = [("file", ("a.csv", CSV)), ("file", ("b.csv", CSV))]
    answer = await http.post(API, files=files)
    assert answer.status_code == 400
    assert answer.json() == {
        "message": "The form contains more than one file. Send each by itself."
    }
    assert there(folder) == []


@pytest.fixture
def no_folder(folder: Path) -> Iterator[Path]:
    """A file where the folder should be."""
    folder.write_text("")
    yield folder
    folder.unlink()


async def test_a_file_in_the_folders_place_is_a_conflict(
    http: httpx.AsyncClient, no_folder: Path
) -> None:
    answer = await http.post(API, files={"file": ("a.csv", CSV)})
    assert answer.status_code == 409
    assert answer.json() == {
        "message": f"{no_folder} is needed for uploads and is not a folder. Rename it."
    }
    assert (await http.get(API)).json() == []


async def answer_on(reader: asyncio.StreamReader) -> tuple[int, object]:
    """Read the status and the JSON of one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    return int(head.split()[1]), json.loads(await reader.readexactly(int(length[1])))


TOO_LARGE = (413, {"message": f"The file is larger than the limit of {LIMIT:,} bytes."})


async def test_too_long_a_body_is_refused_before_it_is_sent(
    server: RunningServer, folder: Path
) -> None:
    # More than Jupyter Server takes of anything, and nothing of it is sent.
    head = head_of_form(server, 10**12)
    async with asyncio.timeout(90), connection(server, head) as (reader, _):
        assert await answer_on(reader) == TOO_LARGE
    waiting = f"{head}\r\nExpect: 100-continue"
    async with asyncio.timeout(90), connection(server, waiting) as (reader, _):
        assert await answer_on(reader) == TOO_LARGE
        assert await reader.read() == b"", "neither leave to send nor a second answer"
    assert there(folder) == []


async def test_a_client_that_goes_on_sending_a_refused_file_gets_the_answer(
    server: RunningServer, folder: Path
) -> None:
    head = head_of_form(server, 10**12)
    async with asyncio.timeout(90), connection(server, head) as (reader, writer):
        for _ in range(50):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
        assert await answer_on(reader) == TOO_LARGE
    assert there(folder) == []


async def test_a_client_that_never_ends_sending_a_refused_file_is_cut_off(
    server: RunningServer, folder: Path
) -> None:
    head = head_of_form(server, 10**12)
    async with asyncio.timeout(90), connection(server, head) as (reader, _):
        assert await answer_on(reader) == TOO_LARGE
        assert await reader.read() == b"", "the end of the connection, after ten seconds"


async def test_a_body_of_no_known_length_is_cut_at_the_limit(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/v1"

    async def body() -> AsyncIterator[bytes]:
        yield FORM_BEGINS
        for _ in range(100):
            yield b"x" * 100_000

    with running_server(
        tmp_path, model_url=nobody, environment={"CAESARION_UPLOADS_MAX_SIZE": "1000000"}
    ) as server:
        async with server.client() as http:
            kind = {"Content-Type": "multipart/form-data; boundary=mark"}
            answer = await http.post(API, content=body(), headers=kind)
            assert answer.status_code == 413
            assert answer.json() == {
                "message": "The file is larger than the limit of 1,000,000 bytes."
            }
            exact = await http.post(API, files={"file": ("a.txt", b"x" * 1_000_000)})
            assert (exact.status_code, exact.json()["size"]) == (201, 1_000_000)
            over = await http.post(API, files={"file": ("b.txt", b"x" * 1_000_001)})
            assert over.status_code == 413
        assert there(server.root / "uploads") == ["a.txt"]
        assert server.failures == []


async def test_the_limit_may_be_above_the_servers_own(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    with running_server(
        tmp_path, model_url=nobody, arguments=["--ServerApp.max_body_size=1000000"]
    ) as server:
        async with server.client() as http:
            answer = await http.post(API, files={"file": ("a.txt", b"x\n" * 2_000_000)})
            assert (answer.status_code, answer.json()["size"]) == (201, 4_000_000)


# Authorization


@pytest.mark.parametrize("credential", [{}, {"Authorization": "token wrong"}])
async def test_a_client_without_a_valid_token_is_refused_before_its_file_is_read(
    server: RunningServer, folder: Path, credential: dict[str, str]
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in credential.items())
    head = f"{lines}Content-Length: 100000000\r\nContent-Type: multipart/form-data; boundary=mark"
    refusal = {
        "message": "Only the user of this server may do this. "
        "Send a token, or a cookie with its X-XSRFToken."
    }
    async with asyncio.timeout(90), connection(server, head) as (reader, _):
        assert await answer_on(reader) == (403, refusal)
    assert there(folder) == []
    async with httpx.AsyncClient(base_url=server.url, headers=credential) as http:
        for size in (10, 10_000_000):
            answer = await http.post(API, files={"file": ("a.csv", b"x" * size)})
            assert (answer.status_code, answer.json()) == (403, refusal)
        assert (await http.get(API)).status_code == 403
        assert (await http.delete(f"{API}/a.csv")).status_code == 403
    assert there(folder) == []


async def test_a_browsers_cookie_needs_its_xsrf_token(server: RunningServer, folder: Path) -> None:
    async with httpx.AsyncClient(base_url=server.url) as browser:
        await browser.get("tree", params={"token": server.token})
        xsrf = browser.cookies["_xsrf"]
        files = {"file": ("a.csv", CSV)}
        assert (await browser.post(API, files=files)).status_code == 403
        assert there(folder) == []
        answer = await browser.post(API, files=files, headers={"X-XSRFToken": xsrf})
        assert answer.status_code == 201


# Interruptions


async def test_an_upload_that_is_cut_off_leaves_nothing(
    server: RunningServer, folder: Path
) -> None:
    async with connection(server, head_of_form(server, 50_000_000)) as (_, writer):
        writer.write(FORM_BEGINS + b"2024-01,1\n" * 500_000)
        await writer.drain()
        await eventually(lambda: sum(path.stat().st_size for path in folder.glob(".*")) > 0)
        (unfinished,) = there(folder)
        assert unfinished.startswith(".caesarion-upload-")
    await eventually(lambda: there(folder) == [])
    async with server.client() as http:
        assert (await http.get(API)).json() == []


async def test_an_upload_in_a_server_that_is_killed_is_cleared_by_the_next(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    with running_server(tmp_path, model_url=nobody) as server:
        folder = server.root / "uploads"
        async with connection(server, head_of_form(server, 50_000_000)) as (_, writer):
            writer.write(FORM_BEGINS + b"2024-01,1\n" * 500_000)
            await writer.drain()
            await eventually(lambda: len(there(folder)) == 1)
            server.kill()
    assert len(there(folder)) == 1
    with running_server(tmp_path, model_url=nobody):
        assert there(folder) == []


def run(alone: list[str], command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*alone, "sh", "-c", command], capture_output=True, timeout=120)


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """
    An uploads folder that is a disk of 4 MB, for the server that runs in ``tmp_path``.

    The disk is mounted in a namespace that the server has to itself, so that
    neither rights nor cleaning up are needed.
    """
    folder = tmp_path / "home" / "work" / "uploads"
    folder.mkdir(parents=True)
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size=4m tmpfs {quote(str(folder))}"
    if not shutil.which("unshare") or run(alone, mount).returncode:
        pytest.skip("this system lets nobody mount a disk in a namespace of their own")
    python = tmp_path / "python"
    command = join([*alone, "sh", "-c", f'{mount} && exec "$0" "$@"', sys.executable])
    python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    python.chmod(0o755)
    return folder


async def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, small_disk: Path
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield FORM_BEGINS
        for _ in range(80):
            yield b"2024-01,1\n" * 10_000

    nobody = f"http://127.0.0.1:{free_port()}/v1"
    python = str(tmp_path / "python")
    with running_server(tmp_path, model_url=nobody, python=python) as server:
        inside = Path(f"/proc/{server.process.pid}/root{small_disk}")
        async with server.client() as http:
            announced = await http.post(API, files={"file": ("a.csv", b"x" * 8_000_000)})
            assert announced.status_code == 507
            assert re.fullmatch(
                r"The disk of the uploads folder has [\d,]+ bytes free, and the file needs "
                r"[\d,]+\. Delete files that you no longer need\.",
                announced.json()["message"],
            )
            kind = {"Content-Type": "multipart/form-data; boundary=mark"}
            written = await http.post(API, content=body(), headers=kind)
            assert written.status_code == 507
            assert written.json() == {
                "message": "The disk of the uploads folder is full. "
                "Delete files that you no longer need."
            }
            assert there(inside) == []
            fits = await http.post(API, files={"file": ("a.txt", b"x\n" * 1_000_000)})
            assert fits.status_code == 201
            assert there(inside) == ["a.txt"]
        assert server.failures == []


# Memory and responsiveness


@tells_its_peak
async def test_a_large_upload_is_never_in_memory(
    server: RunningServer, http: httpx.AsyncClient, folder: Path, tmp_path: Path
) -> None:
    pid = server.process.pid
    await http.post(API, files={"file": ("first.csv", CSV)})
    forget_peak(pid)
    before = peak_memory(pid)
    source = large_file(tmp_path / "large.csv", 150)
    with source.open("rb") as file:
        answer = await http.post(API, files={"file": ("large.csv", file)}, timeout=120)
    assert answer.status_code == 201
    assert answer.json()["size"] == source.stat().st_size
    assert re.match(
        r"Table, (about )?[\d,]+ rows, 4 columns separated by ','", answer.json()["preview"]
    )
    assert peak_memory(pid) - before < 30_000_000


async def test_other_requests_are_answered_during_a_large_upload(
    http: httpx.AsyncClient, folder: Path, tmp_path: Path
) -> None:
    source = large_file(tmp_path / "large.csv", 100)
    with source.open("rb") as file:
        upload = asyncio.create_task(http.post(API, files={"file": ("large.csv", file)}))
        answered = 0
        while not upload.done():
            async with asyncio.timeout(90):
                assert (await http.get("api")).status_code == 200
            answered += 1
    assert upload.result().status_code == 201
    assert answered >= 10


@tells_its_peak
def test_a_large_upload_through_the_hubs_proxy_is_never_in_memory(
    hub: RunningHub, tmp_path: Path
) -> None:
    user = hub.login("uploader")
    user.start_server()
    url = f"/user/uploader/{API}"
    user.post(url, files={"file": ("first.csv", CSV)}).raise_for_status()
    pid = server_of(hub, "uploader").pid
    forget_peak(pid)
    before = peak_memory(pid)
    source = large_file(tmp_path / "large.csv", 150)
    with source.open("rb") as file:
        answer = user.post(url, files={"file": ("large.csv", file)}, timeout=120)
    assert answer.status_code == 201
    assert answer.json()["size"] == source.stat().st_size
    assert peak_memory(pid) - before < 30_000_000
    for _ in range(5):
        refused = user.post(url, files={"file": ("a.exe", b"x" * 5_000_000)})
        assert refused.status_code == 415
        assert user.get(url).status_code == 200, "a refusal leaves no connection in disorder"
    user.stop_server()
