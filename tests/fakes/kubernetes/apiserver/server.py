"""
The API server as a thing that starts and stops: its port, its keys, its kubeconfig.

    async with ApiServer(folder) as api:
        subprocess.run(["kubectl", "--kubeconfig", api.kubeconfig, "get", "pods"])

It serves TLS on a free port of the loopback; ``python -m
tests.fakes.kubernetes.apiserver`` is the same in a process of its own.
"""

import asyncio
import base64
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import yaml
from aiohttp import web

from tests.fakes.kubernetes.apiserver import bootstrap, custom
from tests.fakes.kubernetes.apiserver.faults import Faults
from tests.fakes.kubernetes.apiserver.garbage import Garbage
from tests.fakes.kubernetes.apiserver.handlers import Handlers
from tests.fakes.kubernetes.apiserver.housekeeping import Housekeeping
from tests.fakes.kubernetes.apiserver.journal import Journal
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.apiserver.tls import make_context

LARGEST_BODY = 3 * 1024 * 1024  # bytes, as the real server


class ApiServer:
    """
    A test double of the Kubernetes API server.

    ``folder`` gets ``ca.crt`` and ``kubeconfig``, whose user may do everything,
    and a journal: the next server on the folder, on the same port, goes on
    where this one was stopped or killed.
    ``state`` is what the cluster has in it, for tests to read: its ``denials``
    and ``warnings`` among it. ``faults`` is what goes wrong on purpose.
    """

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.folder = folder
        self.host = host
        self.port = port
        self.state = State()
        self.faults = Faults()
        self._journal = Journal(folder)
        self._absence: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def certificate_authority(self) -> Path:
        return self.folder / "ca.crt"

    def client_context(self) -> ssl.SSLContext:
        """Return what a client needs to trust this server."""
        return ssl.create_default_context(cafile=str(self.certificate_authority))

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        service_address = next(self.state.free_addresses())
        self._context = make_context(self.folder, [self.host, service_address])
        is_new = not self._journal.is_there
        if not is_new:
            self.state.tokens = self._journal.read(self.state.store)
            custom.serve_again(self.state)
        self._journal.open(self.state.tokens)
        authority = self.certificate_authority.read_text()
        self.state.store.observers += [
            self._journal.observe,
            Garbage(self.state).observe,
            Housekeeping(self.state, authority).observe,
        ]
        await self._listen()
        if is_new:
            bootstrap.fill(self.state, self.host, self.port)
        self.kubeconfig.write_text(yaml.safe_dump(self.make_kubeconfig()))
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._absence is not None:
            self._absence.cancel()
            await asyncio.wait([self._absence])
        await self._close()
        self._journal.close()

    @contextlib.asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Be away for as long as the block runs: connections are cut and refused."""
        await self._close()
        try:
            yield
        finally:
            await self._listen()

    def _leave(self, seconds: float) -> None:
        """Be away for a time, after the answer to who asked for it."""
        self._absence = asyncio.create_task(self._stay_away(seconds))

    async def _stay_away(self, seconds: float) -> None:
        await asyncio.sleep(0.1)  # the answer is on its way
        async with self.away():
            await asyncio.sleep(seconds)

    async def _listen(self) -> None:
        """Listen on the port, which the first time is any that is free."""
        listener = socket.create_server((self.host, self.port))
        self.port = listener.getsockname()[1]
        address = f"{self.host}:{self.port}"
        self._handlers = Handlers(self.state, self.faults, address, self._leave)
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handlers.answer)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=1
        )
        await self._runner.setup()
        self._site = web.SockSite(self._runner, listener, ssl_context=self._context)
        await self._site.start()

    async def _close(self) -> None:
        await self._site.stop()
        self._handlers.cut()
        await self._runner.cleanup()

    def make_kubeconfig(self, token: str = "") -> dict[str, object]:
        """Return a kubeconfig for a bearer token, or for who may do everything."""
        authority = self.certificate_authority.read_bytes()
        cluster = {
            "server": self.url,
            "certificate-authority-data": base64.b64encode(authority).decode(),
        }
        context = {"cluster": "fake", "user": "user"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token or self.state.tokens.admin}}],
            "contexts": [{"name": "fake", "context": context}],
            "current-context": "fake",
        }
