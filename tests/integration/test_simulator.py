"""The simulator of many users, with a handful of them, on a hub as `make up` has it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.users.command import main
from tests.bench.users.hub import SCOPES
from tests.cluster.harness import eventually
from tests.fakes.bare_hub import free_port
from tests.hub import REPOSITORY, RunningHub, Session


@pytest.fixture(scope="module")
def admin(hub: RunningHub) -> Session:
    return hub.login("admin")


def simulated(admin: Session) -> list[str]:
    """Return the names of the simulated users that the hub has."""
    found = admin.get("/hub/api/users?name_filter=simulated-").raise_for_status().json()
    return [user["name"] for user in found]


def scoped(admin: Session, *scopes: str) -> str:
    """Return a token of the administrator's with these scopes only."""
    made = admin.post("/hub/api/users/admin/tokens", json={"scopes": scopes})
    return str(made.raise_for_status().json()["token"])


def test_users_start_servers_ask_the_model_and_are_gone_after_the_report(
    hub: RunningHub, admin: Session, tmp_path: Path
) -> None:
    file = tmp_path / "report.md"
    options = ["--count", "3", "--seconds", "3", "--questions", "20", "--report", str(file)]
    assert main(["--hub", hub.url, "--token", scoped(admin, *SCOPES), *options]) == 0
    report = file.read_text()
    assert report.startswith("# 3 simulated users\n")
    for line in (
        *("a server starts", "the hub's page", "the hub's record of a user"),
        *("a server reports activity", "a server asks whose token it is"),
        *("a page asks its server", "the gateway's first word", "the gateway's whole answer"),
    ):
        (row,) = [each for each in report.splitlines() if each.startswith(f"| {line} | ")]
        assert " | 0 of " in row
    assert "| hub: memory | " in report
    assert "| gateway: CPU while chats are open | " in report
    assert simulated(admin) == []


def test_without_servers_none_is_started(
    hub: RunningHub, admin: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--no-servers", "--count", "2", "--seconds", "1"]
    assert main(["--hub", hub.url, "--token", scoped(admin, *SCOPES), *options]) == 0
    report = capsys.readouterr().out
    assert "no servers are started" in report
    assert "| a server starts | " not in report
    assert "| a server reports activity | " in report
    assert simulated(admin) == []


@contextlib.contextmanager
def simulator(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the simulator as a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench", "users", *arguments],
        cwd=REPOSITORY,
        env=os.environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_removes_everything(
    hub: RunningHub, admin: Session, number: signal.Signals
) -> None:
    options = ["--no-servers", "--count", "4", "--seconds", "600"]
    with simulator("--hub", hub.url, "--token", admin.token(), *options) as process:
        eventually(lambda: len(simulated(admin)) == 4)
        process.send_signal(number)
        assert process.wait(60) == 130
        assert process.stderr
        assert process.stderr.read().endswith("All simulated users are removed.\nStopped.\n")
    assert simulated(admin) == []


def test_what_a_killed_run_has_left_is_told_and_removed(
    hub: RunningHub, admin: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    admin.post("/hub/api/users", json={"usernames": ["simulated-0"]}).raise_for_status()
    where = ["--hub", hub.url, "--token", admin.token()]
    assert main([*where, "--count", "1"]) == 1
    assert "The hub has 1 users named simulated-... from another run." in capsys.readouterr().err
    assert simulated(admin) == ["simulated-0"]
    assert main([*where, "--remove"]) == 0
    assert simulated(admin) == []


def test_a_wrong_address_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["--hub", url, "--token", "any"]) == 1
    assert capsys.readouterr().err.startswith(f"{url} cannot be reached: ")


def test_an_address_that_is_no_hubs_is_told_in_a_sentence(
    hub: RunningHub, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{hub.url}/services/gateway"
    assert main(["--hub", url, "--token", "any"]) == 1
    assert capsys.readouterr().err == (
        f"{url} is no JupyterHub: {url}/hub/api/ answers 404. "
        "--hub is the address that browsers open, without /hub.\n"
    )


def test_a_wrong_token_is_told_in_a_sentence(
    hub: RunningHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--hub", hub.url, "--token", "wrong"]) == 1
    assert capsys.readouterr().err == (
        f"{hub.url} does not know the token. Make one at {hub.url}/hub/token.\n"
    )


def test_a_token_with_too_few_scopes_is_told_what_it_lacks(
    hub: RunningHub, admin: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--hub", hub.url, "--token", scoped(admin, "admin:users", "tokens")]) == 1
    assert capsys.readouterr().err == (
        "The token lacks servers and read:metrics: it needs admin:users, servers, tokens, "
        "read:metrics, as an administrator's has.\n"
    )
