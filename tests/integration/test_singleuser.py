"""A user's server under a real hub: whole, though it is started without what it never uses."""

import fcntl
import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.bare_hub import BareHub, bare_hub
from tests.server import STOPPED_WITHIN
from tests.singleuser import OURS, Singleuser, singleuser


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add_user("ada")
        hub.add_user("eve")
        yield hub


@pytest.fixture(scope="module")
def server(hub: BareHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Singleuser]:
    """Ada's, which prints what it imports."""
    folder = tmp_path_factory.mktemp("ada")
    with singleuser(folder, hub, "ada", command=("-X", "importtime", *OURS)) as server:
        server.wait()
        yield server


def test_its_user_is_let_in_to_the_lab_and_to_the_agent(server: Singleuser) -> None:
    status, page = server.get("lab")
    assert (status, '"hubUser": "ada"' in page) == (200, True)
    assert '"buildCheck": false' in page  # It would start Node, to build what nobody has.
    status, told = server.get("caesarion/api/status")
    assert (status, '"kernels"' in told) == (200, True)


def test_nobody_else_is_let_in(server: Singleuser, hub: BareHub) -> None:
    assert server.get("caesarion/api/status", token="")[0] == 403
    assert server.get("caesarion/api/status", token="unknown")[0] == 403
    assert server.get("caesarion/api/status", token=hub.make_token("eve", ["self"]))[0] == 403


def test_it_imports_nothing_of_what_it_never_uses(server: Singleuser) -> None:
    server.get("lab")
    imported = set(re.findall(r"^import time: .*\| +(\S+)$", server.log.read_text(), re.MULTILINE))
    assert {"jupyterhub.singleuser", "jupyterlab.commands", "httpx", "jsonschema"} <= imported
    unused = {"alembic", "jupyterhub.handlers", "lark", "openai", "requests", "rich", "sqlalchemy"}
    assert imported & unused == set()


def test_a_setting_that_cannot_be_used_is_told_and_leaves_the_lab(
    hub: BareHub, tmp_path: Path
) -> None:
    wrong = {"CAESARION_KERNEL_TIME_LIMIT": "soon"}
    with singleuser(tmp_path, hub, "ada", environment=wrong) as server:
        server.wait()
        assert server.get("lab")[0] == 200
    assert "CAESARION_KERNEL_TIME_LIMIT is 'soon'" in server.log.read_text()


def test_a_configuration_file_of_the_users_does_not_raise_what_the_hub_allows(
    hub: BareHub, tmp_path: Path
) -> None:
    file = tmp_path / "home" / ".jupyter" / "jupyter_server_config.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import os\n"
        "os.environ['CAESARION_AGENT_MAX_APPROVAL'] = 'auto'\n"
        "os.environ['CAESARION_AGENT_PROGRAM_APPROVALS'] = 'true'\n"
        "c.CaesarionAgent.max_approval = 'auto'\n"
        "c.CaesarionAgent.approval = 'auto'\n"
        "c.CaesarionAgent.program_approvals = True\n"
        "open('was-read', 'w').close()\n"
    )
    hubs = {
        "CAESARION_AGENT_MAX_APPROVAL": "ask",
        "CAESARION_AGENT_PROGRAM_APPROVALS": "false",
    }
    with singleuser(tmp_path, hub, "ada", environment=hubs) as server:
        server.wait()
        status = json.loads(server.get("caesarion/api/status")[1])
        assert status["approval"] == {"default": "ask", "allowed": ["read-only", "ask"]}
        request = urllib.request.Request(
            f"{server.url}caesarion/api/approvals/any",
            data=b'{"decision": "run"}',
            headers={"Authorization": f"token {server.token}"},
        )
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)
    assert (tmp_path / "home" / "was-read").exists()


def test_it_stops_when_it_is_told_to_in_the_middle_of_a_line_of_its_log(
    hub: BareHub, tmp_path: Path
) -> None:
    # The log is a pipe that is full, until the server has been told.
    os.mkfifo(tmp_path / "server.log")
    pipe = os.open(tmp_path / "server.log", os.O_RDONLY | os.O_NONBLOCK)
    buffered = {"PYTHONUNBUFFERED": ""}  # as it is where nobody says otherwise
    with (
        os.fdopen(pipe, "rb") as log,
        singleuser(tmp_path, hub, "ada", environment=buffered) as server,
    ):
        server.wait()
        log.read()
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        with pytest.raises(TimeoutError):
            ask_until_nothing_comes(server)
        server.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.5)
        os.set_blocking(pipe, True)
        threading.Thread(target=log.read, daemon=True).start()
        assert server.process.wait(STOPPED_WITHIN) == 0


def ask_until_nothing_comes(server: Singleuser) -> None:
    while True:
        server.get("api", seconds=4)
