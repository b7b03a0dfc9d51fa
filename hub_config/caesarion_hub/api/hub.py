"""
The hub's API, called with the caller's own token: who calls, and their servers.

Used by ``servers``, ``rest`` and ``e2b``. Raises :class:`~caesarion_hub.api.errors.ApiError`.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx

from caesarion_hub.api.errors import ApiError, from_answer
from caesarion_hub.sandboxes import is_sandbox

TOKEN_CACHE = 10.0
"""Seconds for which a token's owner is remembered: a revoked token works so long at most."""

MAX_TOKENS = 10_000
"""Tokens that are remembered, at most; a made-up number."""

HUB_TIMEOUT = 30.0
"""Seconds that the hub has to answer; it may start a server for ten of them."""

PAGE = 200
"""Users in one answer of the hub, where an administrator lists all sandboxes."""

SCOPE = "access:services!service=api"

_UNKNOWN = "The token is unknown or has expired. Create one at /hub/token, and send it as a header."
_NO_ANSWER = "The hub does not answer. Try again in some seconds."


@dataclass(frozen=True)
class Server:
    """A server of a user's; ``url`` is its path, or an address where users have host names."""

    user: str
    name: str
    url: str
    ready: bool
    pending: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Caller:
    """Who calls, with which token, and the servers that the hub knows of them."""

    name: str
    token: str
    scopes: frozenset[str]
    servers: Mapping[str, Server]

    @property
    def sees_all(self) -> bool:
        """Whether this is an administrator, who may list the servers of all users."""
        return {"list:users", "read:servers"} <= self.scopes or "admin:servers" in self.scopes

    def home(self) -> Server:
        """Return the user's own server; the hub tells its address when it runs."""
        asleep = Server(self.name, "", f"/user/{quote(self.name)}/", ready=False)
        return self.servers.get("", asleep)


class Hub:
    """A client of the hub's API."""

    def __init__(self, api_url: str, http: httpx.AsyncClient) -> None:
        self._url = api_url
        self._http = http
        self._known: OrderedDict[bytes, tuple[float, Caller | None]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Future[Caller | None]] = {}

    async def caller(self, token: str, *, fresh: bool = False) -> Caller:
        """Return the owner of a token; 401 for one that nobody owns, 403 for too few scopes."""
        key = sha256(token.encode("utf-8", "replace")).digest()
        known = self._known.get(key)
        if known and not fresh and known[0] > time.monotonic():
            caller = known[1]
        else:
            caller = await self._ask_once(key, token)
        if caller is None:
            raise ApiError(401, _UNKNOWN)
        if SCOPE not in caller.scopes and "access:services" not in caller.scopes:
            raise ApiError(
                403, f"The token does not have the scope {SCOPE}. Create one that has.", "scope"
            )
        return caller

    def forget(self, token: str) -> None:
        """Ask again for the servers of a token's owner at the next call."""
        self._known.pop(sha256(token.encode("utf-8", "replace")).digest(), None)

    async def _ask_once(self, key: bytes, token: str) -> Caller | None:
        """Ask the hub, once for all calls that come at the same moment."""
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(key, token))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    async def _ask(self, key: bytes, token: str) -> Caller | None:
        asked = time.monotonic()
        answer = await self._send("GET", "user", token)
        if answer.status_code in (401, 403):
            caller = None
        elif answer.status_code != 200:
            raise ApiError(503, _NO_ANSWER, "hub_unavailable")
        else:
            caller = _caller(answer.json(), token)
        self._known[key] = (asked + TOKEN_CACHE, caller)
        self._known.move_to_end(key)
        while len(self._known) > MAX_TOKENS:
            self._known.popitem(last=False)
        return caller

    async def _send(
        self, method: str, path: str, token: str, body: Any = None, params: Any = None
    ) -> httpx.Response:
        try:
            return await self._http.request(
                method,
                f"{self._url}/{path}",
                headers={"Authorization": f"token {token}", "Accept": "application/json"},
                json=body,
                params=params,
                timeout=HUB_TIMEOUT,
            )
        except (httpx.InvalidURL, UnicodeEncodeError, httpx.LocalProtocolError) as error:
            raise ApiError(401, _UNKNOWN) from error
        except httpx.HTTPError as error:
            raise ApiError(503, _NO_ANSWER, "hub_unavailable") from error

    async def call(self, method: str, path: str, token: str, body: Any = None) -> Any:
        """Return the hub's answer to a call; raise what it has refused."""
        answer = await self._send(method, path, token, body)
        if answer.status_code >= 300:
            raise from_answer(answer.status_code, answer.content)
        return answer.json() if answer.content[:1] in (b"{", b"[") else None

    async def all_servers(self, caller: Caller) -> list[Server]:
        """Return the servers of all users, for an administrator."""
        found: list[Server] = []
        offset = 0
        while True:
            answer = await self._send(
                "GET", "users", caller.token, params={"offset": offset, "limit": PAGE}
            )
            if answer.status_code >= 300:
                raise from_answer(answer.status_code, answer.content)
            users = answer.json()
            for user in users:
                found += _servers(user).values()
            if len(users) < PAGE:
                return found
            offset += PAGE

    async def start(self, caller: Caller, server: Server, body: Any = None) -> None:
        """Start a server; one that runs or starts already is fine, but for a new sandbox."""
        path = _path(server)
        answer = await self._send("POST", path, caller.token, body)
        self.forget(caller.token)
        running = answer.status_code == 400 and b"already running" in answer.content
        if answer.status_code >= 300 and not (running and body is None):
            raise from_answer(answer.status_code, answer.content)

    async def stop(self, caller: Caller, server: Server) -> None:
        """Stop a sandbox and remove it."""
        answer = await self._send("DELETE", _path(server), caller.token, {"remove": True})
        self.forget(caller.token)
        if answer.status_code >= 300:
            raise from_answer(answer.status_code, answer.content)

    async def progress(
        self, caller: Caller, server: Server
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the hub's events of a start, ``{"progress", "message"}``; the last is ``ready``."""
        headers = {"Authorization": f"token {caller.token}", "Accept": "text/event-stream"}
        try:
            async with self._http.stream(
                "GET", f"{self._url}/{_path(server)}/progress", headers=headers, timeout=None
            ) as answer:
                if answer.status_code != 200:
                    raise from_answer(answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        yield json.loads(line.removeprefix("data:"))
        except httpx.HTTPError as error:
            raise ApiError(503, _NO_ANSWER, "hub_unavailable") from error
        finally:
            self.forget(caller.token)


def _path(server: Server) -> str:
    user = quote(server.user, safe="")
    if server.name:
        return f"users/{user}/servers/{quote(server.name, safe='')}"
    return f"users/{user}/server"


def _caller(model: Mapping[str, Any], token: str) -> Caller | None:
    if model.get("kind") != "user":
        return None
    scopes = frozenset(model.get("scopes") or ())
    return Caller(str(model["name"]), token, scopes, _servers(model))


def _servers(user: Mapping[str, Any]) -> dict[str, Server]:
    return {
        name: Server(
            str(user["name"]),
            name,
            str(model["url"]),
            bool(model.get("ready")),
            model.get("pending"),
            model.get("user_options") or {},
        )
        for name, model in (user.get("servers") or {}).items()
    }


def sandboxes_of(servers: Mapping[str, Server] | list[Server]) -> list[Server]:
    """Return the sandboxes among servers, the newest first."""
    every = servers if isinstance(servers, list) else servers.values()
    found = [server for server in every if is_sandbox(server.name)]
    return sorted(found, key=lambda one: _created(one), reverse=True)


def _created(server: Server) -> str:
    return str((server.options.get("sandbox") or {}).get("created_at") or "")
