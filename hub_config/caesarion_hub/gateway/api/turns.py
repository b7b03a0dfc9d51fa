"""
The agent's recent turns, as the gateway sees them: for the metrics. Pure.

Called by ``metrics``. A turn is a message of a user; its requests name it. A repair is an answer
of the model that follows on a failed call of the answer before it. Outcomes are reported while
the turn goes on, so they may come before or after the request that follows on them.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from caesarion_hub.gateway.store.commands import Called

MAX_TURNS = 1000
"""Turns that are remembered; a made-up number, more than are under way at one gateway."""

FAILURES = frozenset(("error", "timeout", "dead"))
"""Outcomes that the model can repair: the code failed, took too long, or ended its kernel."""


class Ended(NamedTuple):
    """A call that has ended: its tool, and whether an answer has followed on its failure."""

    tool: str
    is_repaired: bool


@dataclass
class _Turn:
    answers: int = 0
    calls: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By its id, the number of the answer that asked for a call, and the tool."""
    failed: set[int] = field(default_factory=set)
    """The numbers of the answers of which a call has failed."""


class Turns:
    """The turns of all users, the latest last."""

    def __init__(self) -> None:
        self._turns: OrderedDict[tuple[str, str], _Turn] = OrderedDict()

    def answer(self, user: str, message: str, calls: Iterable[Called]) -> tuple[bool, bool]:
        """Note an answer; return whether it is its turn's first, and whether it is a repair."""
        turn = self._turns.setdefault((user, message), _Turn())
        self._turns.move_to_end((user, message))
        if len(self._turns) > MAX_TURNS:
            self._turns.popitem(last=False)
        is_repair = turn.answers in turn.failed
        turn.answers += 1
        turn.calls |= {call.id: (turn.answers, call.tool) for call in calls}
        return turn.answers == 1, is_repair

    def end(self, user: str, call: str, outcome: str) -> Ended | None:
        """Note the outcome of the user's latest call of that id, if it is known and has none."""
        for (owner, _), turn in reversed(self._turns.items()):
            if owner == user and call in turn.calls:
                number, tool = turn.calls.pop(call)
                is_first = outcome in FAILURES and number not in turn.failed
                if is_first:
                    turn.failed.add(number)
                return Ended(tool, is_repaired=is_first and turn.answers > number)
        return None
