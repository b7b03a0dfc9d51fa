"""A hub of ``make up`` that keeps a server which waits for whoever starts one next."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.hub import RunningHub, Session, is_alive, running_hub
from tests.server import eventually

SANDBOX = "sandbox-abcdef"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    values = {"singleuser": {"warm": {"replicas": 1}}, "api": {"enabled": True}}
    with running_hub(tmp_path_factory.mktemp("hub") / "state", values=values) as hub:
        yield hub


def servers(hub: RunningHub, folder: str) -> dict[str, psutil.Process]:
    """Return the processes that have said something to a log in this folder, by its name."""
    found = {}
    for process in hub.processes():
        with_log = [one for one in _open_files(process) if Path(one).parent == hub.folder / folder]
        if with_log and "--warm" in process.cmdline():
            found[Path(with_log[0]).stem] = process
    return found


def _open_files(process: psutil.Process) -> list[str]:
    try:
        return [str(Path(f"/proc/{process.pid}/fd/1").readlink())]
    except OSError:
        return []


async def waiting(hub: RunningHub) -> psutil.Process:
    """Return the process that waits, as soon as it can be claimed."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        found[:] = servers(hub, "warm").values()
        return len(found) == 1 and f"The process {found[0].pid} waits for a user" in hub.log

    await eventually(is_there, 120)
    return found[0]


def run(session: Session, server: str, code: str) -> Any:
    """Return what ``code`` prints as JSON in a kernel of the server at a path."""
    asked = {"code": code, "session_id": "one"}
    done = session.post(f"{server}caesarion/api/execute", json=asked).raise_for_status()
    return json.loads(json.loads(done.text.splitlines()[0])["text"])


LOOK = (
    "import json, os\n"
    "names = ('JUPYTERHUB_USER', 'JUPYTERHUB_SERVER_NAME', 'HOME', 'MINE')\n"
    "print(json.dumps([os.getppid(), os.getcwd(), *map(os.environ.get, names)]))"
)


async def test_a_start_claims_it_and_the_server_stops_like_any_other(hub: RunningHub) -> None:
    warm = await waiting(hub)
    ada = hub.login("ada")
    server = ada.start_server()
    home = str(hub.home("ada"))
    assert run(ada, server, LOOK) == [warm.pid, home, "ada", "", home, None]
    assert servers(hub, "logs")["ada"] == warm
    assert f"GET {server}api" in (hub.folder / "logs" / "ada.log").read_text()
    ada.stop_server()
    await eventually(lambda: not is_alive(warm))


async def test_the_next_one_is_a_sandboxs_with_its_environment_and_a_home_of_its_own(
    hub: RunningHub,
) -> None:
    warm = await waiting(hub)
    eve = hub.login("eve")
    options = {"sandbox": {"env": {"MINE": "a sandbox's"}}}
    eve.post(f"/hub/api/users/eve/servers/{SANDBOX}", json=options).raise_for_status()
    server = f"/user/eve/{SANDBOX}/"
    await eventually(lambda: servers(hub, "logs").get(f"eve---{SANDBOX}") == warm)
    await eventually(lambda: eve.get(f"{server}api").status_code == 200)
    eve.get(f"{server}lab").raise_for_status()
    home = str(hub.folder / "sandboxes" / "eve" / SANDBOX)
    assert run(eve, server, LOOK) == [warm.pid, home, "eve", SANDBOX, home, "a sandbox's"]


async def test_one_that_does_not_take_the_claim_is_ended_and_the_start_goes_on(
    hub: RunningHub,
) -> None:
    warm = await waiting(hub)
    warm.suspend()
    bob = hub.login("bob")
    told = run(bob, bob.start_server(), LOOK)
    assert (told[0] != warm.pid, told[2], is_alive(warm)) == (True, "bob", False)
    assert "did not answer the claim" in hub.log


async def test_the_one_that_is_just_being_started_ends_with_the_hub(hub: RunningHub) -> None:
    await eventually(lambda: servers(hub, "warm") != {})
    left = hub.processes()
    hub.stop()
    assert [one for one in left if is_alive(one)] == []
