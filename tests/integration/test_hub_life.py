"""How ``make up`` starts, stops and starts again, and what it says when it cannot."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from tests.hub import (
    READY_WITHIN,
    REPOSITORY,
    RunningHub,
    Session,
    clean_environment,
    free_port,
    is_alive,
    launch,
    running_hub,
)
from tests.integration.test_hub import run_in_kernel
from tests.values import make_table


def refusal(folder: Path, **settings: str) -> str:
    """Return what the launcher prints when it refuses to start."""
    with launch({"CAESARION_STATE": str(folder), "PORT": str(free_port()), **settings}) as started:
        try:
            printed, _ = started.communicate(timeout=READY_WITHIN)
        finally:
            started.kill()
    assert started.returncode == 1
    return printed


def at_work(hub: RunningHub) -> list[psutil.Process]:
    """Start a server with a kernel, and return all processes."""
    ada = hub.login("ada")
    ada.start_server()
    ada.post("/user/ada/api/kernels", json={}).raise_for_status()
    return hub.processes()


@dataclass
class Life:
    """A hub from its start to the signal that ended it, with a server at work."""

    hub: RunningHub
    status: int
    left: list[psutil.Process]
    """What was alive after its end."""
    stranger_lived: bool
    """Whether a process lives on whose number an earlier proxy is said to have had."""
    found: dict[str, Any]
    """What a user found."""


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Life, Life]:
    """Two lives in one folder: a terminal's Ctrl-C ended the first, a SIGTERM the second."""
    folder, port = tmp_path_factory.mktemp("lives") / "state", free_port()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        folder.mkdir()
        (folder / "proxy.pid").write_text(str(stranger.pid))
        first = live(folder, port, None, stranger)
        kept = folder / "homes" / "ada" / "kept.txt"
        kept.write_text("kept")
        second = live(folder, port, first.found["cookies"], stranger)
        stranger.communicate(b"\n", timeout=60)
    return first, second


def live(
    folder: Path, port: int, cookies: httpx.Cookies | None, stranger: subprocess.Popen[bytes]
) -> Life:
    """Run a hub; ``cookies`` are those of a user who has been there before."""
    made = {"CAESARION_PASSWORD": "", "CAESARION_ADMIN_PASSWORD": ""}
    with running_hub(folder, port=port, environment=made) as hub:
        stranger_lived = stranger.poll() is None
        passwords = [line for line in hub.printed if "password" in line]
        if cookies is None:
            password, admin_password = (line.rpartition(" ")[2] for line in passwords)
            ada = hub.login("ada", password)
            hub.login("admin", admin_password)
        else:
            ada = Session(hub.url, "ada")
            hub.sessions.append(ada)
            ada.cookies = cookies
        found = {
            "passwords": passwords,
            "cookies": ada.cookies,
            "home": ada.get("/hub/home").url.path,
            "server": ada.start_server(),
            "files": [file["name"] for file in ada.get("/user/ada/api/contents").json()["content"]],
        }
        # A busy kernel, and a program that left its kernel's session.
        started = asyncio.run(
            run_in_kernel(
                hub,
                ada,
                "import subprocess, threading\n"
                "print(subprocess.Popen(['sleep', '600'], start_new_session=True, env={}).pid)\n"
                "threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()\n",
            )
        )
        processes = [*hub.processes(), psutil.Process(int(started))]
        if cookies is None:
            os.killpg(hub.process.pid, signal.SIGINT)  # what a terminal's Ctrl-C does
        status = hub.stop(signal.SIGINT if cookies is None else signal.SIGTERM)
        left = [process for process in processes if is_alive(process)]
    return Life(hub, status, left, stranger_lived, found)


@pytest.mark.parametrize("life", [0, 1], ids=["SIGINT", "SIGTERM"])
def test_a_signal_stops_everything_and_status_is_0(lives: tuple[Life, Life], life: int) -> None:
    ended = lives[life]
    assert (ended.status, ended.left) == (0, [])
    assert ended.hub.printed[-1] == "Caesarion has stopped."
    assert not [line for line in ended.hub.printed if "Traceback" in line]


def test_a_signal_lets_servers_save_what_they_hold(lives: tuple[Life, Life]) -> None:
    log = lives[1].hub.folder / "logs" / "ada.log"
    assert "Shutting down 1 kernel" in log.read_text()


def test_a_restart_finds_users_sessions_and_made_passwords_again(
    lives: tuple[Life, Life],
) -> None:
    first, second = (life.found for life in lives)
    assert len(first["passwords"]) == 2
    assert second["passwords"] == first["passwords"]
    assert second["home"] == "/hub/home"  # and not the login's
    assert second["server"] == "/user/ada/"
    assert "kept.txt" in second["files"]


def test_the_process_number_of_an_earlier_hub_harms_nobody(lives: tuple[Life, Life]) -> None:
    assert lives[0].stranger_lived


def test_a_signal_while_it_starts_stops_everything_too(tmp_path: Path) -> None:
    proxy_pid = tmp_path / "state" / "proxy.pid"
    with launch({"CAESARION_STATE": str(tmp_path / "state"), "PORT": str(free_port())}) as started:
        try:
            deadline = time.monotonic() + READY_WITHIN
            while not (proxy_pid.exists() and proxy_pid.read_text()):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            proxy = psutil.Process(int(proxy_pid.read_text()))
            processes = [proxy, *psutil.Process(started.pid).children(recursive=True)]
            started.send_signal(signal.SIGTERM)
            printed, _ = started.communicate(timeout=READY_WITHIN)
        finally:
            started.kill()
    assert [process for process in processes if is_alive(process)] == []
    assert started.returncode == 0
    assert printed == "Starting JupyterHub ...\n\nCaesarion has stopped.\n"


def test_a_killed_hub_ends_the_rest_with_a_sentence(tmp_path: Path) -> None:
    with running_hub(tmp_path / "state") as hub:
        processes = at_work(hub)
        hub_itself = next(process for process in processes if "caesarion_hub" in process.cmdline())
        hub_itself.kill()
        assert hub.process.wait(120) == 1
        assert [process for process in processes if is_alive(process)] == []
    assert hub.printed[-1] == (
        f"JupyterHub ended by itself (status -9). Its log: {tmp_path / 'state' / 'hub.log'}"
    )


def test_after_a_kill_it_comes_up_again_at_the_same_port(tmp_path: Path) -> None:
    folder, port = tmp_path / "state", free_port()
    with running_hub(folder, port=port) as hub:
        processes = at_work(hub)
        for process in processes:
            if process.pid == hub.process.pid or "caesarion_hub" in process.cmdline():
                process.kill()
        hub.process.wait(60)
        assert [process for process in processes if is_alive(process)] != []
        with running_hub(folder, port=port) as again:
            assert [process for process in processes if is_alive(process)] == []
            assert again.login("ada").start_server() == "/user/ada/"


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal(tmp_path / "state", PORT=str(port), OPENAI_API_KEY="sk-1") == (
            f"Port {port} is in use by another program. "
            f"Stop that program, or choose another: PORT={port + 1} make up\n"
        )
    assert not (tmp_path / "state" / "provider_key").exists()


def test_a_second_start_in_the_same_folder_is_one_sentence(hub: RunningHub) -> None:
    assert refusal(hub.folder) == (
        f"Caesarion is already running with the state folder {hub.folder}. Stop it with "
        "Ctrl-C, or choose another folder: CAESARION_STATE=<folder> make up\n"
    )
    hub.login("ada")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "abc", 'PORT is "abc"; it must be a port, a whole number from 1 to 65535.'),
        ("PORT", "0", "PORT is 0; it must be a port, a whole number from 1 to 65535."),
        (
            "OPENAI_BASE_URL",
            "localhost:11434",
            'OPENAI_BASE_URL is "localhost:11434"; '
            "it must be a web address such as http://127.0.0.1:11434/v1.",
        ),
        (
            "CAESARION_PASSWORD",
            "secret!",
            "CAESARION_PASSWORD must be a text of 8 or more characters.",
        ),
        (
            "CAESARION_ADMIN_PASSWORD",
            "long, but not long enough",
            "CAESARION_ADMIN_PASSWORD must be a text of 32 or more characters.",
        ),
        (
            "CAESARION_VALUES",
            "missing.yaml",
            "The values file missing.yaml cannot be read: No such file or directory.",
        ),
    ],
)
def test_an_unreadable_setting_is_one_sentence(
    tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    assert refusal(tmp_path / "state", **{name: value}) == f"{sentence}\n"


def test_an_unknown_key_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("cull: {timeuot: 3}\n")
    assert refusal(tmp_path / "state", CAESARION_VALUES=str(file)) == (
        "Unknown key 'cull.timeuot'. Did you mean 'cull.timeout'?\n"
    )


def test_the_hub_itself_refuses_an_unknown_key_with_that_sentence_alone(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(make_table(cull={"timeuot": 3})))
    config = REPOSITORY / "hub_config" / "jupyterhub_config.py"
    done = subprocess.run(
        [sys.executable, "-m", "jupyterhub", "-f", str(config)],
        cwd=tmp_path,
        env={**clean_environment(), "CAESARION_VALUES": str(file)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=READY_WITHIN,
    )
    assert done.returncode == 1
    assert done.stdout == "Unknown key 'cull.timeuot'. Did you mean 'cull.timeout'?\n"
