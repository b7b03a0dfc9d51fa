"""Gateways as processes that share a hub, a provider and a database, and what they keep."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.audit_verification import Verifier, in_database
from caesarion_hub.gateway.store.database import Database
from sqlalchemy import select

from tests.fakes.bare_hub import BareHub
from tests.fakes.gateway_process import GatewayProcess, gateway_process
from tests.fakes.openai_server import OpenAIServer
from tests.fakes.raw_provider import RawProvider

SCOPE = "access:services!service=gateway"
ASKED: list[Any] = [{"role": "user", "content": "nobody-else-may-read-this"}]
STREAM = {"model": "gpt-4.1", "messages": ASKED, "stream": True}
COUNTED = STREAM | {"stream_options": {"include_usage": True}}
PRICES = {"gpt-4.1": {"prompt": 2, "completion": 8, "cached": 0.5}}


class Gateways:
    """Starts gateways that share a provider and a database, with values of the test's own."""

    def __init__(self, hub: BareHub, provider: OpenAIServer | RawProvider, folder: Path) -> None:
        self._hub = hub
        self._provider = provider
        self._folder = folder
        self.database_url = f"sqlite:///{folder}/gateway.sqlite"
        self._number = 0

    @contextmanager
    def running(self, **values: Any) -> Iterator[GatewayProcess]:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        file = folder / "gateway.yaml"
        given = {
            "baseUrl": self._provider.base_url,
            "database": {"url": self.database_url},
            "prices": PRICES,
        }
        file.write_text(json.dumps(given | values))
        settings = {
            "JUPYTERHUB_API_URL": self._hub.api_url,
            "CAESARION_GATEWAY_CONFIG": str(file),
            "CAESARION_GATEWAY_LEASE": "1",
        }
        with gateway_process(folder, settings) as gateway:
            yield gateway

    def refusals(self) -> list[Any]:
        """Return whose requests were not let in, why, how many, of which model, in words."""
        one = tables.refusal.c
        shown = select(one.user, one.code, one.requests, one.model, one.message)
        with closing(Database(self.database_url)) as database, database.reading() as connection:
            return [tuple(row) for row in connection.execute(shown.order_by(one.user))]

    def requests(self) -> list[Any]:
        """Return the ledger's requests in order."""
        with closing(Database(self.database_url)) as database, database.reading() as connection:
            return list(
                connection.execute(select(tables.request).order_by(tables.request.c.started))
            )

    def records(self) -> list[dict[str, Any]]:
        """Return the audit's records, verified."""
        with closing(Database(self.database_url)) as database, database.reading() as connection:
            records = list(Verifier().verified(in_database(connection)))
        return [json.loads(one.record) for one in records]

    async def settled(self, number: int, seconds: float = 60.0) -> list[Any]:
        """Return the ledger's requests as soon as ``number`` of them are settled."""
        async with asyncio.timeout(seconds):
            while True:
                rows = self.requests()
                if sum(row.finished is not None for row in rows) >= number:
                    return rows
                await asyncio.sleep(0.05)


def session(gateway: GatewayProcess, token: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        gateway.url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=aiohttp.ClientTimeout(60),
    )


async def ask(
    http: aiohttp.ClientSession, body: Any = COUNTED, **headers: str
) -> tuple[int, bytes]:
    async with http.post("v1/chat/completions", json=body, headers=headers) as answer:
        return answer.status, await answer.read()


async def ask_with_receipt(http: aiohttp.ClientSession) -> tuple[bytes, str]:
    """Return an answer, and the receipt that came with it."""
    async with http.post("v1/chat/completions", json=COUNTED) as answer:
        return await answer.read(), answer.headers["X-Caesarion-Receipt"]
