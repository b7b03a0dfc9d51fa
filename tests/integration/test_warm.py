"""A server that waits for its user: nobody's before its claim, and in nothing different after."""

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import nbformat
import psutil
import pytest
import pytest_asyncio
from caesarion import warm
from caesarion_hub import claims
from caesarion_hub.claims import ClaimError

from tests.chat import code, open_chat
from tests.fakes.bare_hub import BareHub, bare_hub
from tests.fakes.openai_replies import Text
from tests.fakes.openai_server import OpenAIServer
from tests.hub import is_alive
from tests.server import STOPPED_WITHIN, eventually
from tests.singleuser import OURS, RECORDED_ENVIRONMENT, Singleuser, WarmServer, warm_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add_user("ada")
        hub.add_user("eve")
        yield hub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waiting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WarmServer]:
    """A server that waits, and prints what it imports; the first test looks at it as it is."""
    trash = "--FileContentsManager.delete_to_trash=True"
    command = ("-X", "importtime", *OURS, trash)
    with warm_server(tmp_path_factory.mktemp("warm"), command=command) as waiting:
        await waiting.wait()
        yield waiting


@pytest.fixture(scope="module")
def imported_before(waiting: WarmServer) -> int:
    """How long its log is before its claim."""
    return len(waiting.log.read_text())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[OpenAIServer]:
    """The model that Ada's server asks."""
    async with OpenAIServer([code("print(6*7)"), Text("It is 42.")]) as model:
        yield model


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    waiting: WarmServer, imported_before: int, hub: BareHub, model: OpenAIServer
) -> Singleuser:
    """The same one as Ada's, with a variable of a sandbox."""
    own = {"SANDBOX": "her own", "CAESARION_MODEL_BASE_URL": model.base_url}
    server = await waiting.claim(hub, "ada", own)
    server.wait()
    return server


async def test_before_its_claim_nothing_in_it_is_a_users(waiting: WarmServer) -> None:
    process = psutil.Process(waiting.process.pid)
    [kernel] = process.children()
    for one in (process, kernel):
        told = {name for name in one.environ() if name.startswith("JUPYTERHUB_")}
        assert told <= {"JUPYTERHUB_SERVICE_URL"}
        assert [file.path for file in one.open_files()] == [str(waiting.log)] * len(
            one.open_files()
        )
    assert process.cmdline()[-2:] == ["--allow-root", "--warm"]
    assert waiting.nonce not in kernel.environ().values()
    async with httpx.AsyncClient(trust_env=False) as http:
        for path in ("/", "/user/ada/lab", "/api/kernels"):
            answer = await http.get(waiting.url + path)
            assert (answer.status_code, answer.headers["X-Caesarion-Warm"]) == (503, "unclaimed")


async def test_after_it_the_server_is_its_users_and_nobody_elses(
    server: Singleuser, hub: BareHub, waiting: WarmServer
) -> None:
    status, page = server.get("lab")
    assert (status, '"hubUser": "ada"' in page) == (200, True)
    assert server.get("api/kernels", token=hub.make_token("eve", ["self"]))[0] == 403
    assert server.get("api/kernels", token="")[0] == 403
    with pytest.raises(ClaimError, match="or a user already"):
        await claims.claim(waiting.url, waiting.nonce, {"JUPYTERHUB_USER": "eve"})
    assert json.loads(server.get("api/status")[1])["kernels"] == 0


async def test_its_kernel_has_the_users_environment_and_had_waited_with_it(
    server: Singleuser, waiting: WarmServer
) -> None:
    look = (
        "import json, os, sys\n"
        "print(json.dumps([os.environ['JUPYTERHUB_USER'], os.environ['SANDBOX'], os.getcwd(),"
        " os.path.expanduser('~'), 'runpy' in sys.modules, dict(os.environ)]))"
    )
    async with server.as_running().client() as http:
        code = {"code": "1 + 1", "session_id": "first"}
        done = await http.post("caesarion/api/execute", json=code)
        assert '"2"' in done.raise_for_status().text
        done = await http.post("caesarion/api/execute", json=code | {"code": look})
    told = json.loads(json.loads(done.text.splitlines()[0])["text"])
    home = str(server.root)
    assert told[:5] == ["ada", "her own", home, home, False]
    assert waiting.nonce not in told[5].values()
    assert waiting.nonce not in server.log.read_text()


async def test_what_is_kept_in_the_home_is_kept_in_the_users(server: Singleuser) -> None:
    (server.root / "old.txt").write_text("old")
    theme = "lab/api/settings/@jupyterlab/apputils-extension:themes"
    async with server.as_running().client() as http:
        (await http.delete("api/contents/old.txt")).raise_for_status()
        raw = {"raw": '{"theme": "JupyterLab Dark"}'}
        (await http.put(theme, json=raw)).raise_for_status()
    assert (server.root / ".local/share/Trash/files/old.txt").exists()
    assert list((server.root / ".jupyter/lab/user-settings").rglob("themes.*"))
    beside = {file.name for file in server.root.parent.iterdir()}
    assert beside == {"configuration", "home", "runtime", "server.log"}


async def test_it_has_imported_all_that_does_not_depend_on_its_user(
    server: Singleuser, imported_before: int
) -> None:
    server.get("lab")
    async with open_chat(server.as_running(), "chats/Chat.chat") as chat:
        assert (await chat.ask("print 6*7"))[-1]["body"] == "It is 42."
    log = server.log.read_text()[imported_before:]
    imported = set(re.findall(r"^import time: .*\| +(\S+)$", log, re.MULTILINE))
    late = {one for one in imported if not one.startswith(warm.AFTER_CLAIM) and is_installed(one)}
    assert late <= {"jupyterhub.services"}
    assert "jupyterhub.singleuser.extension" in imported


def is_installed(name: str) -> bool:
    if name.partition(".")[0] in sys.stdlib_module_names:
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


# Runs the imports of a server that waits, and tells which variables they have read.
READS = (
    RECORDED_ENVIRONMENT
    + """
from caesarion import singleuser, warm
os.environ.__class__ = Recorded
with singleuser._importing():
    warm.import_all()
held = [name for name in warm.AFTER_CLAIM if name in sys.modules]
schemas = [key[1:3] for key in sys.modules["nbformat.validator"].validators]
print(json.dumps([sorted(read), held, schemas]))
"""
)


async def test_what_is_done_before_the_claim_reads_nothing_of_whose_the_server_is() -> None:
    command = [sys.executable, "-s", "-P", "-c", READS]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    read, held, schemas = json.loads(done.stdout)
    assert held == []
    assert schemas == [[nbformat.current_nbformat, nbformat.current_nbformat_minor]]
    # The same for all users: the hub gives them to a server that waits, too.
    same = ("METRICS_PREFIX", "_BUCKETS", "XSRF_ANONYMOUS", "ALLOW_TOKEN_IN_URL", "COOKIE_AUTH")
    assert [
        name for name in read if name.startswith("JUPYTERHUB_") and not any(s in name for s in same)
    ] == []


async def test_it_and_its_kernel_end_at_once_when_it_is_told_to(tmp_path: Path) -> None:
    with warm_server(tmp_path) as waiting:
        await waiting.wait()
        [kernel] = psutil.Process(waiting.process.pid).children()
        waiting.process.terminate()
        assert waiting.process.wait(STOPPED_WITHIN) == 0
        await eventually(lambda: not is_alive(kernel))
    assert waiting.log.read_text() == ""
