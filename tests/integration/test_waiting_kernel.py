"""A process that waits to become a kernel: the same kernel as any, and nobody's before."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from caesarion.config import CaesarionKernel
from caesarion.kernels import waiting
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.prewarm import PrewarmedKernel

from tests.hub import is_alive
from tests.kernels import run, running_kernel_manager
from tests.server import eventually
from tests.singleuser import RECORDED_ENVIRONMENT

pytestmark = pytest.mark.asyncio(loop_scope="module")

# All that a kernel's Python can tell of how it was started.
LOOK = """
import gc, json, locale, os, resource, signal, site, sys, sysconfig, threading, warnings
main = sys.modules["__main__"]
print(json.dumps({
    "python": [sys.executable, sys.orig_argv[:4], sys.argv[:2], sys.path, repr(sys.flags)],
    "options": [sys._xoptions, sys.warnoptions, [str(one) for one in warnings.filters]],
    "environment": dict(os.environ),
    "user's": [site.USER_BASE, site.USER_SITE, site.ENABLE_USER_SITE],
    "paths": [sysconfig.get_config_var("userbase"), os.getcwd(), os.umask(0o22)],
    "modules": sorted(sys.modules),
    "main": [sorted(vars(main)), repr(main.__spec__), sys.excepthook.__module__],
    "signals": [str(signal.getsignal(one)).split(" at ")[0] for one in signal.valid_signals()],
    "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.getppid()],
    "input": os.read(0, 1).decode(),
    "files": sorted(os.readlink(f"/proc/self/fd/{one}").split(":")[0] for one in "012"),
    "threads": threading.active_count(),
    "limits": [resource.getrlimit(one) for one in range(10)],
    "collector": [gc.isenabled(), gc.get_freeze_count(), gc.get_threshold()],
    "locale": [locale.getlocale(), sys.__stdout__.encoding, sys.__stdin__.encoding],
    "priority": [os.getpriority(os.PRIO_PROCESS, 0), open("/proc/self/oom_score_adj").read()],
}))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel_manager(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """One whose kernels are executed, not forked."""
    async with running_kernel_manager(tmp_path_factory.mktemp("kernels")) as kernel_manager:
        yield kernel_manager


@pytest.fixture
def waits() -> Iterator[psutil.Process]:
    """A process that waits, with the environment that the test has at its start."""
    waiting.start()
    assert waiting._waiting
    yield psutil.Process(waiting._waiting.process.pid)
    waiting.end()


async def look(kernel_manager: Any, kernel_id: str | None) -> tuple[Any, int]:
    """Return what a kernel tells of itself, and its process; end it."""
    assert kernel_id
    kernel = Kernel(CaesarionKernel(time_limit=60), kernel_manager, kernel_id)
    ran = await run(kernel, LOOK)
    pid = kernel_manager.get_kernel(kernel_id).provisioner.pid
    await kernel.close()
    await kernel_manager.shutdown_kernel(kernel_id, now=True)
    return json.loads(ran.text), pid


async def prewarmed(kernel_manager: Any) -> tuple[Any, int]:
    """Look at a kernel that is started ahead of its use, from the process that waits."""
    return await look(kernel_manager, await PrewarmedKernel(kernel_manager, 600).adopt())


async def python(source: str) -> str:
    """Return what a Python prints that runs ``source``."""
    command = [sys.executable, "-c", source]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    assert done.stderr == b""
    return str(done.stdout.decode())


async def test_a_kernel_that_has_waited_is_in_nothing_different_from_one_that_has_not(
    kernel_manager: Any, waits: psutil.Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"HOME": str(tmp_path), "USER": "ada", "TZ": "Asia/Tokyo"}.items():
        monkeypatch.setenv(name, text)
    waited, pid = await prewarmed(kernel_manager)
    usual, other = await look(kernel_manager, await kernel_manager.start_kernel(path=""))
    assert (pid, waited["environment"]["HOME"]) == (waits.pid, str(tmp_path))
    assert other != waits.pid
    usual["modules"].remove("runpy")  # What has run ipykernel_launcher: nobody looks for it.
    assert waited == usual


@pytest.mark.parametrize("name", ["PYTHONUTF8", "PYDEVD_USE_FRAME_EVAL"])
async def test_where_a_variable_counts_at_the_start_of_python_the_process_starts_afresh(
    kernel_manager: Any, waits: psutil.Process, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    told, pid = await prewarmed(kernel_manager)
    assert pid == waits.pid
    assert told["environment"][name] == "1"
    assert ("utf8_mode=1" in told["python"][4]) is (name == "PYTHONUTF8")
    assert "runpy" in told["modules"]


async def test_before_it_is_a_kernel_it_knows_nothing_of_its_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "the token")
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    monkeypatch.setenv("MINE", "a secret")
    waiting.start()
    assert waiting._waiting
    process = psutil.Process(waiting._waiting.process.pid)
    known = {name for name in process.environ() if not name.startswith(waiting.AT_START)}
    assert known <= {"PATH", "HOME"}
    assert [file.path for file in process.open_files()] == []
    waiting.end()
    assert not is_alive(process)


async def test_a_kernel_of_another_command_is_launched_and_the_process_ends(
    kernel_manager: Any, waits: psutil.Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [sys.executable, "-Xutf8", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    file = tmp_path / "kernels" / "other" / "kernel.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"argv": argv, "display_name": "Other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setattr(kernel_manager, "default_kernel_name", "other")
    told, pid = await prewarmed(kernel_manager)
    assert "utf8_mode=1" in told["python"][4]
    assert (pid != waits.pid, is_alive(waits)) == (True, False)


async def test_one_that_has_died_is_not_missed(kernel_manager: Any, waits: psutil.Process) -> None:
    waits.kill()
    await eventually(lambda: not is_alive(waits))
    told, pid = await prewarmed(kernel_manager)
    assert pid != waits.pid
    assert told["leads"][:2] == [True, True]


async def test_none_waits_where_no_kernel_is_wanted_ahead(
    kernel_manager: Any, waits: psutil.Process
) -> None:
    PrewarmedKernel(kernel_manager, 0)
    assert not is_alive(waits)


STARTS = """
import os
from caesarion.kernels import waiting
waiting.start()
print(waiting._waiting.process.pid, flush=True)
os._exit(0)
"""


async def test_it_ends_with_the_server_that_started_it() -> None:
    process = int(await python(STARTS))
    left = [one for one in psutil.process_iter() if one.pid == process]
    await eventually(lambda: not any(map(is_alive, left)))


# Runs the imports, and tells which variables they have read.
READS = (
    RECORDED_ENVIRONMENT
    + """
class AllRecorded(Recorded):
    def __iter__(self):
        read.add("all of them")
        return super().__iter__()

def imported(names):
    os.environ.__class__ = AllRecorded
    for name in names:
        __import__(name)

from caesarion.kernels import waiting_process
os.environ["HOME"], sys.stderr = "/somebody", open(os.devnull, "w")
imported(waiting_process._IMPORTS)
print(json.dumps(sorted(read)))
"""
)


async def test_no_import_reads_a_variable_that_is_not_among_those_that_count_at_the_start() -> None:
    told = json.loads(await python(READS))
    read = {name for name in told if not name.startswith(waiting.AT_START)}
    # HOME and PYTHONUSERBASE: site's, which is asked again. PATH: a constant of subprocess. USER:
    # what a session of jupyter_client's calls itself in headers, which nobody reads.
    assert read == {"ANDROID_DATA", "HOME", "JPY_INTERRUPT_EVENT", "PATH", "USER"}
