"""Programs that the tests fork are to whoever starts them as those that are executed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.forks import forked, without_sources

SERVER = [sys.executable, "-m", "jupyter_server"]


@pytest.mark.parametrize("words", [["--version"], ["--ServerApp.port=none"]])
def test_what_it_prints_and_its_status_are_the_same(words: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}

    def run() -> tuple[int, bytes]:
        done = subprocess.run([*SERVER, *words], env=environment, capture_output=True, timeout=90)
        return done.returncode, done.stdout

    with forked():
        told = run()
    assert told == run()


def test_it_is_a_child_with_its_command_and_environment_and_ends_by_a_signal(
    tmp_path: Path,
) -> None:
    file = tmp_path / "kernel.json"
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", str(file)]
    environment = {"HOME": str(tmp_path), "JPY_PARENT_PID": str(os.getpid()), "MINE": "1"}
    with forked():
        process = subprocess.Popen(command, env=environment, start_new_session=True)
    child = psutil.Process(process.pid)
    try:
        assert child.ppid() == os.getpid()
        assert child.cmdline()[: len(command)] == command
        assert child.environ() == environment
        assert os.getsid(process.pid) == process.pid
        assert without_sources([child]) == [child]
    finally:
        process.kill()
    assert process.wait(60) == -signal.SIGKILL
