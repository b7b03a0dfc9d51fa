"""
The order of a move from one colour to the other, and the way back.

Called by ``__main__``. Asks ``cluster`` for everything that is done and ``smoke`` whether
the new release works. What happens is told with ``say``, one line each.
"""

import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from deploy.bluegreen import smoke
from deploy.bluegreen.cluster import Cluster, FailedError, idle
from deploy.bluegreen.route import State, accepted_by, make_route, read_route
from deploy.bluegreen.smoke import SmokeError, Sticky, Visitor

Say = Callable[[str], None]

ACCEPTED_WITHIN = 60.0
"""Seconds that the Gateway has to take a changed route; a made-up number."""

EVERY = 1.0
"""Seconds from one look at the new release to the next."""

FAILURES = 3
"""Looks in a row that may fail: one lost request is not a bad release."""


@dataclass(frozen=True)
class Move:
    """How to move."""

    cluster: Cluster
    url: str
    """The hub's address, through the Gateway, with its base URL."""
    steps: Sequence[int] = (10, 50, 100)
    """Percent of new browsers that go to the new release; the last is 100."""
    watch: float = 60.0
    """Seconds for which each step is watched."""
    user: str = "smoke-test"
    say: Say = print

    def state(self) -> State | None:
        """Return what the route does now, None if there is none."""
        route = self.cluster.route()
        return read_route(route) if route else None

    def deploy(self) -> None:
        """
        Install the idle colour, try it, and move new browsers there; go back on any failure.

        Raises FailedError: browsers are then where they were before.
        """
        before = self.state()
        if before and before.new:
            raise FailedError(
                f"Users of {before.live} and {before.new} are told apart at the moment. "
                "`finish` the last move, or go `back`, before the next one."
            )
        colour = idle(before.live if before else None)
        cookie = f"{colour}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
        self.cluster.ensure_users_namespace()
        try:
            self.say(f"Installing {self.cluster.release(colour)}.")
            self.cluster.install(colour, cookie)
            if before is None:
                self._write(State(colour, {colour: cookie}))
                self._wait_for(cookie, sent="")
                self._try(colour, cookie)
            else:
                self._take_over(before, colour, cookie)
        except (FailedError, SmokeError) as error:
            try:
                self._go_back(before, colour, cookie)
            except FailedError as another:
                raise FailedError(f"{error} Going back failed, too: {another}") from error
            raise FailedError(f"{error} {self._where(before)}") from error

    def back(self) -> None:
        """Send everybody to the live colour, and remove the other one."""
        state = self._needed()
        if state.new is None:
            raise FailedError(f"There is nothing to go back from: only {state.live} is there.")
        self._go_back(state, state.new, state.cookies[state.new])

    def finish(self) -> None:
        """Make the new colour the live one; remove the old one, which must have no servers."""
        state = self._needed()
        if state.new is None or state.new_weight < 100:
            raise FailedError("No move is complete. `deploy` moves to the other colour.")
        if servers := self.cluster.servers(state.live):
            raise FailedError(
                f"{servers} servers of users run in {state.live}. They end when they are idle "
                "(cull.timeout), or when an administrator stops them; then `finish` again."
            )
        self._write(State(state.new, {state.new: state.cookies[state.new]}))
        self._wait_for(state.cookies[state.new], sent=state.cookies[state.live])
        self.cluster.uninstall(state.live)
        self.say(f"{state.live} is gone; {state.new} serves everybody.")

    def upgrade(self) -> None:
        """Upgrade the live colour where it is: users' servers go on, no browser moves."""
        state = self._needed()
        self.cluster.install(state.live, state.cookies[state.live])
        self.say(f"{self.cluster.release(state.live)} is upgraded.")

    def _take_over(self, before: State, colour: str, cookie: str) -> None:
        state = replace(before, cookies={**before.cookies, colour: cookie})
        self._write(state)
        self._wait_for(cookie, sent=cookie)
        self._wait_for(before.cookies[before.live], sent="")
        self._try(colour, cookie)
        for weight in self.steps:
            self._write(replace(state, new_weight=weight))
            self.say(f"{weight} % of new browsers go to {colour}; watching for {self.watch:g} s.")
            self._watch(colour, cookie)
        self.say(
            f"All new browsers go to {colour}, and whoever starts a server. Users stay in "
            f"{before.live} while their servers run: `finish` when they have ended."
        )

    def _try(self, colour: str, cookie: str) -> None:
        answer = smoke.visit(self.url, self.user, cookie)
        self.say(f"{colour} works. Its chat says: {answer.strip()}")

    def _watch(self, colour: str, cookie: str) -> None:
        """Raise FailedError if the release stops working within ``watch`` seconds."""
        failed = 0
        deadline = time.monotonic() + self.watch
        while True:
            trouble = self._watch_pages(cookie)
            failed = failed + 1 if trouble else 0
            if failed == FAILURES:
                raise FailedError(f"{colour} does not answer: {trouble}.")
            if troubles := self.cluster.troubles(colour):
                raise FailedError(f"{colour} has trouble: {'; '.join(troubles)}.")
            if time.monotonic() >= deadline:
                return
            time.sleep(EVERY)

    def _watch_pages(self, cookie: str) -> str:
        """Return what is wrong with the release's login or gateway, or an empty string."""
        opener = urllib.request.build_opener(Sticky(cookie))
        for path in ("hub/login", "services/gateway/health"):
            url = f"{self.url.rstrip('/')}/{path}"
            try:
                opener.open(url, timeout=10).close()
            except OSError as error:
                return f"{url}: {error}"
        return ""

    def _write(self, state: State) -> None:
        """Change the route, and wait until the Gateway serves it."""
        self.cluster.apply(make_route(self.cluster.place, state))
        deadline = time.monotonic() + ACCEPTED_WITHIN
        why = "it is gone"
        while time.monotonic() < deadline:
            route = self.cluster.route()
            why = accepted_by(route) if route else why
            if not why:
                return
            time.sleep(0.2)
        raise FailedError(f"The HTTPRoute {self.cluster.place.name} is not served: {why}.")

    def _wait_for(self, cookie: str, sent: str) -> None:
        """
        Wait until a browser that sends a cookie reaches the release of ``cookie``.

        A Gateway says that it serves a route some time before it does, and not every
        Gateway can tell browsers apart by a cookie: then nothing may go on.
        """
        deadline = time.monotonic() + ACCEPTED_WITHIN
        while True:
            try:
                found = Visitor(self.url, self.user, sent or None, seconds=10).release()
            except SmokeError as error:
                found = str(error)
            if found == cookie:
                return
            if time.monotonic() > deadline:
                remedy = (
                    "The Gateway must match headers by regular expression, as Traefik does."
                    if found
                    else "That sets no cookie: leave JupyterHub.tornado_settings out of hub.config."
                )
                raise FailedError(
                    f"A browser with {f'the cookie {sent}' if sent else 'no cookie'} should reach "
                    f"{cookie}, but reaches {found or 'another release'}. {remedy}"
                )
            time.sleep(0.2)

    def _go_back(self, before: State | None, colour: str, cookie: str) -> None:
        """Take the route from a colour, and remove that when no browser reaches it any more."""
        if before:
            live = before.cookies[before.live]
            self._write(State(before.live, {before.live: live}))
            self._wait_for(live, sent=cookie)
            self.cluster.uninstall(colour)
            self.say(f"{colour} is removed; {before.live} serves everybody.")

    def _where(self, before: State | None) -> str:
        if before:
            return f"Everybody is served by {before.live}, as before."
        return "It was the first release, and is left as it is."

    def _needed(self) -> State:
        state = self.state()
        if state is None:
            raise FailedError("There is no route yet. `deploy` makes it with the first release.")
        return state
