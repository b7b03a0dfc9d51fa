"""
The service proxy: what listens on a Service's address and passes bytes on to its pods.

Called by ``node.__main__``. Follows EndpointSlices; a Service without a ready
pod refuses connections. Connections that are open stay with their pod.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Iterator

from tests.fakes.kubernetes.client import Cache, Json
from tests.fakes.kubernetes.node.dns import of_service

log = logging.getLogger(__name__)

Address = tuple[str, int]

CHUNK = 1 << 16


class ServiceProxy:
    """Listens for all Services of the cluster."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._doors: dict[Address, Door] = {}
        self._changed = asyncio.Event()
        cache.on_change(lambda plural: self._changed.set() if plural in KINDS else None)

    async def run(self) -> None:
        """Follow the Services, for ever."""
        await self._cache.listed()
        try:
            while True:
                self._changed.clear()
                await self._sync()
                await self._changed.wait()
        finally:
            for door in self._doors.values():
                door.close()

    async def _sync(self) -> None:
        slices = self._cache.all("endpointslices")
        wanted: dict[Address, list[Address]] = {}
        for service in self._cache.all("services"):
            wanted |= routes(service, slices)
        for address in self._doors.keys() - wanted.keys():
            self._doors.pop(address).close()
        for address, backends in wanted.items():
            if address in self._doors:
                self._doors[address].turn_to(backends)
                continue
            door = Door(backends)
            try:
                await door.open(address)
            except OSError as error:
                log.warning("nobody can listen on %s: %s", address, error)
            else:
                self._doors[address] = door


KINDS = ("services", "endpointslices")


def routes(service: Json, slices: list[Json]) -> dict[Address, list[Address]]:
    """Return the addresses of a Service, each with the pods' addresses behind it, if any."""
    cluster = service["spec"].get("clusterIP", "None")
    found: dict[Address, list[Address]] = {}
    if cluster in ("", "None"):
        return found
    for port in service["spec"].get("ports") or []:
        backends = [
            (address, behind["port"])
            for one in of_service(service, slices)
            for behind in one["ports"] or []
            if behind.get("name", "") == port.get("name", "")
            for endpoint in one["endpoints"] or []
            if endpoint.get("conditions", {}).get("ready", True)
            for address in endpoint["addresses"]
        ]
        if backends:
            found[cluster, port["port"]] = backends
    return found


class Door:
    """One address of a Service: accepts connections and takes the pods in turn."""

    def __init__(self, backends: list[Address]) -> None:
        self._turn: Iterator[Address] = itertools.cycle(())
        self._backends: list[Address] = []
        self._server: asyncio.Server | None = None
        self.turn_to(backends)

    def turn_to(self, backends: list[Address]) -> None:
        """Pass the next connections on to these."""
        if backends != self._backends:
            self._backends = backends
            self._turn = itertools.cycle(backends)

    async def open(self, address: Address) -> None:
        host, port = address
        self._server = await asyncio.start_server(self._pass_on, host, port, limit=CHUNK)

    def close(self) -> None:
        if self._server:
            self._server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            # A pod that does not answer is passed over; each gets one chance.
            for _ in self._backends:
                try:
                    inner, outer = await asyncio.open_connection(*next(self._turn), limit=CHUNK)
                except OSError:
                    continue
                await asyncio.gather(_pump(reader, outer), _pump(inner, writer))
                break
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until their end, and the end too."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()
