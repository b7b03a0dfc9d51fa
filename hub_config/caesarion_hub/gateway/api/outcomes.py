"""
The outcomes of tool calls, which users' servers report to the audit.

Routed by ``application``; calls ``store.write_queue``. A report is the user's server's word,
and is recorded as such.
"""

from typing import Any, get_args

from caesarion_hub.gateway.api.handler import UserHandler
from caesarion_hub.gateway.api.request import bad_request, parse
from caesarion_hub.gateway.store.commands import Approver, Outcome, OutcomeReport, plain

MAX_OUTCOMES = 100
"""Outcomes in one report; a made-up number, more than a turn has calls."""

_FORM = (
    '{"outcomes": [{"call": ..., "outcome": ..., "approval": ..., '
    '"approver": "person", "program" or "rule"}]}'
)


class OutcomesHandler(UserHandler):
    """``POST v1/audit/outcomes``."""

    async def post(self) -> None:
        """Record the outcomes, and answer how many were of calls without one."""
        outcomes = read_outcomes(await parse(self.read_body()))
        report = OutcomeReport(self.caller.name, self.caller.server, outcomes)
        self.write({"recorded": await self.application.write_queue.report_outcomes(report)})


def read_outcomes(body: dict[str, Any]) -> list[Outcome]:
    """
    Return what ``body`` reports, see ``_FORM``; ``approver`` may be left out.

    Raises GatewayError if it is something else.
    """
    try:
        outcomes = [_outcome(one) for one in body["outcomes"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise bad_request(f"The request reports no outcomes: it must be {_FORM}.") from error
    if len(outcomes) > MAX_OUTCOMES:
        raise bad_request(f"The request reports more than {MAX_OUTCOMES} outcomes.")
    return outcomes


def _outcome(one: dict[str, Any]) -> Outcome:
    approver = one.get("approver", "")
    if approver not in ("", *get_args(Approver)):
        raise ValueError
    return Outcome(
        str(one["call"] or ""),
        plain(str(one["outcome"]), 64),
        plain(str(one["approval"]), 300),  # a decision, and a user's name
        approver,
    )
