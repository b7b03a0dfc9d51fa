"""
Sequences of requests of two users, tried on a real database: nobody's keep the other out.

Ada does what she likes: any number of tokens, streams that never end, gateways that are
killed. Bob may always use what is left of the budget that they share.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.budgets import Budget
from caesarion_hub.gateway.policy.limits import reservation
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.commands import (
    Heartbeat,
    Reservation,
    Settlement,
    milliseconds,
)
from caesarion_hub.gateway.store.database import Database
from caesarion_hub.gateway.store.ledger import Ledger
from caesarion_hub.values.gateway import Reservations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

BEAT = Heartbeat(lease=60_000, retention_days=400, audit_retention_days=0)
VALUES = Reservations(max=50_000)
OWN, SHARED = 20_000, 100_000
FAIR = 2 * VALUES.output
PRICE = 1_000  # billionths of a dollar for a token

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("ask"),
            st.integers(0, 10**7),  # tokens of the question
            st.none() | st.integers(1, 2**31 - 1),  # its bound for the answer
            st.integers(1, 128),  # answers
        ),
        st.tuples(st.just("end"), st.integers(0, 9), st.floats(0, 1)),
        st.tuples(st.just("kill")),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    file = tmp_path_factory.mktemp("ledger") / "gateway.sqlite"
    with closing(Database(f"sqlite:///{file}")) as database:
        database.migrate()
        yield database


class World:
    """A ledger with a budget of each user's own, and one that all share."""

    def __init__(self, database: Database, *budgets: Budget) -> None:
        self._database = database
        self._budgets = budgets
        with database.exclusive() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(table.delete())
        self._start()
        self.under_way: list[Reservation] = []

    def _start(self) -> None:
        self._ledger = Ledger(self._database, uuid4().hex, self._budgets)
        self._ledger.apply([BEAT])

    def ask(
        self, user: str, prompt: int, output: int | None = None, choices: int = 1
    ) -> Reservation | None:
        """Ask as a user; return what is reserved, or nothing if it is refused."""
        wanted = reservation("m", prompt, output, choices, VALUES)
        asked = Reservation(
            *(uuid4().hex, milliseconds(), user, "", (), "m", "", ""),
            prompt_tokens=wanted.prompt,
            reserved_tokens=wanted.total,
            reserved_nanos=wanted.total * PRICE,
            fair_tokens=FAIR,
            fair_nanos=FAIR * PRICE,
        )
        (result,) = self._ledger.apply([asked])
        assert isinstance(result, Reservation | GatewayError)
        if isinstance(result, GatewayError):
            assert result.code in ("budget_reached", "budget_reserved")
            return None
        return result

    def act(self, step: tuple[Any, ...]) -> None:
        """Do one of Ada's steps."""
        match step:
            case ("ask", prompt, output, choices):
                if admitted := self.ask("ada", prompt, output, choices):
                    self.under_way.append(admitted)
            case ("end", index, part) if self.under_way:
                ended = self.under_way.pop(index % len(self.under_way))
                tokens = int(ended.reserved_tokens * part)
                nanos = int((ended.reserved_nanos or 0) * part)
                done = Settlement(ended, milliseconds(), completion_tokens=tokens, nanos=nanos)
                self._ledger.apply([done])
            case ("kill",):
                with self._database.exclusive() as connection:
                    connection.execute(tables.replica.delete())
                self._start()
                self.under_way.clear()

    def taken(self, user: str) -> tuple[int, int]:
        """Return the tokens and nanos that a user has used, or may use by what is reserved."""
        query = select(tables.request).where(tables.request.c.user == user)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return (
            sum(
                one.reserved_tokens
                if one.finished is None
                else one.prompt_tokens + one.completion_tokens
                for one in rows
            ),
            sum((one.reserved_nanos if one.finished is None else one.nanos) or 0 for one in rows),
        )


UNITS: dict[str, Callable[[int], dict[str, int | None]]] = {
    "tokens": lambda amount: {"tokens": amount, "nanos": None},
    "dollars": lambda amount: {"tokens": None, "nanos": amount * PRICE},
}


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_nobody_takes_more_from_others_than_their_own_budget(
    database: Database, unit: str, steps: list[tuple[Any, ...]]
) -> None:
    world = World(
        database,
        Budget("user", "ada", "day", **UNITS[unit](OWN)),
        Budget("everyone", "", "day", **UNITS[unit](SHARED)),
    )
    for step in steps:
        world.act(step)
        tokens, nanos = world.taken("ada")
        assert (tokens if unit == "tokens" else nanos / PRICE) <= OWN
    # What Ada cannot take is there for Bob, in questions of a usual size.
    usual = FAIR
    questions = (SHARED - OWN) // usual
    for _ in range(questions):
        admitted = world.ask("bob", usual // 2, usual // 2)
        assert admitted
        assert admitted.reserved_tokens == usual
        done = Settlement(admitted, milliseconds(), completion_tokens=usual, nanos=usual * PRICE)
        world._ledger.apply([done])


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_without_a_budget_of_their_own_reservations_of_one_user_keep_nobody_out(
    database: Database, unit: str, steps: list[tuple[Any, ...]]
) -> None:
    world = World(database, Budget("everyone", "", "day", **UNITS[unit](SHARED)))
    for step in steps:
        world.act(step)
    used = world.taken("ada")[0] - sum(one.reserved_tokens for one in world.under_way)
    if SHARED - used > 2 * FAIR:
        assert world.ask("bob", 10, 10)


@given(st.integers(0, 10**9), st.none() | st.integers(1, 2**31 - 1), st.integers(1, 128))
def test_what_one_request_reserves_is_bounded_by_a_value(
    prompt: int, output: int | None, choices: int
) -> None:
    usage = reservation("m", prompt, output, choices, VALUES)
    assert 0 <= usage.prompt <= usage.total <= VALUES.max
    known = VALUES.model_copy(update={"longest_answers": {"m*": 100}})
    assert reservation("m", 5, output, choices, known).completion <= 100 * choices
