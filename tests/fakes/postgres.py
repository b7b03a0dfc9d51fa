"""
A real PostgreSQL server for tests: a temporary cluster of the machine's own PostgreSQL.

Its locale is en_US.UTF-8, as in PostgreSQL's usual image: it orders text otherwise than
SQLite and Python do. ``make test`` installs what is needed, where it may. PostgreSQL
refuses to run as root; then it runs as the user ``postgres``, which Debian's package adds.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.fakes.bare_hub import free_port

LOCALE = "en_US.UTF-8"


class Postgres:
    """A running server; each test makes a database of its own."""

    def __init__(self, port: int) -> None:
        self._port = port

    def make_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self._address(name)

    @contextmanager
    def away(self, address: str) -> Iterator[None]:
        """Let nobody use a database while the block runs."""
        name = address.rpartition("/")[2]
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(ended, [name])
            yield
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())

    def _address(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server that trusts everybody on this machine and keeps nothing."""
    user = "postgres" if os.geteuid() == 0 else None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgres", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        if user:
            shutil.chown(folder, user)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        control = [_program("pg_ctl"), "-D", str(data), "-w", "-s"]

        environment = os.environ | _locale(Path(folder))

        def run(*command: str) -> None:
            subprocess.run(
                command,
                user=user,
                cwd=folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                check=True,
            )

        options_of_cluster = ("-U", "postgres", "-A", "trust", "-N", f"--locale={LOCALE}")
        run(_program("initdb"), "-D", str(data), *options_of_cluster)
        run(*control, "-o", options, "-l", f"{folder}/log", "start")
        try:
            yield Postgres(port)
        finally:
            run(*control, "-m", "immediate", "stop")


def _locale(folder: Path) -> dict[str, str]:
    """Return the variables by which programs find the locale, made in ``folder`` if need be."""
    installed = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=True)
    if LOCALE.replace("-", "").lower() in installed.stdout.replace("-", "").lower().split():
        return {}
    made = folder / "locales"
    made.mkdir()
    source, _, charmap = LOCALE.partition(".")
    command = ["localedef", "--no-archive", "-i", source, "-f", charmap, str(made / LOCALE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, (
        f"{done.stderr}Install the locales' sources (apt-get install locales)."
    )
    return {"LOCPATH": str(made)}


def _program(name: str) -> str:
    debians = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(debians[-1]) if debians else shutil.which(name)
    assert found, f"There is no {name}: install PostgreSQL (apt-get install postgresql)."
    return found
