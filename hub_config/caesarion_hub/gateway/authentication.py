"""
Authentication: the owner of the Hub token that a request carries.

Called by ``api`` and ``pages``; calls the hub's API through JupyterHub's own client.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import aiohttp
from jupyterhub.httpclient import JupyterHubHTTPClient
from jupyterhub.services.auth import HubAuth
from tornado.web import HTTPError

from caesarion_hub.gateway.config import Config
from caesarion_hub.gateway.errors import GatewayError

TOKEN_CACHE = 10.0
"""Seconds for which an owner of a token is cached: a revoked token works for that long at most."""

TOKEN_REFRESH = 5.0
"""Seconds after which a cached owner is looked up again, while requests go on; a made-up number."""

MAX_TOKENS = 10_000
"""Tokens in the cache; a made-up number."""

NAMES_CACHE = 60
"""Seconds that the name of a user or group which exists is not looked up again."""

HUB_TIMEOUT = 10.0
"""Seconds that the hub has to answer; a made-up number."""

MAX_SERVERS = 200
"""Users whose servers are listed, at most."""

NAMES_TIMEOUT = 2.0
"""Seconds that a page waits for the hub to check names; a made-up number."""

_SERVER = re.compile(r"access:servers!server=[^/]*/(.*)")
_BEARER = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Caller:
    """The user or service that calls, its server ("" is the default one), and its groups."""

    name: str
    server: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Owner:
    """The owner of a token, and the hub's ``record``; ``is_admitted``: it may use the model."""

    caller: Caller
    is_admitted: bool
    record: dict[str, Any]


_Owner = TypeVar("_Owner")


class TokenCache(Generic[_Owner]):
    """
    Owners of tokens, as ``look_up`` returns them; None for a token that the hub does not know.

    HubAuth (JupyterHub 6.1) has a cache, too. It counts from the hub's answer, so that a slow
    hub prolongs the life of a revoked token; it lets a user's requests wait whenever an entry
    expires; and it asks once for each of the requests that come at the same moment.
    """

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[_Owner | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._entries: dict[bytes, tuple[float, _Owner | None]] = {}
        self._lookups: dict[bytes, asyncio.Task[_Owner | None]] = {}

    async def owner(self, token: str) -> _Owner | None:
        """
        Return the owner of ``token``, as of ``TOKEN_CACHE`` seconds ago at most.

        Raises TimeoutError if the hub has to be asked and does not answer.
        """
        key = sha256(token.encode()).digest()
        asked, owner = self._entries.get(key, (-TOKEN_CACHE, None))
        age = self._clock() - asked
        if age >= TOKEN_CACHE:
            async with asyncio.timeout(HUB_TIMEOUT):
                return await asyncio.shield(self._lookup(key, token))
        if age >= TOKEN_REFRESH:
            self._lookup(key, token)
        return owner

    def _lookup(self, key: bytes, token: str) -> asyncio.Task[_Owner | None]:
        """Return the one look-up of a token that is under way."""
        if key not in self._lookups:
            self._lookups[key] = asyncio.create_task(self._refresh(key, token))
            self._lookups[key].add_done_callback(lambda task: self._ended(key, task))
        return self._lookups[key]

    async def _refresh(self, key: bytes, token: str) -> _Owner | None:
        asked = self._clock()
        owner = await self._look_up(token)
        if len(self._entries) >= MAX_TOKENS:
            self._entries.clear()
        self._entries[key] = asked, owner
        return owner

    def _ended(self, key: bytes, task: asyncio.Task[_Owner | None]) -> None:
        del self._lookups[key]
        if not task.cancelled():
            task.exception()  # of a look-up for nobody: until its entry expires nothing is lost


class HubClient:
    """The hub's API: tokens, running servers, names of users and groups."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._auth: Any = HubAuth(
            api_url=config.hub_api_url,
            access_scopes={f"access:services!service={config.service_name}"},
        )
        self._tokens = TokenCache(self._look_up)
        # Users and groups that exist, and the time until which that is assumed.
        self._known: dict[tuple[str, str], float] = {}

    async def close(self) -> None:
        """Close the connections to the hub."""
        await JupyterHubHTTPClient.loop_instance().close()

    async def authenticate(self, authorization: str) -> Caller:
        """
        Return the user (or service) whose token the header holds.

        Raises GatewayError: 401 without a token that the hub knows, 403 if the
        token may not use the gateway, 503 if the hub does not answer.
        """
        owner = await self._owner(authorization)
        if not owner.is_admitted:
            raise _missing_scope(self._auth.access_scopes, "use the model")
        return owner.caller

    async def _look_up(self, token: str) -> Owner | None:
        record = await self._auth.user_for_token(token, use_cache=False, sync=False)
        if record is None:
            return None
        servers = filter(None, map(_SERVER.fullmatch, record.get("scopes", ())))
        server = next((found[1] for found in servers), "")
        caller = Caller(record["name"], server, tuple(sorted(record.get("groups", ()))))
        return Owner(
            caller, bool(self._auth.check_scopes(self._auth.access_scopes, record)), record
        )

    async def servers(self) -> list[dict[str, Any]]:
        """Return the users' servers that run: ``user``, ``server``, times, and ``state``."""
        try:
            users = await self._read(f"users?state=active&limit={MAX_SERVERS}")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            message = "The hub does not answer which servers run. Try again in a moment."
            raise GatewayError(503, "hub_unreachable", message, "server_error") from error
        return [
            {
                "user": user["name"],
                "server": name,
                "started": _seconds(server.get("started")),
                "last_activity": _seconds(server.get("last_activity")),
                "state": "running" if server.get("ready") else _state(server.get("pending")),
            }
            for user in users
            for name, server in user.get("servers", {}).items()
        ]

    async def missing(self, asked: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return which of these users and groups, ``("user", "ada")``, the hub does not have."""
        now = time.monotonic()
        self._known = {key: until for key, until in self._known.items() if until > now}
        missing: set[tuple[str, str]] = set()
        try:
            async with asyncio.timeout(NAMES_TIMEOUT):
                unsure = set(asked) - self._known.keys()
                await asyncio.gather(*(self._learn(key, missing) for key in unsure))
        except TimeoutError:
            pass  # a name without an answer is not known to be missing
        return missing

    async def _learn(self, key: tuple[str, str], missing: set[tuple[str, str]]) -> None:
        """Look up one name. Cache positive answers only: a name may be created at any time."""
        kind, name = key
        try:
            await self._read(f"{kind}s/{quote(name, safe='')}")
            self._known[key] = time.monotonic() + NAMES_CACHE
        except aiohttp.ClientResponseError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                missing.add(key)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            pass  # no answer

    async def authorize(self, authorization: str, scope: str, purpose: str) -> None:
        """Raise GatewayError, as :meth:`authenticate` does, unless the token holds ``scope``."""
        owner = await self._owner(authorization)
        if not self._auth.check_scopes({scope}, owner.record):
            raise _missing_scope({scope}, purpose)

    async def _read(self, path: str) -> Any:
        url = f"{self._config.hub_api_url}/{path}"
        headers = {"Authorization": f"token {self._config.api_token}"}
        async with asyncio.timeout(HUB_TIMEOUT):
            answer = await JupyterHubHTTPClient.loop_instance().fetch(url, headers=headers)
            return await answer.json()

    async def _owner(self, authorization: str) -> Owner:
        token = _BEARER.fullmatch(authorization.strip())
        if not token:
            raise _unauthorized(
                "missing_token",
                "There is no token. Send a JupyterHub token as 'Authorization: Bearer <token>'.",
            )
        try:
            owner = await self._tokens.owner(token[1])
        except (HTTPError, TimeoutError, ValueError) as error:
            raise GatewayError(
                503,
                "hub_unreachable",
                "The hub could not say whose token this is. Ask again in a moment.",
                "server_error",
            ) from error
        if owner is None:
            raise _unauthorized(
                "invalid_token",
                "The hub does not know this token. Restart your server, or make a new token.",
            )
        return owner


def _state(pending: str | None) -> str:
    return "stopping" if pending == "stop" else "starting"


def _seconds(time: str | None) -> str:
    return (time or "")[:19].replace("T", " ")


def _missing_scope(scopes: set[str], purpose: str) -> GatewayError:
    lacking = ", ".join(sorted(scopes))
    return GatewayError(403, "missing_scope", f"This token may not {purpose}: it lacks {lacking}.")


def _unauthorized(code: str, message: str) -> GatewayError:
    return GatewayError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
