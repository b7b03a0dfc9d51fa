"""
Keeps warm servers on one machine: processes that have imported a user's server, and are nobody's.

Called by ``local_spawner``, which claims them; calls ``claims``, which says what such a server is.
They are started one after the other, a while after the last claim, so that a server that a user
waits for has the processor to itself.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from time import monotonic
from typing import Any

from jupyterhub.utils import exponential_backoff, random_port

from caesarion_hub import claims

DELAY = 6.0
"""Seconds from a claim to the start of the next server: as a page loads, and its chat answers."""

MAX_DELAY = 300.0
"""Seconds between two starts at most, of servers that all end by themselves; made up."""

LOOK = 10.0
"""Seconds after which it is noticed at the latest that a server has ended; made up."""

START_TIMEOUT = 120.0
"""Seconds that a server may take until it waits: importing is slow where the machine is busy."""


@dataclass(frozen=True)
class WarmProcess:
    """A server that waits on ``port`` of the loopback interface, and logs to the file ``log``."""

    process: Popen[bytes]
    port: int
    nonce: str
    log: Path

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; one that has is no zombie after this."""
        return self.process.poll() is None

    def end(self) -> None:
        """End it; its kernel, which reads from it, ends with it."""
        if self.is_alive:
            self.process.kill()
            self.process.wait()
        self.log.unlink(missing_ok=True)


class WarmProcesses:
    """
    At most ``replicas`` servers that wait, each started by ``command`` with ``environment``.

    ``folder`` is theirs: it has their logs, and is the home that they do not have yet.
    """

    def __init__(
        self,
        replicas: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: Any,
    ) -> None:
        self.command = tuple(command)
        self._replicas = replicas
        self._environment = environment
        self._folder = folder
        self._log = log
        self._ready: list[WarmProcess] = []
        self._taken = asyncio.Event()
        # When one was last taken or started, by the monotonic clock.
        self._quiet_since = 0.0
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep the servers from now on, until this task, or its loop, is cancelled."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._keeping = asyncio.create_task(self._keep())

    def take(self) -> WarmProcess | None:
        """Return a server that waits, which is the caller's from now on; None if there is none."""
        self._taken.set()
        self._quiet_since = monotonic()
        while self._ready:
            warm = self._ready.pop(0)
            if warm.is_alive:
                return warm
            warm.end()
        return None

    async def _keep(self) -> None:
        failures = 0
        self._quiet_since = monotonic()
        try:
            while True:
                while (left := self._quiet_since + pause(failures) - monotonic()) > 0:  # noqa: ASYNC110
                    await asyncio.sleep(left)
                self._taken.clear()
                self._drop_dead()
                if len(self._ready) < self._replicas:
                    failures = 0 if await self._add() else failures + 1
                    self._quiet_since = monotonic()
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK):
                            await self._taken.wait()
        finally:
            for warm in self._ready:
                warm.end()

    async def _add(self) -> bool:
        """Start a server, and return whether it waits now."""
        try:
            warm = self._launch()
        except OSError as problem:
            self._log.warning("No server could be started to wait for a user: %s", problem)
            return False

        async def is_waiting() -> bool:
            return not warm.is_alive or await claims.is_waiting(warm.url)

        try:
            await exponential_backoff(
                is_waiting, "it does not listen", max_wait=1, timeout=START_TIMEOUT
            )
        except asyncio.CancelledError:
            warm.end()
            raise
        except TimeoutError:
            warm.process.kill()
        else:
            if warm.is_alive:
                self._ready.append(warm)
                self._log.info("The process %s waits for a user.", warm.process.pid)
                return True
        self._log.warning(
            "A server that was to wait for a user has ended with status %s. Its log is %s.",
            warm.process.wait(),
            warm.log,
        )
        return False

    def _launch(self) -> WarmProcess:
        nonce, port = claims.new_nonce(), random_port()
        log = self._folder / f"{port}.log"
        variables = {
            "HOME": str(self._folder),
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/",
            claims.NONCE_VARIABLE: nonce,
        }
        with log.open("wb") as output:
            process = Popen(  # noqa: S603
                [*self.command, claims.WARM_ARGUMENT],
                env={**self._environment, **variables},
                cwd=self._folder,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                start_new_session=True,
            )
        return WarmProcess(process, port, nonce, log)

    def _drop_dead(self) -> None:
        for warm in [each for each in self._ready if not each.is_alive]:
            self._ready.remove(warm)
            warm.end()


def pause(failures: int) -> float:
    """Return the seconds before the next start, after so many in a row that have failed."""
    return min(DELAY * 2.0 ** min(failures, 16), MAX_DELAY)
