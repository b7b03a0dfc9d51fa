"""
The outcomes of tool calls, which users' servers report to the audit.

Routed by ``application``; calls ``store.write_queue``. A report is the user's server's word,
and is recorded as such. The code in a kernel has the server's token, so the server shows that it
is itself by the receipts of the answers that it got.
"""

from typing import Annotated, Any, Literal, get_args

from aiohttp import web
from pydantic import ConfigDict, Field, ValidationError, field_validator

from caesarion_hub.bodies import Bounded
from caesarion_hub.gateway.api.handler import Handler, json_answer
from caesarion_hub.gateway.api.metrics import Metrics
from caesarion_hub.gateway.api.request import bad_request, parse
from caesarion_hub.gateway.api.server import Request
from caesarion_hub.gateway.store.commands import (
    Approver,
    ChangeDecision,
    Outcome,
    OutcomeReport,
    plain,
    receipt_hash,
)
from caesarion_hub.gateway.store.write_queue import WriteQueue

MAX_OUTCOMES = 100
"""Outcomes in one report; a made-up number, more than a turn has calls."""

_FORM = (
    '{"outcomes": [{"call": ..., "receipt": ..., "outcome": ..., "approval": ..., '
    '"approver": "person", "program" or "rule"}]}'
)

SourceHash = Annotated[str, Field(pattern="^([0-9a-f]{12})?$")]


class CellChange(Bounded):
    """
    What a call did to a cell of a notebook, and what was decided about that.

    ``before`` and ``after`` are the first 12 hex digits of the SHA-256 of the cell's source,
    empty where there is none; ``by`` is empty if nobody decided.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(min_length=1, max_length=1_024)
    cell: str = Field(min_length=1, max_length=64)  # as nbformat bounds ids
    operation: Literal["edit", "insert", "delete", "move", "run"]
    before: SourceHash
    after: SourceHash
    decision: Literal["accepted", "edited", "rejected", "not asked", "kept", "undone"]
    by: str = Field(max_length=255)

    @field_validator("path", "cell", "by")
    @classmethod
    def _plain(cls, text: str) -> str:
        return plain(text, len(text))


class OutcomesHandler(Handler):
    """``POST v1/audit/outcomes``."""

    method = "POST"
    is_for_users = True

    def __init__(self, write_queue: WriteQueue, metrics: Metrics) -> None:
        self._write_queue = write_queue
        self._metrics = metrics

    async def answer(self, request: Request, body: bytes) -> web.StreamResponse:
        """Record the outcomes, and answer how many were of calls without one, by receipt."""
        said, caller = await parse(body), request.caller
        outcomes, decisions = read_outcomes(said), read_decisions(said)
        report = OutcomeReport(caller.name, caller.server, outcomes, decisions)
        recorded = await self._write_queue.report_outcomes(report)
        if recorded == len(outcomes):
            self._metrics.count_outcomes(caller.name, outcomes)
        return json_answer(request, {"recorded": recorded})


def read_outcomes(body: dict[str, Any]) -> list[Outcome]:
    """
    Return what ``body`` reports, see ``_FORM``; ``approver`` and ``change`` may be left out.

    Raises GatewayError if it is something else.
    """
    try:
        reported = body["outcomes"]
        if len(reported) > MAX_OUTCOMES:
            raise bad_request(f"The request reports more than {MAX_OUTCOMES} outcomes.")
        return [_outcome(one) for one in reported]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise bad_request(f"The request reports no outcomes: it must be {_FORM}.") from error


def _outcome(one: dict[str, Any]) -> Outcome:
    approver = one.get("approver", "")
    if approver not in ("", *get_args(Approver)):
        raise ValueError
    return Outcome(
        str(one["call"] or ""),
        plain(str(one["outcome"]), 64),
        plain(str(one["approval"]), 300),  # a decision, and a user's name
        approver,
        _change(one["change"]) if one.get("change") is not None else None,
        receipt_hash(str(one.get("receipt", ""))),
    )


def read_decisions(body: dict[str, Any]) -> list[ChangeDecision]:
    """
    Return the decisions about changes that ``body`` reports: ``{"conversation", "change"}`` each.

    ``call`` and ``receipt`` name the call that made the change, if the server still knows it.

    Raises GatewayError if they are something else.
    """
    try:
        reported = body.get("decisions", [])
        if len(reported) > MAX_OUTCOMES:
            raise bad_request(f"The request reports more than {MAX_OUTCOMES} decisions.")
        return [
            ChangeDecision(
                plain(str(one["conversation"])),
                _change(one["change"]),
                str(one.get("call", "")),
                receipt_hash(str(one.get("receipt", ""))),
            )
            for one in reported
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise bad_request(
            'The decisions must be [{"conversation": ..., "change": {...}}].'
        ) from error


def _change(change: Any) -> dict[str, Any]:
    """Return a change as it is recorded; raise GatewayError with what is wrong with it."""
    try:
        return CellChange.model_validate(change).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("change", *map(str, first["loc"])))
        value = "" if first["type"] == "missing" else f", not {repr(first['input'])[:80]}"
        raise bad_request(
            f"A change cannot be recorded: {where}: {first['msg']}{value}."
        ) from error
