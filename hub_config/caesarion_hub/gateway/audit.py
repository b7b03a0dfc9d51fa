"""
The audit for operators: ``python -m caesarion_hub.gateway.audit verify|export|cut|key``.

Reads the database and the key that the gateway's settings name; in a checkout those of
``make up``, unless others are named.
"""

import argparse
import json
import os
import sys
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from caesarion_hub.gateway.config import ConfigError, read_values
from caesarion_hub.gateway.store.audit_key import AuditKey
from caesarion_hub.gateway.store.audit_log import AuditLog, Head, last_record
from caesarion_hub.gateway.store.audit_verification import (
    BrokenAuditError,
    Verifier,
    in_database,
    in_lines,
)
from caesarion_hub.gateway.store.database import Database, DatabaseError
from caesarion_hub.values import state_folder
from caesarion_hub.values.gateway import CONFIG_VARIABLE, GATEWAY_FILE, Gateway


def main() -> int:
    """Return the exit status: 1 for a broken audit, or a database that cannot be used."""
    options = _options()
    try:
        return _run(options)
    except (BrokenAuditError, ConfigError, DatabaseError) as problem:
        print(problem, file=sys.stderr)
        return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m caesarion_hub.gateway.audit",
        description="Verify, export or cut the gateway's audit.",
    )
    settings = "else the gateway's settings name it, or those of make up"
    parser.add_argument("--database", help=f"the address of the database; {settings}")
    parser.add_argument("--key", type=Path, help=f"the file of the audit's key; {settings}")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="verify the audit, or name its first broken record")
    verify.add_argument(
        "--head",
        type=_head,
        help="an earlier head, as verify printed it: shows whether the audit was rewritten or its "
        "end cut off since",
    )
    verify.add_argument("--file", type=Path, help="an exported audit, instead of a database")
    commands.add_parser("export", help="write the audit as lines of JSON")
    cut = commands.add_parser("cut", help="delete what is older than a day, and record that")
    cut.add_argument("before", type=_day, help="the first day to keep, such as 2026-01-31, in UTC")
    commands.add_parser("key", help="print the public key, which verifies an export elsewhere")
    return parser.parse_args()


def _head(text: str) -> Head:
    number, _, digest = text.partition(":")
    if not number.isdecimal() or not digest:
        raise argparse.ArgumentTypeError(f"'{text}' is no head like 80:1f0e..., number and hash")
    return int(number), digest


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no day like 2026-01-31") from error


def _run(options: argparse.Namespace) -> int:
    settings = _settings()
    key_file = options.key or settings.audit.key_file
    key = AuditKey.read(key_file) if key_file else None
    if options.command == "key":
        print(_needed(key).public_pem(), end="")
        return 0
    if options.command == "verify" and options.file:
        return _verify_file(options.file, Verifier(key, options.head))
    with closing(Database(options.database or _database_url(settings))) as database:
        _check_is_there(database)
        database.migrate()
        match options.command:
            case "verify":
                return _verify(database, Verifier(key, options.head))
            case "export":
                _export(database, Verifier(key))
            case _:
                _cut(database, key, options.before)
    return 0


def _settings() -> Gateway:
    """Return the gateway's settings; in a checkout those that ``make up`` wrote last."""
    made = state_folder() / GATEWAY_FILE
    if not os.environ.get(CONFIG_VARIABLE) and made.is_file():
        return read_values({CONFIG_VARIABLE: str(made)})
    return read_values()


def _database_url(settings: Gateway) -> str:
    if settings.database.url is None:
        raise ConfigError(
            f"No database is set: gateway.database.url is empty, and make up has left no settings "
            f"in {state_folder()}. Name the database: --database sqlite:////folder/gateway.sqlite"
        )
    return settings.database.url.get_secret_value()


def _check_is_there(database: Database) -> None:
    """Raise DatabaseError for a file that is not there: a new one would be whole, and empty."""
    file = database.url.database
    if database.is_sqlite and not Path(file or "").is_file():
        raise DatabaseError(
            f"There is no database at {file}. Name the gateway's: "
            "--database sqlite:////folder/gateway.sqlite"
        )


def _needed(key: AuditKey | None) -> AuditKey:
    if key is None:
        raise ConfigError("No key is set: gateway.audit.keyFile is empty. Name its file: --key")
    return key


def _verify(database: Database, verifier: Verifier) -> int:
    with database.reading() as connection:
        return _say(*verifier.verify(in_database(connection), database.name))


def _verify_file(file: Path, verifier: Verifier) -> int:
    try:
        with file.open(encoding="utf-8") as lines:
            return _say(*verifier.verify(in_lines(lines), str(file)))
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8"
        raise ConfigError(f"The file {file} cannot be read: {reason}.") from problem


def _say(whole: bool, sentence: str) -> int:
    print(sentence, file=sys.stdout if whole else sys.stderr)
    return 0 if whole else 1


def _export(database: Database, verifier: Verifier) -> None:
    with database.reading() as connection:
        for record in verifier.verified(in_database(connection)):
            line = asdict(record) | {"record": json.loads(record.record)}
            print(json.dumps(line, ensure_ascii=False))


def _cut(database: Database, key: AuditKey | None, before: datetime) -> None:
    with database.exclusive() as connection:
        last = last_record(connection)
        if last and last.signature and not (key and key.signs):
            raise ConfigError("The audit is signed, and so must be the record of a cut: name --key")
        number = AuditLog(key).cut(connection, round(before.timestamp() * 1000), "operator")
    done = f"The records up to number {number} are deleted" if number else "There is nothing to cut"
    print(f"{done} in {database.name}.")


if __name__ == "__main__":
    sys.exit(main())
