"""
The page of the audit: search, verification, and the records found as files.

``routes`` has their addresses.
"""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, Row
from tornado.web import HTTPError

from caesarion_hub.gateway.pages import formatting, rows
from caesarion_hub.gateway.pages.audit_lines import AuditLine, make_line
from caesarion_hub.gateway.pages.download import Download, Rows, json_lines
from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.pages.rows import AuditSearch
from caesarion_hub.gateway.pages.spans import midnight
from caesarion_hub.gateway.pages.sums import PAGE

KINDS = ("call", "outcome", "change", "budget", "cut", "key")

_CHANGE = ("path", "cell", "operation", "before", "after", "decision", "by")

_FIELDS = ("user", "kind", "conversation", "text", "since", "until")

_HEADER = (
    *("number", "made (UTC)", "kind", "user", "what", "outcome", "approval", "approver"),
    *("model", "conversation", "call", "sha256 of the code", "code", "hash"),
    *("notebook", "cell", "operation", "source before", "source after", "decision", "decided by"),
)


class AuditPage(Page):
    """The page."""

    for_admins = True

    async def get(self) -> None:
        """Show the latest records, or those that are searched for."""
        fields = self.fields()
        try:
            search, problem = self.search(), ""
        except HTTPError as error:
            self.set_status(error.status_code)
            search, problem = None, str(error.log_message)
        before, after = self.number("before"), self.number("after")

        def query(connection: Connection) -> tuple[int, list[AuditLine]]:
            if search is None:
                return 0, []
            found = rows.audit(connection, search, before=before, after=after)
            # Of the one more than a page has, the side that was asked for is shown.
            shown = found[-PAGE:] if after else found[:PAGE]
            return len(found), lines(connection, shown)

        number, shown = await self.read(query)
        has_more = number > PAGE
        verify = self.context.write_queue.verify_audit
        self.render_page(
            "audit.html",
            here="admin/audit",
            problem=problem,
            rows=shown,
            search=fields,
            query=urlencode({name: text for name, text in fields.items() if text}),
            kinds=KINDS,
            has_older=bool(after and shown) or (has_more and not after),
            has_newer=bool(before) or (has_more and bool(after)),
            verification=await verify() if self.argument("verify") else None,
        )

    def fields(self) -> dict[str, str]:
        """Return the fields of the search as they were typed."""
        return {name: self.argument(name) for name in _FIELDS}

    def search(self, *, outcomes: bool = False) -> AuditSearch:
        """Return what is searched for; raise 400 for what is not a day."""
        fields = self.fields()
        since, until = _begin(fields["since"]), _begin(fields["until"], later=1)
        if until and since >= until:
            raise HTTPError(400, f"From {fields['since']} is after To {fields['until']}.")
        return AuditSearch(
            user=fields["user"].strip().lower(),  # as JupyterHub has users' names
            kind=fields["kind"],
            outcomes=outcomes,
            conversation=fields["conversation"],
            text=fields["text"],
            since=since,
            until=until,
        )


class AuditCsv(AuditPage, Download):
    """The records found, as a table."""

    async def get(self) -> None:
        """Send the file."""
        search = self.search()

        def query(connection: Connection, last: Row[Any] | None) -> Rows:
            return rows.audit_after(connection, last, search)

        def convert(connection: Connection, found: Rows) -> list[Sequence[Any]]:
            return [_csv_row(line) for line in lines(connection, found)]

        await self.send_csv("audit.csv", _HEADER, self.batches(query, convert))


class AuditJson(AuditPage, Download):
    """The records found, as lines of JSON like those of the command ``export``."""

    async def get(self) -> None:
        """Send the file."""
        search = self.search(outcomes=True)

        def query(connection: Connection, last: Row[Any] | None) -> Rows:
            return rows.audit_after(connection, last, search)

        def convert(_: Connection, found: Rows) -> list[dict[str, Any]]:
            return [row._asdict() | {"record": json.loads(row.record)} for row in found]

        batches = self.batches(query, convert)
        await self.send("audit.jsonl", "application/jsonl", json_lines(batches))


def lines(connection: Connection, found: Rows) -> list[AuditLine]:
    """Return records as people read them, each with the call or the outcome that belongs to it."""
    outcomes = rows.outcomes_of(connection, [row for row in found if row.kind == "call"])
    calls = rows.calls_of(connection, [row for row in found if row.kind == "outcome"])
    return [
        make_line(row, call=calls.get(row.call_number), outcome=outcomes.get(row.number))
        for row in found
    ]


def _csv_row(line: AuditLine) -> Sequence[Any]:
    return (
        *(line.number, formatting.time(line.made), line.kind, line.user, line.what, line.outcome),
        *(line.approval, line.approver, line.model, line.conversation, line.call, line.sha256),
        *(line.text, line.hash),
        *(line.change.get(name, "") for name in _CHANGE),
    )


def _begin(day: str, later: int = 0) -> int:
    """Return when a day begins, or one some days later; 0 for none."""
    if not day:
        return 0
    try:
        return midnight(date.fromisoformat(day) + timedelta(later))
    except (ValueError, OverflowError) as error:
        raise HTTPError(400, f"'{day}' is not a day. Write it like 2026-01-31.") from error
