"""The memory of a user's server is closed to the user's kernels."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can close a process")

OPENED = """
import ctypes, json, os, sys
from caesarion.singleuser import close_memory

if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    # Open, as after an exec: the change of the user has closed it.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if sys.argv[1] == "closed":
    close_memory()
server = os.getpid()
if os.fork() == 0:
    opened = []
    for name in ("environ", "fd", "maps", "mem"):
        try:
            os.close(os.open(f"/proc/{server}/{name}", os.O_RDONLY))
            if name == "fd":
                os.listdir(f"/proc/{server}/fd")
            opened.append(name)
        except PermissionError:
            pass
    print(json.dumps(opened), flush=True)
    os._exit(0)
os.wait()
"""

STARTED = """
import ctypes, os, subprocess, sys
import jupyterhub.singleuser
from caesarion import singleuser

SHOW = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)"

def main():
    exec(SHOW)
    subprocess.run([sys.executable, "-c", SHOW], check=True)

singleuser._EXTENSIONS = ()
jupyterhub.singleuser.main = main
singleuser.main()
"""


def run(program: str, *arguments: str, **variables: str) -> str:
    command = [sys.executable, "-s", "-P", "-c", program, *arguments]
    environment = {name: text for name, text in os.environ.items() if name != "CAESARION_RUN"}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment | variables
    ).stdout


def test_a_process_of_the_same_user_opens_nothing_of_a_server_that_is_closed() -> None:
    # Yama, where it is on, leaves the memory closed anyway, but not the environment.
    assert {"environ", "fd", "maps"} <= set(json.loads(run(OPENED, "open")))
    assert json.loads(run(OPENED, "closed")) == []


def test_a_server_is_closed_when_it_starts_and_the_programs_that_it_starts_are_open() -> None:
    assert run(STARTED).split() == ["0", "1"]


def test_a_server_of_make_up_stays_open_to_whoever_runs_it() -> None:
    assert run(STARTED, CAESARION_RUN="1").split() == ["1", "1"]
