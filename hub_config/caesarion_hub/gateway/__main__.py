"""
Run the gateway until SIGTERM or SIGINT: ``python -m caesarion_hub.gateway``.

A setting that cannot be used, or a taken port, ends it with one sentence.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from caesarion_hub.gateway.backend import Backend
from caesarion_hub.gateway.config import Config, ConfigError, from_environment
from caesarion_hub.gateway.demo.model import Demo
from caesarion_hub.gateway.handlers import Gateway
from caesarion_hub.gateway.hub import Hub
from caesarion_hub.gateway.provider import Provider

_MAX_READ = 64 * 2**20  # bytes; beyond, a request's connection is simply closed

log = logging.getLogger("gateway")


async def serve(config: Config) -> None:
    """Listen and answer until a signal comes."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sockets = _listen(config)
    async with AsyncExitStack() as stack:
        backend: Backend = Demo()
        if config.upstream:
            provider = Provider(config.upstream, config.default_model)
            backend = await stack.enter_async_context(provider)
        hub = Hub(config)
        stack.push_async_callback(hub.close)
        app = Gateway(config.prefix, hub, backend, demo=config.upstream is None)
        server = HTTPServer(app, max_body_size=_MAX_READ)
        server.add_sockets(sockets)
        host, port = sockets[0].getsockname()[:2]
        what = config.upstream.base_url if config.upstream else "the demo model"
        log.info("http://%s:%s%s answers with %s", host, port, config.prefix, what)
        if config.warning:
            log.warning("%s", config.warning)
        await stop.wait()
        server.stop()
        if app.under_way:
            await asyncio.wait(app.under_way, timeout=config.grace)
        await server.close_all_connections()
        for task in app.under_way:
            task.cancel()


def _listen(config: Config) -> list[socket.socket]:
    try:
        return bind_sockets(config.port, config.host)
    except OSError as error:
        raise ConfigError(
            f"The gateway cannot listen on {config.host}:{config.port}: "
            f"{os.strerror(error.errno) if error.errno else error}. Set JUPYTERHUB_SERVICE_URL "
            "to an address of this machine and a free port."
        ) from error


def main() -> int:
    """Return the exit status."""
    logging.basicConfig(
        level=logging.INFO, format="[%(levelname).1s %(asctime)s %(name)s] %(message)s"
    )
    # It quotes malformed requests, whose addresses may hold tokens.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)
    try:
        asyncio.run(serve(from_environment()))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
