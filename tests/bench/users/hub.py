"""
A running hub, over its REST API and with the caller's token.

Whoever it refuses is told in one sentence, :class:`RefusedError`. Simulated users are known by
the prefix of their names, so that what a run has left can be found.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.bench.users.samples import FailedError

PREFIX = "simulated-"
SCOPES = ("admin:users", "servers", "tokens", "read:metrics")
"""What the caller's token has to have."""

TOKEN_SCOPES = ("access:servers!user", "users:activity!user", "access:services!service=gateway")
"""What a simulated user's token has: of what a server's token has, that which is asked for here."""

TIMEOUT = 30.0
"""Seconds that a request may take before it has failed; a made-up number."""

_AT_ONCE = 100
"""Users that are made by one request."""

_REMOVED_AT_ONCE = 20


class RefusedError(Exception):
    """The simulation cannot be made; the sentence says why, and what would help."""


@dataclass(frozen=True)
class User:
    """A simulated user, and a token of theirs."""

    name: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What lets their requests in, at the hub and at the gateway."""
        return {"Authorization": f"Bearer {self.token}"}


class Hub:
    """The hub at ``url``, the address that browsers open."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self.url = url.rstrip("/").removesuffix("/hub")
        self.api = f"{self.url}/hub/api"
        self.http = http
        self.headers = {"Authorization": f"Bearer {token}"}

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, token: str) -> AsyncIterator["Hub"]:
        """Open connections, as many as are needed."""
        # A proxy closes those that are kept for long at the moment of their next use.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            yield cls(http, url, token)

    async def check(self) -> str:
        """Return the hub's version; raise RefusedError unless it is a hub that lets us in."""
        try:
            async with self.http.get(f"{self.api}/") as answer:
                version = json.loads(await answer.text())["version"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or "it does not answer"
            raise RefusedError(f"{self.url} cannot be reached: {why}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(
                f"{self.url} is no JupyterHub: {self.api}/ answers {answer.status}. "
                "--hub is the address that browsers open, without /hub."
            ) from error
        async with self.http.get(f"{self.api}/user", headers=self.headers) as answer:
            if answer.status in (401, 403):
                raise RefusedError(
                    f"{self.url} does not know the token. Make one at {self.url}/hub/token."
                )
            if answer.status != 200:
                raise RefusedError(f"{self.api}/user answers {answer.status}.")
            scopes = (await answer.json())["scopes"]
        if missing := [scope for scope in SCOPES if scope not in scopes]:
            raise RefusedError(
                f"The token lacks {' and '.join(missing)}: it needs {', '.join(SCOPES)}, "
                "as an administrator's has."
            )
        return str(version)

    async def add_users(self, numbers: Sequence[int]) -> list[User]:
        """Make users and their tokens, which end with the day if nobody removes them."""
        names = [f"{PREFIX}{number}" for number in numbers]
        for first in range(0, len(names), _AT_ONCE):
            await self.call("POST", "users", {"usernames": names[first : first + _AT_ONCE]})
        return [User(name, await self._make_token(name)) for name in names]

    async def _make_token(self, name: str) -> str:
        note = f"Server at /user/{name}/, simulated"  # by which the hub knows a server's
        body = {"scopes": TOKEN_SCOPES, "note": note, "expires_in": 24 * 3600}
        made = await self.call("POST", f"users/{name}/tokens", body)
        return str(made["token"])

    async def simulated(self) -> list[str]:
        """Return the names of the simulated users that the hub has."""
        found: list[str] = []
        while True:
            query = f"users?name_filter={PREFIX}&offset={len(found)}&limit=100"
            page = [user["name"] for user in await self.call("GET", query)]
            found += page
            if not page:
                return [name for name in found if name.startswith(PREFIX)]

    async def remove_users(self, seconds: float) -> list[str]:
        """Remove all simulated users with servers and tokens; return who is left by then."""
        turn = asyncio.Semaphore(_REMOVED_AT_ONCE)
        try:
            async with asyncio.timeout(seconds):
                while names := await self.simulated():
                    await asyncio.gather(*(self._remove(name, turn) for name in names))
        except TimeoutError:
            return await self.simulated()
        return []

    async def _remove(self, name: str, turn: asyncio.Semaphore) -> None:
        """Remove a user; one whose server takes its time is left for the next round."""
        async with turn:
            url = f"{self.api}/users/{name}"
            try:
                async with self.http.delete(f"{url}/server", headers=self.headers) as answer:
                    await answer.read()
                async with self.http.delete(url, headers=self.headers) as answer:
                    if answer.status >= 400 and answer.status != 404:
                        await asyncio.sleep(1)
            except (aiohttp.ClientError, TimeoutError, OSError):
                await asyncio.sleep(1)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the API's answer; raise RefusedError with the hub's own words."""
        url = f"{self.api}/{path}"
        try:
            async with self.http.request(method, url, json=body, headers=self.headers) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RefusedError(f"The hub has not answered {method} {path}: {error!r}.") from error
        if answer.status >= 400:
            raise RefusedError(f"The hub refuses {method} {path}: {answer.status} {text[:300]}")
        return json.loads(text) if text else None

    async def first_model(self, user: User) -> str:
        """Return the first model that the gateway lists."""
        url = f"{self.url}/services/gateway/v1/models"
        async with self.http.get(url, headers=user.headers) as answer:
            if answer.status != 200:
                raise RefusedError(f"The gateway lists no models: {url} answers {answer.status}.")
            return str((await answer.json())["data"][0]["id"])

    async def start(self, user: User, seconds: float) -> None:
        """Start a user's server as the page does; return when its user is told that it is ready."""
        server = f"{self.api}/users/{user.name}/server"
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self.http.post(server, headers=self.headers, timeout=timeout) as answer:
            answer.raise_for_status()
        events = self.http.get(f"{server}/progress", headers=self.headers, timeout=timeout)
        async with events as answer:
            answer.raise_for_status()
            async for line in answer.content:
                event = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if event.get("failed"):
                    raise FailedError(str(event["message"]))
                if event.get("ready"):
                    return
        raise FailedError("the hub stopped telling")
