"""
What the hub enforces about sandboxes: how many, for how long, and that they end.

Called by ``application``. In the hub's process, because there a user's sandboxes are counted
and started in one step, and because it is the only process that can always stop a server: the
api service, of which there may be many and which may be away, needs no right of its own.
Deadlines are in the hub's database, so that they hold over restarts of everything.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.utils import maybe_future
from tornado.web import HTTPError

from caesarion_hub import sandboxes
from caesarion_hub.sandboxes import SandboxError, is_sandbox

CHECK_INTERVAL = 2.0
"""Seconds between looks for sandboxes that have ended or must end; an estimate."""

ACTIVITY_INTERVAL = timedelta(seconds=30)
"""Time between two notes that a sandbox is in use, for the idle culler."""

SETTING = "caesarion_sandboxes"
"""The key of :class:`Rules` in the hub's settings."""


class Rules:
    """The operator's values; ``named`` says whether users may start other named servers."""

    def __init__(
        self,
        *,
        enabled: bool,
        per_user: int,
        timeout: int,
        max_timeout: int,
        profiles: frozenset[str],
        named: bool,
    ) -> None:
        self.enabled = enabled
        self.per_user = per_user
        self.timeout = timeout
        self.max_timeout = max_timeout
        self.profiles = profiles
        self.named = named


class NamedServerRules(BaseHandler):  # type: ignore[misc]
    """For the handlers that start named servers: a sandbox has other rules than the rest."""

    @property
    def rules(self) -> Rules:
        """The operator's values."""
        rules: Rules = self.settings[SETTING]
        return rules

    async def _check_named_server_request(
        self, user: Any, server_name: str, display_name: str, check_limit: bool = True
    ) -> None:
        """
        Check JupyterHub's rules for named servers, and ours.

        Private in JupyterHub 6.1, and called by all that creates or starts a named server.
        """
        if is_sandbox(server_name):
            self.check_sandbox(user, server_name)
        elif not self.rules.named:
            raise HTTPError(400, "Named servers are not enabled.")
        elif check_limit and self._is_full(user, server_name, await self._named_limit()):
            raise HTTPError(400, f"User {user.name} already has the maximum of named servers.")
        await super()._check_named_server_request(user, server_name, display_name, False)

    async def _named_limit(self) -> int:
        limit: int = await self.get_current_user_named_server_limit()
        return limit

    def _is_full(self, user: Any, server_name: str, limit: int) -> bool:
        names = [name for name in user.orm_spawners if name and not is_sandbox(name)]
        return 0 < limit <= len(names) and server_name not in names

    def check_sandbox(self, user: Any, server_name: str) -> None:
        """Refuse to start a sandbox; programs start them, and each only once."""
        raise HTTPError(
            400, f"'{server_name}' is a name of a sandbox, which programs start by the API."
        )


class ServerAPIHandler(NamedServerRules, UserServerAPIHandler):  # type: ignore[misc]
    """JupyterHub's API of one server, where sandboxes are created."""

    def check_sandbox(self, user: Any, server_name: str) -> None:
        """Refuse a sandbox that exists, or is one too many; 429 for that."""
        if self.request.method != "POST":
            super().check_sandbox(user, server_name)
        if not self.rules.enabled:
            raise HTTPError(400, "Sandboxes are not enabled here (api.sandboxes.enabled).")
        if not sandboxes.NAME.fullmatch(server_name):
            raise HTTPError(400, f"'{server_name}' is not a name that a sandbox can have.")
        mine = [name for name in user.orm_spawners if is_sandbox(name)]
        if server_name in mine:
            raise HTTPError(400, f"The sandbox '{server_name}' exists. Create another.")
        if len(mine) >= self.rules.per_user:
            raise HTTPError(
                429,
                f"You have {len(mine)} sandboxes, and {self.rules.per_user} are allowed. "
                "Delete one, or wait until one ends.",
            )

    def get_server_json_body(self) -> dict[str, Any]:
        """Return the body of the request; a sandbox's with its deadline."""
        body: dict[str, Any] = super().get_server_json_body()
        server_name = (*self.path_args, "", "")[1]
        if self.request.method == "POST" and is_sandbox(server_name):
            rules = self.rules
            try:
                body["user_options"] = sandboxes.new_options(
                    body["user_options"], datetime.now(UTC), rules.timeout, rules.max_timeout
                )
            except SandboxError as error:
                raise HTTPError(400, str(error)) from error
            self._check_profile(body["user_options"].get("profile"))
        return body

    def _check_profile(self, profile: object) -> None:
        profiles = self.rules.profiles
        if profile is not None and profile not in profiles:
            known = ", ".join(sorted(profiles)) or "none"
            raise HTTPError(
                400, f"There is no profile '{str(profile)[:100]}'. The profiles are: {known}."
            )


class TimeoutHandler(NamedServerRules, APIHandler):  # type: ignore[misc]
    """``POST users/NAME/sandboxes/ID/timeout`` with ``{"timeout": seconds from now}``."""

    @needs_scope("start:servers")  # type: ignore[untyped-decorator]
    async def post(self, user_name: str, server_name: str) -> None:
        """Move the deadline; answer the server's model, or 404, or 400 with a sentence."""
        user = self.find_user(user_name)
        if user is None or not is_sandbox(server_name) or server_name not in user.orm_spawners:
            raise HTTPError(404)
        body = self.get_json_body()
        timeout = body.get("timeout") if isinstance(body, dict) else None
        if not isinstance(timeout, int) or isinstance(timeout, bool):
            raise HTTPError(400, "timeout must be a whole number of seconds.")
        spawner = user.spawners[server_name]
        options = spawner.orm_spawner.user_options or {}
        if sandboxes.has_expired(options, datetime.now(UTC)):
            raise HTTPError(404)
        try:
            moved = sandboxes.prolonged(options, datetime.now(UTC), timeout, self.rules.max_timeout)
        except SandboxError as error:
            raise HTTPError(400, str(error)) from error
        spawner.user_options = spawner.orm_spawner.user_options = moved
        self.db.commit()
        self.write(self.server_model(spawner, user=user))


HANDLERS = [
    (r"/api/users/([^/]+)/servers/([^/]*)", ServerAPIHandler),
    (r"/api/users/([^/]+)/sandboxes/([^/]+)/timeout", TimeoutHandler),
]


class DeadlineKeeper:
    """
    Ends sandboxes at their deadline, and removes those that have ended.

    A sandbox is not culled for being idle: it has a deadline for that.
    """

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._task: asyncio.Task[None] | None = None
        self._inactive: set[Any] = set()

    def start(self) -> None:
        """Begin to look, in the background."""
        self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            try:
                await self.check(datetime.now(UTC))
            except Exception:
                self._hub.log.exception("Looking for sandboxes to end has failed.")
            await asyncio.sleep(CHECK_INTERVAL)

    async def check(self, now: datetime) -> None:
        """Look at every sandbox once."""
        found = (
            self._hub.db.query(orm.Spawner)
            .filter(orm.Spawner.name.startswith(sandboxes.PREFIX))
            .all()
        )
        inactive = {spawner for each in found if not (spawner := self._spawner(each)).active}
        # Twice in a row: JupyterHub makes the record of a server some moments before it starts.
        ended, self._inactive = inactive & self._inactive, inactive
        # One after the other the slow end of one would keep the others alive.
        async with asyncio.TaskGroup() as ending:
            for each in found:
                if end := self._judge(each, ended, now):
                    ending.create_task(self._guarded(end))
        self._hub.db.commit()

    def _spawner(self, each: orm.Spawner) -> Any:
        return self._hub.users[each.user].spawners[each.name]

    def _judge(self, each: orm.Spawner, ended: set[Any], now: datetime) -> Callable[[], Any] | None:
        """Return what must be done about a sandbox; nothing while it starts or stops."""
        spawner = self._spawner(each)
        user = spawner.user
        if spawner in ended:
            return lambda: self._remove(user, spawner)
        if spawner.pending or not spawner.active:
            return None
        if sandboxes.has_expired(each.user_options, now):
            return lambda: self._end(user, spawner)
        moment = now.replace(tzinfo=None)
        if each.last_activity is None or moment - each.last_activity > ACTIVITY_INTERVAL:
            each.last_activity = moment
        return None

    async def _guarded(self, end: Callable[[], Any]) -> None:
        try:
            await end()
        except Exception:
            self._hub.log.exception("A sandbox could not be ended; this is tried again.")

    async def _end(self, user: Any, spawner: Any) -> None:
        self._hub.log.info("Stopping %s: its deadline has come.", spawner._log_name)
        spawner._stop_pending = True  # before anything is awaited, as JupyterHub's own handler
        try:
            try:
                await self._hub.proxy.delete_user(user, spawner.name)
            except Exception:
                self._hub.log.exception("The route of %s could not be removed.", spawner._log_name)
            await user.stop(spawner.name)
        finally:
            spawner._stop_pending = False
        await self._remove(user, spawner)

    async def _remove(self, user: Any, spawner: Any) -> None:
        """Remove what a sandbox leaves behind, as JupyterHub's API does with ``remove``."""
        if user.spawners.get(spawner.name) is not spawner or spawner.active:
            return
        await maybe_future(user._delete_spawner(spawner))
        self._hub.db.delete(spawner.orm_spawner)
        user.spawners.pop(spawner.name, None)
        self._hub.db.commit()
