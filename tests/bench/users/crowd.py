"""
The simulated users: they come, start servers, have a chat open, and are removed again.

What an open chat asks for does not depend on its answers: a request that is due is sent, however
many are under way. So a slow hub is not spared, and the rates grow with the number of users.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from tests.bench.users import parts
from tests.bench.users.hub import PREFIX, Hub, RefusedError, User
from tests.bench.users.parts import Reading
from tests.bench.users.samples import FailedError, Samples

START_WITHIN = 300.0
"""Seconds that a server may take to start."""

REMOVED_WITHIN = 600.0
"""Seconds that the removal of all may take."""

REPORTS_EVERY = 300.0
"""Seconds between two reports of a server's activity, as ``jupyterhub-singleuser`` sends them."""

CHECKS_EVERY = 300.0
"""Seconds for which a server believes a token that the hub has confirmed (HubOAuth)."""

POLLS_EVERY = 10.0
"""Seconds between two polls of a page of JupyterLab (kernels, sessions)."""

PAGES_EVERY = 0.5
"""Seconds between two pages of the hub, whoever asks for them."""

START, PAGE, WORD = "a server starts", "the hub's page", "the gateway's first word"

Action = Callable[[User], Coroutine[None, None, None]]


@dataclass(frozen=True)
class Plan:
    """What is to be simulated."""

    sizes: Sequence[int]
    """Numbers of users, ascending: each is measured."""
    seconds: float = 60.0
    """How long their chats are open at each size."""
    burst: int = 20
    """How many servers start at a time; none at all for 0."""
    questions: float = 0.0
    """Questions to the model, per user and minute."""
    model: str = ""
    """The model that is asked; the first that the gateway lists if it is empty."""


@dataclass(frozen=True)
class Size:
    """What was measured with so many users."""

    users: int
    arrived: int
    """How many of them came for this: the others were there before."""
    samples: Samples
    came: Reading
    """When they had come."""
    started: Reading
    """When all servers had started."""
    worked: Reading
    """When their chats had been open."""


class Crowd:
    """The simulated users of one hub; ``proxy`` is the address of its proxy's metrics, if known."""

    def __init__(self, hub: Hub, plan: Plan, proxy: str) -> None:
        self._hub = hub
        self._plan = plan
        self._proxy = proxy
        self._users: list[User] = []
        self._model = plan.model

    async def measure(self) -> list[Size]:
        """Measure each size in turn."""
        return [await self._measure(size) for size in self._plan.sizes]

    async def measure_and_remove(self) -> list[Size]:
        """Measure each size in turn, and remove everything, also when this is cancelled."""
        if left := await self._hub.simulated():
            raise RefusedError(
                f"The hub has {len(left)} users named {PREFIX}... from another run. If it is over, "
                "remove them with --remove."
            )
        try:
            return await self.measure()
        finally:
            tell("Removing all simulated users ...")
            await remove(self._hub)
            tell("All simulated users are removed.")

    async def _measure(self, size: int) -> Size:
        samples, hub = Samples(), self._hub
        tell(f"{size} users: making them ...")
        arriving = await hub.add_users(range(len(self._users), size))
        self._users += arriving
        came = await parts.read(hub, self._proxy)
        if self._plan.burst:
            tell(f"{size} users: starting {len(arriving)} servers ...")
            await self._start(arriving, samples)
        tell(f"{size} users: chats are open for {self._plan.seconds:g} s ...")
        started = await parts.read(hub, self._proxy)
        await self._work(samples)
        worked = await parts.read(hub, self._proxy)
        return Size(size, len(arriving), samples, came, started, worked)

    async def _start(self, users: Sequence[User], samples: Samples) -> None:
        turn = asyncio.Semaphore(self._plan.burst)

        async def start(user: User) -> None:
            async with turn:
                with samples.timed(START):
                    await self._hub.start(user, START_WITHIN)

        await asyncio.gather(*(start(user) for user in users))

    async def _work(self, samples: Samples) -> None:
        """Let every chat be open for the plan's time."""
        count, plan = len(self._users), self._plan
        gaps: dict[Action, float] = {
            partial(self._read_page, samples): PAGES_EVERY,
            partial(self._read_record, samples): PAGES_EVERY,
            partial(self._report, samples): REPORTS_EVERY / count,
            partial(self._check_token, samples): CHECKS_EVERY / count,
        }
        if plan.burst:
            gaps[partial(self._poll, samples)] = POLLS_EVERY / count
        if plan.questions:
            self._model = self._model or await self._hub.first_model(self._users[0])
            gaps[partial(self._ask, samples)] = 60 / plan.questions / count
        async with asyncio.TaskGroup() as tasks:
            for action, gap in gaps.items():
                tasks.create_task(self._repeat(action, gap))

    async def _repeat(self, action: Action, gap: float) -> None:
        """Begin ``action`` every ``gap`` seconds, each time for the next user."""
        began = time.perf_counter()
        users = itertools.cycle(self._users)
        async with asyncio.TaskGroup() as tasks:
            for number in range(max(1, round(self._plan.seconds / gap))):
                await asyncio.sleep(began + number * gap - time.perf_counter())
                tasks.create_task(action(next(users)))

    async def _read_page(self, samples: Samples, _: User) -> None:
        with samples.timed(PAGE):
            await self._get(f"{self._hub.url}/hub/login", {})

    async def _read_record(self, samples: Samples, user: User) -> None:
        with samples.timed("the hub's record of a user"):
            await self._get(f"{self._hub.api}/users/{user.name}", self._hub.headers)

    async def _report(self, samples: Samples, user: User) -> None:
        now = datetime.now(UTC).isoformat()
        servers = {"": {"last_activity": now}} if self._plan.burst else {}
        body = {"last_activity": now, "servers": servers}
        url = f"{self._hub.api}/users/{user.name}/activity"
        with samples.timed("a server reports activity"):
            async with self._hub.http.post(url, json=body, headers=user.headers) as answer:
                answer.raise_for_status()

    async def _check_token(self, samples: Samples, user: User) -> None:
        with samples.timed("a server asks whose token it is"):
            await self._get(f"{self._hub.api}/user", user.headers)

    async def _poll(self, samples: Samples, user: User) -> None:
        with samples.timed("a page asks its server"):
            await self._get(f"{self._hub.url}/user/{user.name}/api/kernels", user.headers)

    async def _ask(self, samples: Samples, user: User) -> None:
        url = f"{self._hub.url}/services/gateway/v1/chat/completions"
        question = [{"role": "user", "content": "Say hello."}]
        body = {"model": self._model, "messages": question, "stream": True}
        began = time.perf_counter()
        with samples.timed("the gateway's whole answer"):
            async with self._hub.http.post(url, json=body, headers=user.headers) as answer:
                answer.raise_for_status()
                is_first = True
                async for line in answer.content:
                    if is_first and line.startswith(b"data: {"):
                        is_first = False
                        samples.seconds[WORD].append(time.perf_counter() - began)
            if is_first:
                raise FailedError("an answer without a word")

    async def _get(self, url: str, headers: dict[str, str]) -> None:
        async with self._hub.http.get(url, headers=headers, allow_redirects=False) as answer:
            answer.raise_for_status()
            await answer.read()


def tell(what: str) -> None:
    """Say what is being done, beside the report."""
    print(what, file=sys.stderr)


async def remove(hub: Hub) -> None:
    """Remove all simulated users; raise RefusedError if some are still there."""
    if left := await hub.remove_users(REMOVED_WITHIN):
        raise RefusedError(
            f"{len(left)} users named {PREFIX}... could not be removed within "
            f"{REMOVED_WITHIN:.0f} seconds. Try again with --remove."
        )
