"""
A property of the ledger: whatever happens in whatever order, no request is lost or doubled.

Two replicas on one database open, settle, settle again, die and come back; a
plain account beside them says what must be in the ledger.
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from caesarion_hub.gateway.policy.budgets import Budget
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.commands import Heartbeat, Reservation, Settlement, milliseconds
from caesarion_hub.gateway.store.database import Database
from caesarion_hub.gateway.store.ledger import Ledger
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import delete, func, select

LIMIT = 1000
MOST = 90
"""Tokens that one answer takes at most."""

BEAT = Heartbeat(lease=600_000, retention_days=400, audit_retention_days=0)
BUDGETS = [
    Budget("user", "", "day", LIMIT // 3, None),
    Budget("everyone", "", "month", LIMIT, None),
]
WHICH = st.integers(0, 1)


class Interleavings(RuleBasedStateMachine):
    """Two replicas; ``open`` are the requests under way by replica, ``spent`` those settled."""

    @initialize()
    def start(self) -> None:
        self.folder = TemporaryDirectory()
        self.database = Database(f"sqlite:///{Path(self.folder.name)}/gateway.sqlite")
        self.database.migrate()
        self.ledgers = [self.make(), self.make()]
        self.open: list[dict[str, Reservation]] = [{}, {}]
        self.old: list[Settlement] = []
        self.spent: dict[str, int] = {}
        self.users: dict[str, str] = {}

    def make(self) -> Ledger:
        ledger = Ledger(self.database, uuid4().hex, BUDGETS)
        ledger.apply([BEAT])
        return ledger

    @rule(which=WHICH, users=st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
    def ask(self, which: int, users: list[str]) -> None:
        reservations = [
            Reservation(uuid4().hex, milliseconds(), user, "", (), "m", "", "", 10, MOST, 0, MOST)
            for user in users
        ]
        for reservation in self.ledgers[which].apply(reservations):
            if isinstance(reservation, Reservation):
                self.open[which][reservation.id] = reservation
                self.users[reservation.id] = reservation.user

    @rule(which=WHICH, number=st.integers(0, 20), tokens=st.integers(0, MOST), twice=st.booleans())
    def settle(self, which: int, number: int, tokens: int, twice: bool) -> None:
        if not self.open[which]:
            return
        reservation = list(self.open[which].values())[number % len(self.open[which])]
        made = Settlement(reservation, milliseconds(), completion_tokens=tokens)
        self.ledgers[which].apply([made, replace(made, completion_tokens=5)][: 1 + twice])
        if not twice:
            self.spent[reservation.id] = tokens
        else:  # either of them, but one
            with self.database.reading() as connection:
                row = tables.request.c
                mine = select(row.completion_tokens).where(row.id == reservation.id)
                found = connection.scalar(mine)
            assert found in (tokens, 5)
            self.spent[reservation.id] = found
        del self.open[which][reservation.id]
        self.old.append(made)

    @rule(which=WHICH, number=st.integers(0, 20))
    def settle_again(self, which: int, number: int) -> None:
        if self.old:
            self.ledgers[which].apply([self.old[number % len(self.old)]])

    @rule(which=WHICH)
    def die_and_be_found(self, which: int) -> None:
        dead = self.ledgers[which]
        with self.database.exclusive() as connection:
            gone = tables.replica.c.id == dead._replica
            connection.execute(delete(tables.replica).where(gone))
        self.ledgers[1 - which].apply([BEAT])
        self.spent |= {one.id: one.reserved_tokens for one in self.open[which].values()}
        self.old += [Settlement(one, milliseconds()) for one in self.open[which].values()]
        self.open[which] = {}
        self.ledgers[which] = self.make()

    @invariant()
    def the_ledger_is_the_account(self) -> None:
        if not hasattr(self, "database"):
            return
        request, spending = tables.request.c, tables.spending.c
        with self.database.reading() as connection:
            rows = connection.execute(select(request.id, request.finished)).all()
            sums = {
                name: (int(requests), int(tokens))
                for name, requests, tokens in connection.execute(
                    select(
                        spending.name,
                        func.sum(spending.requests),
                        func.sum(spending.prompt_tokens + spending.completion_tokens),
                    )
                    .where(spending.period == "day")
                    .group_by(spending.name)
                )
            }
        under_way = {*self.open[0], *self.open[1]}
        assert {one for one, finished in rows if finished is None} == under_way
        assert sorted(one for one, _ in rows) == sorted([*under_way, *self.spent])
        for name in ("a", "b", "c", ""):
            mine = [tokens for one, tokens in self.spent.items() if name in ("", self.users[one])]
            assert sums.get(name, (0, 0)) == (len(mine), sum(mine))
        # The last answer of each user may reserve less than it takes: what is left of their own.
        assert sums.get("", (0, 0))[1] < LIMIT + 3 * MOST
        assert all(sums.get(name, (0, 0))[1] < LIMIT // 3 + MOST for name in ("a", "b", "c"))

    def teardown(self) -> None:
        if hasattr(self, "database"):
            with closing(self.database):
                self.folder.cleanup()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)
