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
from contextlib import AsyncExitStack
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import uvloop
from jupyterhub.services.auth import HubOAuth
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from caesarion_hub.gateway import logs
from caesarion_hub.gateway.api.application import GatewayApplication
from caesarion_hub.gateway.api.metering import Metering
from caesarion_hub.gateway.api.metrics import Metrics
from caesarion_hub.gateway.authentication import TOKEN_CACHE, HubClient
from caesarion_hub.gateway.config import Config, ConfigError, from_environment
from caesarion_hub.gateway.pages.page import PageContext, application_settings
from caesarion_hub.gateway.pages.routes import routes
from caesarion_hub.gateway.policy.budgets import from_values
from caesarion_hub.gateway.store.audit_key import AuditKey
from caesarion_hub.gateway.store.commands import Heartbeat
from caesarion_hub.gateway.store.database import Database, DatabaseError
from caesarion_hub.gateway.store.ledger import Ledger
from caesarion_hub.gateway.store.write_queue import WriteQueue
from caesarion_hub.gateway.upstream.backend import Backend
from caesarion_hub.gateway.upstream.demo.model import DemoModel
from caesarion_hub.gateway.upstream.router import Router

_MAX_BODY = 2**20  # bytes; for the pages' forms, since the API's routes set their own bounds
_LATER = 5.0  # seconds, so that the API's own timeout comes first and answers with a sentence

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
        metrics.observe(backend.conditions, lambda: write_queue.ledger.head[0])
        metering = Metering(config.values, backend, write_queue, metrics)
        pages = _pages(config, write_queue, hub, backend)
        app = GatewayApplication(config, hub, metering, write_queue, metrics, **pages)
        timeout = config.values.requests.timeout + _LATER
        server = HTTPServer(app, max_body_size=_MAX_BODY, body_timeout=timeout)
        server.add_sockets(sockets)
        host, port = sockets[0].getsockname()[:2]
        addresses = [upstream.base_url for upstream in config.upstreams]
        models = ", ".join(addresses) or "the demo model"
        log.info("http://%s:%s%s answers with %s", host, port, config.prefix, models)
        if config.warning:
            log.warning("%s", config.warning)
        verifying = asyncio.create_task(_verify_audit(write_queue, metrics))
        await stop.wait()
        verifying.cancel()
        server.stop()
        await app.stop(config.grace)
        await server.close_all_connections()


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


def _audit_key(config: Config) -> AuditKey | None:
    file = config.values.audit.key_file
    if file is None:
        log.warning("gateway.audit.keyFile is not set: the audit's records are not signed.")
        return None
    key = AuditKey.read(file)
    if not key.signs:
        raise ConfigError(
            f"The audit's key file {file} holds public keys, and those sign nothing: "
            "gateway.audit.keyFile must name the file of the key itself."
        )
    return key


async def _verify_audit(write_queue: WriteQueue, metrics: Metrics) -> None:
    """Verify the audit that an earlier gateway left, while the first requests are answered."""
    is_whole, result = await write_queue.verify_audit()
    metrics.audit_whole.set(is_whole)
    log.log(logging.INFO if is_whole else logging.ERROR, "%s", result)


def _pages(
    config: Config, write_queue: WriteQueue, hub: HubClient, backend: Backend
) -> dict[str, Any]:
    """Return the pages' routes and settings; none if the gateway has no token of its own."""
    if not config.api_token:
        return {}
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
    return {"pages": routes(context), **application_settings(config.api_token)}


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
    logs.configure()
    try:
        uvloop.run(serve(from_environment()))
    except (ConfigError, DatabaseError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
