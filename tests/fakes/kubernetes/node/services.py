"""
The service proxy: what listens on a Service's address and passes bytes on to its pods.

Called by ``node.__main__``. Follows EndpointSlices; a Service without a ready
pod refuses connections. Connections that are open stay with their pod.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator

from tests.fakes.kubernetes.client import Cache, Json
from tests.fakes.kubernetes.node.dns import of_service
from tests.fakes.kubernetes.node.network import Network

log = logging.getLogger(__name__)

Address = tuple[str, int]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CHUNK = 1 << 16


class ServiceProxy:
    """Listens for all Services of the cluster, inside its network and outside."""

    def __init__(self, cache: Cache, network: Network, pods: ipaddress.IPv4Network) -> None:
        self._cache = cache
        self._network = network
        self._pods = pods
        self._doors: dict[Address, BaseHandler] = {}
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
            if address not in self._doors:
                self._doors[address] = BaseHandler(self._connect)
                await self._open(self._doors[address], address)
            self._doors[address].turn_to(backends)

    async def _open(self, door: "BaseHandler", address: Address) -> None:
        for outside in (False, True):
            try:
                if outside:
                    there = self._network.address_outside(address)
                    listening = self._network.listen_outside(*there)
                else:
                    listening = socket.create_server(address, backlog=128)
                await door.listen(listening)
            except OSError as error:
                where = "on this machine" if outside else "in the cluster"
                log.warning("nobody can listen on %s %s: %s", address, where, error)

    async def _connect(self, address: Address) -> Streams:
        """Connect to a pod, or to what an Endpoints object names outside."""
        if ipaddress.ip_address(address[0]) in self._pods:
            return await asyncio.open_connection(*address, limit=CHUNK)
        made = self._network.socket_outside((socket.AF_INET, socket.SOCK_STREAM, 0))
        try:
            await asyncio.get_running_loop().sock_connect(made, address)
            return await asyncio.open_connection(sock=made, limit=CHUNK)
        except OSError:
            made.close()
            raise


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


class BaseHandler:
    """One address of a Service: accepts connections and takes the pods in turn."""

    def __init__(self, connect: Callable[[Address], Awaitable[Streams]]) -> None:
        self._connect = connect
        self._backends: list[Address] = []
        self._turn: Iterator[Address] = itertools.cycle(())
        self._servers: list[asyncio.Server] = []
        self._passing: set[asyncio.Task[None]] = set()

    def turn_to(self, backends: list[Address]) -> None:
        """Pass the next connections on to these."""
        if backends != self._backends:
            self._backends = backends
            self._turn = itertools.cycle(backends)

    async def listen(self, listening: socket.socket) -> None:
        """Accept connections here too."""
        server = await asyncio.start_server(self._accept, sock=listening, limit=CHUNK)
        self._servers.append(server)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._pass_on(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    def close(self) -> None:
        for server in self._servers:
            server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            # A pod that does not answer is passed over; each gets one chance.
            for _ in self._backends:
                try:
                    inner, outer = await self._connect(next(self._turn))
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
