"""Describe Parquet files by their rows and schema, with DuckDB. Called by ``digest``."""

from collections.abc import Iterator

import duckdb

from caesarion.files.inspection.database import connect
from caesarion.files.inspection.source import NotReadable, Source, clipped, counted, reason

_COLUMNS = 50

_ENCRYPTED = "Parquet, encrypted: it cannot be read without its keys."


def describe(source: Source) -> Iterator[str]:
    """Yield the number of rows, and the columns with their types in DuckDB's names."""
    if source.tail(4) == b"PARE":
        raise NotReadable(_ENCRYPTED)
    with connect() as database:
        try:
            rows, columns = _schema(database, source.path)
        except duckdb.Error as error:
            raise NotReadable(f"Parquet that cannot be read: {reason(error)}.") from error
        yield f"Parquet, {counted(rows, 'row')}, {counted(len(columns), 'column')}:"
        for name, kind in columns[:_COLUMNS]:
            yield f"  {clipped(name, 60)}: {clipped(kind, 200)}"
        if len(columns) > _COLUMNS:
            yield f"  and {len(columns) - _COLUMNS:,} more"
        try:
            database.execute("FROM read_parquet($path) LIMIT 1", {"path": source.path}).fetchall()
        except duckdb.Error as error:
            encrypted = "encrypted" in str(error)
            yield (
                "Some of its columns are encrypted and cannot be read without their keys."
                if encrypted
                else f"Its rows cannot be read: {reason(error)}."
            )


def _schema(database: "duckdb.DuckDBPyConnection", path: str) -> tuple[int, list[tuple[str, str]]]:
    # Not parquet_file_metadata, which fails where some columns are encrypted (DuckDB 2.0).
    database.execute("SELECT count(*) FROM read_parquet($path)", {"path": path})
    [(rows,)] = database.fetchall()
    database.execute("DESCRIBE FROM read_parquet($path)", {"path": path})
    return rows, [(name, kind) for name, kind, *_ in database.fetchall()]
