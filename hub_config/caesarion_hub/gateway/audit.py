"""
The audit for operators: ``python -m caesarion_hub.gateway.audit verify|export|cut``.

Reads the database that the gateway's settings name, or ``--database``. ``verify``
proves the chain or names its first broken link; ``export`` writes it as lines of
JSON; ``cut`` deletes its beginning, which the chain records.
"""

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from caesarion_hub.gateway.config import ConfigError, read_values
from caesarion_hub.gateway.store import audit_log
from caesarion_hub.gateway.store.audit_log import BrokenChainError
from caesarion_hub.gateway.store.database import Database, DatabaseError


def main() -> int:
    """Return the exit status: 1 for a broken chain or a database that cannot be used."""
    options = _options()
    try:
        with closing(Database(options.database or _database_url())) as database:
            _check_is_there(database)
            database.migrate()
            match options.command:
                case "verify":
                    return 0 if _verify(database) else 1
                case "export":
                    _export(database)
                case _:
                    _cut(database, options.before)
    except (BrokenChainError, ConfigError, DatabaseError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m caesarion_hub.gateway.audit",
        description="Prove, export or cut the gateway's audit.",
    )
    parser.add_argument("--database", help="its address; else the gateway's settings name it")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("verify", help="prove the chain, or name its first broken link")
    commands.add_parser("export", help="write the chain as lines of JSON")
    cut = commands.add_parser("cut", help="delete what is older than a day, and record that")
    cut.add_argument(
        "before",
        type=_day,
        help="the first day to keep, such as 2026-01-31, in UTC",
    )
    return parser.parse_args()


def _day(said: str) -> datetime:
    try:
        return datetime.strptime(said, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{said}' is no day like 2026-01-31") from error


def _check_is_there(database: Database) -> None:
    """Raise DatabaseError for a file that is not there: a new one would be whole, and empty."""
    file = database.url.database
    if database.is_sqlite and not Path(file or "").is_file():
        raise DatabaseError(
            f"There is no database at {file}. Name the gateway's: "
            "--database sqlite:////folder/gateway.sqlite"
        )


def _database_url() -> str:
    url = read_values().database.url
    if url is None:
        raise ConfigError(
            "gateway.database.url is not set. Name the database: --database sqlite:////folder/file"
        )
    return url.get_secret_value()


def _verify(database: Database) -> bool:
    with database.reading() as connection:
        whole, said = audit_log.verification(connection)
    print(said, file=sys.stdout if whole else sys.stderr)
    return whole


def _export(database: Database) -> None:
    with database.reading() as connection:
        for link in audit_log.verify(connection):
            line = asdict(link) | {"record": json.loads(link.record)}
            print(json.dumps(line, ensure_ascii=False))


def _cut(database: Database, before: datetime) -> None:
    with database.exclusive() as connection:
        last = audit_log.cut(connection, round(before.timestamp() * 1000), "operator")
    print(f"The records up to number {last} are deleted." if last else "There is nothing to cut.")


if __name__ == "__main__":
    sys.exit(main())
