"""
The audit: search, proof, and what was found as a file.

``views`` says where it is.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, Row
from tornado.web import HTTPError

from caesarion_hub.gateway.pages import formatting, lists, queries, records
from caesarion_hub.gateway.pages.download import Download, Rows, json_lines
from caesarion_hub.gateway.pages.lists import Search
from caesarion_hub.gateway.pages.page import Page

KINDS = ("call", "outcome", "budget", "cut", "key")

_FIELDS = ("user", "kind", "conversation", "text", "since", "until")

_HEADER = (
    *("number", "made (UTC)", "kind", "user", "what", "outcome", "approval", "approver"),
    *("model", "conversation", "call", "sha256 of the code", "code", "hash"),
)


class Audit(Page):
    """The page."""

    for_admins = True

    async def get(self) -> None:
        """Show its latest records, or those that are searched for."""
        asked = self.asked()
        try:
            search, said = self.search(), ""
        except HTTPError as error:
            self.set_status(error.status_code)
            search, said = None, str(error.log_message)
        before, after = self.number("before"), self.number("after")

        def query(connection: Connection) -> tuple[int, list[records.Line]]:
            if search is None:
                return 0, []
            rows = lists.audit(connection, search, before=before, after=after)
            # The one more than a page has, on the side that was asked for.
            shown = rows[-queries.PAGE :] if after else rows[: queries.PAGE]
            return len(rows), lines(connection, shown)

        found, shown = await self.read(query)
        proof = await self.shared.write_queue.verify_audit() if self.argument("verify") else None
        more = found > queries.PAGE
        self.show(
            "audit.html",
            here="admin/audit",
            said=said,
            rows=shown,
            asked=asked,
            query=urlencode({name: text for name, text in asked.items() if text}),
            kinds=KINDS,
            has_older=bool(after and shown) or (more and not after),
            has_newer=bool(before) or (more and bool(after)),
            proof=proof,
        )

    def asked(self) -> dict[str, str]:
        """Return the fields of the search, as they were typed."""
        return {name: self.argument(name) for name in _FIELDS}

    def search(self, *, outcomes: bool = False) -> Search:
        """Return what is searched for."""
        asked = self.asked()
        since, until = _midnight(asked["since"]), _midnight(asked["until"], 1)
        if until and since >= until:
            told = f"From {asked['since']} is after To {asked['until']}: nothing is in between."
            raise HTTPError(400, told)
        return Search(
            user=asked["user"].strip().lower(),  # as the hub has users' names
            kind=asked["kind"],
            outcomes=outcomes,
            conversation=asked["conversation"],
            text=asked["text"],
            since=since,
            until=until,
        )


class AuditCsv(Audit, Download):
    """What was found, as a table."""

    async def get(self) -> None:
        """Send it."""
        search = self.search()

        def query(connection: Connection, last: Row[Any] | None) -> Rows:
            return lists.audit_after(connection, last, search)

        def finish(connection: Connection, rows: Rows) -> list[Sequence[Any]]:
            return [_row(line) for line in lines(connection, rows)]

        await self.send_csv("audit.csv", _HEADER, self.batches(query, finish))


class AuditJson(Audit, Download):
    """What was found, as lines of JSON like those of the command ``export``."""

    async def get(self) -> None:
        """Send it."""
        search = self.search(outcomes=True)

        def query(connection: Connection, last: Row[Any] | None) -> Rows:
            return lists.audit_after(connection, last, search)

        def finish(_: Connection, rows: Rows) -> list[dict[str, Any]]:
            return [row._asdict() | {"record": json.loads(row.record)} for row in rows]

        found = self.batches(query, finish)
        await self.send("audit.jsonl", "application/jsonl", json_lines(found))


def lines(connection: Connection, rows: Rows) -> list[records.Line]:
    """Return rows of the audit as people read them, each with what belongs to it."""
    outcomes = lists.outcomes_of(connection, [row for row in rows if row.kind == "call"])
    calls = lists.calls_of(connection, [row for row in rows if row.kind == "outcome"])
    return [
        records.line(row, call=calls.get(row.call_number), outcome=outcomes.get(row.number))
        for row in rows
    ]


def _row(line: records.Line) -> Sequence[Any]:
    return (
        *(line.number, formatting.time(line.made), line.kind, line.user, line.what, line.outcome),
        *(
            line.approval,
            line.approver,
            line.model,
            line.conversation,
            line.call,
            line.sha256,
            line.text,
        ),
        line.hash,
    )


def _midnight(day: str, later: int = 0) -> int:
    """Return when a day begins, or one some days later; 0 for none."""
    if not day:
        return 0
    try:
        begin = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(later)
    except (ValueError, OverflowError) as error:
        raise HTTPError(400, f"'{day}' is no day. One is written like 2026-01-31.") from error
    return round(begin.timestamp() * 1000)
