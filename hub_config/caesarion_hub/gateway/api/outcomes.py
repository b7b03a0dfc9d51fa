"""
The outcomes of tool calls, which users' servers report to the audit.

Routed by ``application``; calls ``store``. A report is the user's server's word, and is
recorded as such.
"""

import json
from dataclasses import dataclass

from caesarion_hub.gateway.api.handler import UserHandler
from caesarion_hub.gateway.api.request import bad_request
from caesarion_hub.gateway.api.response import plain
from caesarion_hub.gateway.authentication import Caller
from caesarion_hub.gateway.store.commands import AuditEntry
from caesarion_hub.gateway.store.write_queue import WriteQueue

MAX_OUTCOMES = 100
"""Outcomes in one report; a made-up number, more than a turn has calls."""


@dataclass(frozen=True)
class Outcome:
    """How a tool call ended, and what allowed it to run."""

    call: str
    outcome: str
    approval: str


class OutcomesHandler(UserHandler):
    """``POST v1/audit/outcomes``."""

    async def post(self) -> None:
        """Record the outcomes, and answer how many were of calls without one."""
        self.check()
        outcomes = read_outcomes(bytes(self.body))
        number = await record_outcomes(self.application.write_queue, self.caller, outcomes)
        self.write({"recorded": number})


def read_outcomes(raw: bytes) -> list[Outcome]:
    """
    Return what ``raw`` reports: ``{"outcomes": [{"call", "outcome", "approval"}]}``.

    Raises GatewayError if it is something else.
    """
    try:
        outcomes = [
            Outcome(*(plain(str(one[name]), 64) for name in ("call", "outcome", "approval")))
            for one in json.loads(raw)["outcomes"]
        ]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise bad_request(
            "The request reports no outcomes: it must be "
            '{"outcomes": [{"call": ..., "outcome": ..., "approval": ...}]}.'
        ) from error
    if len(outcomes) > MAX_OUTCOMES:
        raise bad_request(f"The request reports more than {MAX_OUTCOMES} outcomes.")
    return outcomes


async def record_outcomes(write_queue: WriteQueue, caller: Caller, outcomes: list[Outcome]) -> int:
    """Record the outcomes of calls that have none yet; return how many those are."""
    waiting = await write_queue.calls_without_outcome(caller.name, [one.call for one in outcomes])
    reported = {one.call: one for one in outcomes if one.call in waiting}
    await write_queue.append_audit(
        [
            AuditEntry(
                *("outcome", caller.name, "", one.call),
                {
                    "server": caller.server,
                    "reported_by": "the user's server",
                    "outcome": one.outcome,
                    "approval": one.approval,
                },
            )
            for one in reported.values()
        ]
    )
    return len(reported)
