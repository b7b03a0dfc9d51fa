"""A server that waits in a pod: it has begun before its claim, and differs in nothing after."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from caesarion import warm_start
from caesarion_hub import claims
from caesarion_hub.claims import ClaimError

from tests.fakes.bare_hub import BareHub, bare_hub
from tests.hub import is_alive
from tests.server import STOPPED_WITHIN, eventually
from tests.singleuser import (
    RECORDED_ENVIRONMENT,
    Singleuser,
    WarmServer,
    pod_environment,
    singleuser,
    warm_server,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINKED = "jupyterlab_chat | extension was successfully linked"
LOOK = """\
import json, os
own = ("JPY_", "PYTEST_")
print(json.dumps([os.getcwd(), {n: t for n, t in os.environ.items() if not n.startswith(own)}]))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add_user("ada")
        hub.add_user("eve")
        yield hub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waiting(
    tmp_path_factory: pytest.TempPathFactory, hub: BareHub
) -> AsyncIterator[WarmServer]:
    """A server that waits; the first test looks at it as it is."""
    folder = tmp_path_factory.mktemp("warm")
    with warm_server(folder, environment=pod_environment(hub, folder)) as waiting:
        await waiting.wait()
        yield waiting


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(waiting: WarmServer, hub: BareHub) -> Singleuser:
    """The same one as Ada's, with a variable of a sandbox."""
    server = await waiting.claim(hub, "ada", {"SANDBOX": "her own"}, in_pod=True)
    server.wait()
    return server


@pytest.fixture(scope="module")
def cold(
    tmp_path_factory: pytest.TempPathFactory, hub: BareHub, server: Singleuser
) -> Iterator[Singleuser]:
    """Her server as it would have been started for her."""
    folder = tmp_path_factory.mktemp("cold")
    own = {"SANDBOX": "her own", "JUPYTERHUB_DISABLE_USER_CONFIG": "1"}
    with singleuser(folder, hub, "ada", environment=own) as cold:
        cold.wait()
        yield cold


async def test_it_has_begun_and_has_nothing_of_a_users(waiting: WarmServer) -> None:
    assert LINKED in (log := waiting.log.read_text())
    assert "successfully loaded" not in log
    process = psutil.Process(waiting.process.pid)
    [kernel] = process.children()
    assert {file.path for file in process.open_files()} == {str(waiting.log)}
    assert waiting.nonce not in kernel.environ().values()
    assert not list((waiting.log.parent / "home").iterdir())


async def test_after_its_claim_it_is_its_users_and_nobody_elses(
    server: Singleuser, hub: BareHub, waiting: WarmServer
) -> None:
    assert server.log.read_text().count(LINKED) == 1
    assert server.get("api/kernels")[0] == 200
    assert server.get("api/kernels", token=hub.make_token("eve", ["self"]))[0] == 403
    assert server.get("api/kernels", token="")[0] == 403
    with pytest.raises(ClaimError, match="or a user already"):
        await claims.claim(waiting.url, waiting.nonce, {"JUPYTERHUB_USER": "eve"})


async def test_it_is_as_one_that_was_started_for_its_user(
    server: Singleuser, cold: Singleuser
) -> None:
    assert page(server) == page(cold)
    assert login(server) == login(cold)
    assert await kernel_of(server) == await kernel_of(cold)
    steps = r"\S+ \| extension was successfully \w+"
    warm_log, cold_log = (re.findall(steps, each.log.read_text()) for each in (server, cold))
    assert warm_log == cold_log


def page(server: Singleuser) -> Any:
    """Return what the page is told, less where the server happens to be."""
    status, text = server.get("lab")
    assert status == 200
    found = re.search(
        r'id="jupyter-config-data" type="application/json">(.*?)</script>', text, re.S
    )
    assert found
    told = json.loads(found[1].replace(str(server.root), "~"))
    return {name: value for name, value in told.items() if name not in ("token", "wsUrl")}


def login(server: Singleuser) -> str:
    """Return where somebody is sent who has not logged in."""
    port = re.findall(r":(\d+)/", server.url)[0]
    done = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{redirect_url}", f"{server.url}lab"],
        check=True,
        capture_output=True,
        text=True,
    )
    return re.sub(r"(state|code_challenge)=[^&]+", "", done.stdout).replace(port, "")


async def kernel_of(server: Singleuser) -> tuple[str, dict[str, str]]:
    """Return the folder and the environment of a kernel, less what is one server's own."""
    async with server.as_running().client() as http:
        done = await http.post("caesarion/api/execute", json={"code": LOOK, "session_id": "look"})
    port = re.findall(r":(\d+)/", server.url)[0]
    text = json.loads(done.text.splitlines()[0])["text"].replace(str(server.root.parent), "")
    folder, environment = json.loads(text.replace(port, "").replace(server.token, ""))
    return folder, environment


async def test_a_claim_that_changes_what_it_has_read_starts_it_again(
    tmp_path: Path, hub: BareHub
) -> None:
    with warm_server(tmp_path, environment=pod_environment(hub, tmp_path)) as waiting:
        await waiting.wait()
        (tmp_path / "hers").mkdir()
        own = {"HOME": str(tmp_path / "hers"), "SANDBOX": "her own"}
        server = await waiting.claim(hub, "ada", own, in_pod=True)
        server.wait()
        assert server.log.read_text().count(LINKED) == 2
        folder, environment = await kernel_of(server)
        assert (folder, environment["SANDBOX"]) == ("/hers", "her own")
        assert not list((tmp_path / "home").iterdir())


async def test_it_and_its_kernel_end_at_once_when_it_is_told_to(
    tmp_path: Path, hub: BareHub
) -> None:
    with warm_server(tmp_path, environment=pod_environment(hub, tmp_path)) as waiting:
        await waiting.wait()
        [kernel] = psutil.Process(waiting.process.pid).children()
        waiting.process.terminate()
        assert waiting.process.wait(STOPPED_WITHIN) == 0
        await eventually(lambda: not is_alive(kernel))


async def test_another_nonce_ends_it(tmp_path: Path, hub: BareHub) -> None:
    with warm_server(tmp_path, environment=pod_environment(hub, tmp_path)) as waiting:
        await waiting.wait()
        with pytest.raises(ClaimError):
            await claims.claim(waiting.url, "another", {})
        assert waiting.process.wait(STOPPED_WITHIN) == claims.REFUSED_STATUS


async def test_a_claim_that_cannot_be_taken_on_ends_it_rather_than_let_anybody_in(
    tmp_path: Path, hub: BareHub
) -> None:
    with warm_server(tmp_path, environment=pod_environment(hub, tmp_path)) as waiting:
        await waiting.wait()
        await claims.claim(waiting.url, waiting.nonce, {"JUPYTERHUB_SERVICE_URL": ""})
        assert waiting.process.wait(STOPPED_WITHIN) == 1


# Runs a server until it waits, and tells which variables it has read since its imports.
READS = (
    RECORDED_ENVIRONMENT
    + """
from caesarion import config, singleuser, warm
config.freeze_environment = lambda: None  # It takes all, and the claim's are added to it.
import_all = warm.import_all

def import_and_record():
    import_all()
    os.environ.__class__ = Recorded

def wait(nonce):
    print(json.dumps(sorted(read)))
    sys.exit(0)

warm.import_all, warm.wait = import_and_record, wait
sys.argv = ["caesarion-singleuser", "--allow-root", "--warm"]
singleuser.main()
"""
)


async def test_it_reads_nothing_before_its_claim_that_a_claim_may_change(
    tmp_path: Path, hub: BareHub
) -> None:
    variables = {
        **pod_environment(hub, tmp_path),
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:1/",
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-s", "-P", "-c", READS]
    done = await asyncio.to_thread(
        subprocess.run, command, env=variables, cwd=tmp_path, check=True, capture_output=True
    )
    read = json.loads(done.stdout.splitlines()[-1])
    assert "HOME" in read
    late = [name for name in read if not name.startswith(warm_start.READ)]
    # The address, which JupyterHub's part of the server reads again after the claim.
    assert late == ["JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_SERVICE_URL"]
