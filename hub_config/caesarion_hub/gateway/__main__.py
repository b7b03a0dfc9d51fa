"""
Run the gateway until SIGTERM or SIGINT: ``python -m caesarion_hub.gateway``.

Reads the settings from ``config``, builds the parts, and listens. A setting that cannot be
used, or a port that is taken, ends it with one sentence and exit status 1.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

import uvloop
from aiohttp import web
from jupyterhub.services.auth import HubOAuth
from tornado.netutil import bind_sockets

from caesarion_hub import logs
from caesarion_hub.gateway.api.application import Application
from caesarion_hub.gateway.api.metering import Metering
from caesarion_hub.gateway.api.metrics import Metrics
from caesarion_hub.gateway.api.server import Server
from caesarion_hub.gateway.api.tracing import Traces
from caesarion_hub.gateway.authentication import TOKEN_CACHE, HubClient
from caesarion_hub.gateway.config import (
    Config,
    ConfigError,
    from_environment,
    is_traced,
    log_level_key,
)
from caesarion_hub.gateway.pages.application import PagesApplication
from caesarion_hub.gateway.pages.page import PageContext
from caesarion_hub.gateway.pages.routes import routes
from caesarion_hub.gateway.policy.budgets import from_values
from caesarion_hub.gateway.store.commands import Heartbeat
from caesarion_hub.gateway.store.database import Database, DatabaseError
from caesarion_hub.gateway.store.ledger import Ledger
from caesarion_hub.gateway.store.write_queue import WriteQueue
from caesarion_hub.gateway.upstream.backend import Backend
from caesarion_hub.gateway.upstream.demo.model import DemoModel
from caesarion_hub.gateway.upstream.router import Router

if TYPE_CHECKING:
    from caesarion_hub.gateway.store.audit_key import AuditKey

_CLOSING = 1.0  # seconds for pages that are on their way when the gateway ends; made up

log = logging.getLogger("gateway")


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sockets = _listen(config)
    async with AsyncExitStack() as stack:
        backend: Backend = DemoModel()
        if config.upstreams:
            router = Router(config.upstreams, config.values.model)
            backend = await stack.enter_async_context(router)
        hub = HubClient(config)
        stack.push_async_callback(hub.close)
        write_queue = await stack.enter_async_context(_write_queue(config, stack))
        metrics = Metrics(_known_models(config))
        metrics.observe(
            backend.conditions,
            audit=lambda: write_queue.ledger.head[0],
            ledger=lambda: write_queue.is_writable,
        )
        traces = Traces.to_collector() if is_traced() else Traces()
        stack.push_async_callback(traces.close)
        metering = Metering(config.values, backend, write_queue, metrics, traces)
        pages = _pages(config, write_queue, hub, backend)
        app = Application(config, hub, metering, write_queue, metrics, pages)
        runner = web.ServerRunner(Server(app.handle), shutdown_timeout=_CLOSING)
        await runner.setup()
        sites = [web.SockSite(runner, one) for one in sockets]
        for site in sites:
            await site.start()
        host, port = sockets[0].getsockname()[:2]
        addresses = [upstream.base_url for upstream in config.upstreams]
        models = ", ".join(addresses) or "the demo model"
        log.info("http://%s:%s%s answers with %s", host, port, config.prefix, models)
        if config.warning:
            log.warning("%s", config.warning)
        verifying = asyncio.create_task(_verify_audit(write_queue, metrics, config.audit_interval))
        await stop.wait()
        verifying.cancel()
        for site in sites:
            await site.stop()
        await app.stop(config.grace)
        await runner.cleanup()


def _write_queue(config: Config, stack: AsyncExitStack) -> WriteQueue:
    """Open the ledger's database, and bring its tables up to date."""
    secret = config.values.database.url
    if secret is None:
        log.warning(
            "gateway.database.url is not set: ledger and audit are lost when the gateway ends."
        )
        folder = stack.enter_context(TemporaryDirectory(prefix="gateway"))
        url = f"sqlite:///{folder}/gateway.sqlite"
    else:
        url = secret.get_secret_value()
    database = Database(url)
    stack.callback(database.close)
    database.migrate()
    ledger = Ledger(database, uuid4().hex, from_values(config.values.budgets), _audit_key(config))
    retention = (config.values.retention_days, config.values.audit.retention_days)
    return WriteQueue(ledger, Heartbeat(round(config.lease * 1000), *retention))


def _audit_key(config: Config) -> "AuditKey | None":
    file = config.values.audit.key_file
    if file is None:
        log.warning("gateway.audit.keyFile is not set: the audit's records are not signed.")
        return None
    # Imported here, because the cryptography behind it takes 8 MiB.
    from caesarion_hub.gateway.store.audit_key import AuditKey

    key = AuditKey.read(file)
    if not key.signs:
        raise ConfigError(
            f"The audit's key file {file} holds public keys, and those sign nothing: "
            "gateway.audit.keyFile must name the file of the key itself."
        )
    return key


async def _verify_audit(write_queue: WriteQueue, metrics: Metrics, interval: float) -> None:
    """
    Verify the audit, while requests are answered: that of an earlier gateway first.

    Again after ``interval`` seconds, or later if that would take over 1 % of the time.
    """
    while True:
        began = time.monotonic()
        is_whole, result = await write_queue.verify_audit()
        if is_whole is not None:
            metrics.set_audit_whole(is_whole)
        log.log(logging.INFO if is_whole else logging.ERROR, "%s", result)
        await asyncio.sleep(max(interval, 99 * (time.monotonic() - began)))


def _pages(
    config: Config, write_queue: WriteQueue, hub: HubClient, backend: Backend
) -> PagesApplication | None:
    """Return the pages; none if the gateway has no token of its own."""
    if not config.api_token:
        return None
    base_url = config.prefix.removesuffix(f"services/{config.service_name}/") + "hub/"
    oauth = HubOAuth(
        api_url=config.hub_api_url,
        api_token=config.api_token,
        base_url=config.prefix,
        hub_prefix=base_url,
        oauth_client_id=f"service-{config.service_name}",
        access_scopes={f"access:services!service={config.service_name}"},
        cache_max_age=int(TOKEN_CACHE),
    )
    context = PageContext(
        *(write_queue, hub, backend, frozenset(config.values.prices), oauth),
        *(config.prefix, base_url),
    )
    return PagesApplication(routes(context), config.api_token)


def _known_models(config: Config) -> set[str]:
    values = config.values
    limits = [values.limits, *values.groups.values()]
    listed = [model for limit in limits for model in limit.models or ()]
    return {values.model, *values.prices, *values.aliases.values(), *listed}


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
    logs.configure_service("gateway", log_level_key())
    try:
        uvloop.run(serve(from_environment()))
    except (ConfigError, DatabaseError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
