"""A user's server under a real hub: whole, though it is started without what it never uses."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from caesarion_hub import spawner
from traitlets.config import Config

from tests.fakes.bare_hub import BareHub, bare_hub
from tests.hub import REPOSITORY
from tests.server import STOPPED_WITHIN
from tests.singleuser import OURS, Singleuser, singleuser
from tests.values import make_values


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add_user("ada")
        hub.add_user("eve")
        yield hub


SHARE = ".local/share/jupyter"
BUILD = {"load": "static/load.js", "extension": "./extension"}
LABEXTENSION = {"name": "evil", "version": "1", "jupyterlab": {"_build": BUILD}}
DISABLED = {"disabledExtensions": {"@caesarion/labextension:untrusted-content": True}}
KERNEL = {"argv": ["python3"], "display_name": "Mine", "language": "python"}

# What may lie in a user's home for Jupyter to find.
FOR_A_SERVER = {
    ".jupyter/jupyter_server_config.py": "open('was-read', 'w').close()",
    ".jupyter/jupyter_server_config.json": '{"LabApp": {"custom_css": true, "app_name": "Evil"}}',
    ".jupyter/jupyter_config.py": "open('was-read', 'w').close()",
    ".jupyter/custom/custom.css": ".jp-Caesarion-change { display: none }",
    ".jupyter/labconfig/page_config.json": json.dumps(DISABLED),
    ".jupyter/lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings": (
        '{"theme": "JupyterLab Dark"}'
    ),
    f"{SHARE}/labextensions/evil/package.json": json.dumps(LABEXTENSION),
    f"{SHARE}/labextensions/evil/static/load.js": "parent.ran = true",
    f"{SHARE}/kernels/mine/kernel.json": json.dumps(KERNEL),
}


@pytest.fixture(scope="module")
def server(hub: BareHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Singleuser]:
    """Ada's, which prints what it imports, with what her home may hold for a server."""
    folder = tmp_path_factory.mktemp("ada")
    for name, text in FOR_A_SERVER.items():
        file = folder / "home" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    hubs = {"JUPYTERHUB_DISABLE_USER_CONFIG": "1"}  # as JupyterHub says it
    command = ("-X", "importtime", *OURS)
    with singleuser(folder, hub, "ada", command=command, environment=hubs) as server:
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


def test_it_writes_no_page_with_its_token_that_a_browser_would_open(server: Singleuser) -> None:
    written = [file.suffix for file in (server.root.parent / "runtime").glob("jpserver-*")]
    assert written == [".json"]


def test_it_looks_for_language_servers_when_a_page_asks_for_them(server: Singleuser) -> None:
    looked = "Skipped non-installed server(s)"
    assert looked not in server.log.read_text()
    status, told = server.get("lsp/status")
    assert (status, json.loads(told)["version"]) == (200, 2)
    assert looked in server.log.read_text()


async def test_its_first_kernel_has_waited_for_it_and_knew_no_token(server: Singleuser) -> None:
    look = (
        "import sys, pathlib\n"
        "started = pathlib.Path('/proc/self/environ').read_text()\n"
        "print('runpy' in sys.modules, 'JUPYTERHUB' in started)"
    )
    async with server.as_running().client() as http:
        done = await http.post("caesarion/api/execute", json={"code": look, "session_id": "first"})
    assert "False False" in done.raise_for_status().text


def test_what_lies_in_the_home_configures_no_server_and_adds_nothing_to_its_pages(
    server: Singleuser,
) -> None:
    _, page = server.get("lab")
    [config] = re.findall(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    told = json.loads(config)
    assert not {one["name"] for one in told["federated_extensions"]} & {"evil"}
    assert not [one for one in told["disabledExtensions"] if one.startswith("@caesarion")]
    assert (told["appName"], "custom.css" in page) == ("JupyterLab", False)
    assert server.get("lab/extensions/evil/static/load.js")[0] == 404
    assert not (server.root / "was-read").exists()
    # Kernels are the user's own matter, and so are the lab's settings.
    assert "mine" in json.loads(server.get("api/kernelspecs")[1])["kernelspecs"]
    _, theme = server.get("lab/api/settings/@jupyterlab/apputils-extension:themes")
    assert json.loads(theme)["settings"] == {"theme": "JupyterLab Dark"}


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
        assert status["approval"] == {"default": "ask", "allowed": ["read-only", "plan", "ask"]}
        request = urllib.request.Request(
            f"{server.url}caesarion/api/approvals/any",
            data=b'{"decision": "run"}',
            headers={"Authorization": f"token {server.token}"},
        )
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)
    assert (tmp_path / "home" / "was-read").exists()


# What may lie in a user's home: run by Python when it starts, or instead of what it is told to run.
IN_THE_HOME = {
    "{site}/a.pth": "import os; os.environ.update(CAESARION_AGENT_MAX_APPROVAL='auto')",
    "{site}/usercustomize.py": "import os; os.environ['CAESARION_AGENT_MAX_APPROVAL'] = 'auto'",
    "{site}/mine.py": "answer = 42",
    "caesarion.py": "raise SystemExit('not the server')",
    "jupyterhub.py": "raise SystemExit('not the server')",
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Python that reads the user's packages, as the image's does, and of ours."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, system_site_packages=True, symlinks=True)
    site = sysconfig.get_path("purelib", vars={"base": str(environment)})
    packages = sysconfig.get_path("purelib")
    Path(site, "tests.pth").write_text(f"import site; site.addsitedir({packages!r})")
    command = environment / "bin" / "caesarion-singleuser"
    shutil.copy(REPOSITORY / "singleuser_image" / command.name, command)
    return command.parent


@pytest.mark.parametrize("command", ["caesarion-singleuser", "python3"])
async def test_what_lies_in_the_home_is_run_by_kernels_and_not_by_the_server(
    hub: BareHub, tmp_path: Path, programs: Path, command: str
) -> None:
    site = f".local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for name, source in IN_THE_HOME.items():
        file = tmp_path / "home" / name.format(site=site)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    hubs = {"CAESARION_AGENT_MAX_APPROVAL": "ask"}
    local = Config()
    spawner.configure(local, make_values())
    options = local.Spawner.cmd[1:] if command == "python3" else []
    with singleuser(
        *(tmp_path, hub, "ada"), command=options, program=programs / command, environment=hubs
    ) as server:
        server.wait()
        status = json.loads(server.get("caesarion/api/status")[1])
        assert status["approval"]["allowed"] == ["read-only", "plan", "ask"]
        running = server.as_running()
        kernel = await running.start_kernel()
        assert await running.run_cell(kernel, "import mine; print(mine.answer)") == "42\n"
        asked = "import os; print(os.environ['CAESARION_AGENT_MAX_APPROVAL'])"
        assert await running.run_cell(kernel, asked) == "auto\n"


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
