"""DuckDB within the limits of an inspection. Used by ``sniffer`` and ``parquet``."""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator

import duckdb


def connect() -> "duckdb.DuckDBPyConnection":
    """Return a database in memory that uses no network and writes no files."""
    return duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": "150MB",
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )


@contextlib.contextmanager
def piped(pieces: Iterable[str]) -> Iterator[str]:
    """Provide the path of a pipe with ``pieces`` as UTF-8."""
    reading, writing = os.pipe()

    def write() -> None:
        # The reader may stop before the end.
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            for piece in pieces:
                pipe.write(piece.encode(errors="replace"))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)
        thread.join()
