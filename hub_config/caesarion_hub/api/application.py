"""
The ASGI application: the routes of both shapes below the service's prefix.

Called by ``__main__`` and by tests.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount

from caesarion_hub.api.body_limit import BodyLimit
from caesarion_hub.api.config import Config
from caesarion_hub.api.e2b.application import make_e2b
from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.hub import Hub
from caesarion_hub.api.rest import chat, files, runs, sandboxes
from caesarion_hub.api.servers import Servers
from caesarion_hub.api.state import State
from caesarion_hub.api.streams import Stopping

DESCRIPTION = """
The agent, sandboxes and files of a user, for programs. Send a Hub token in a header:
`Authorization: Bearer ...` or `X-API-Key: ...`; create one at `/hub/token`.
"""

log = logging.getLogger("api")


def make_application(config: Config) -> Starlette:
    """Return the application; its connections are opened when it starts."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    timeout = httpx.Timeout(None, connect=10.0)
    http = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
    hub = Hub(config.hub_api_url, http)
    state = State(
        config, hub, Servers(hub, config.proxy_url, http, config.start_timeout), Stopping()
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with http:
            yield

    inner = make_rest(state)
    inner.mount("/e2b", make_e2b(state))
    middleware = [Middleware(BodyLimit)]
    if config.origins:
        middleware.insert(
            0,
            Middleware(
                CORSMiddleware,
                allow_origins=list(config.origins),
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["Authorization", "X-API-Key", "Content-Type", "Last-Event-ID"],
            ),
        )
    routes = [Mount(config.prefix.rstrip("/"), inner)]
    application = Starlette(
        routes=routes,
        middleware=middleware,
        lifespan=lifespan,
        # For paths that match no route at all, such as those with a line break.
        exception_handlers={HTTPException: _http_error},
    )
    application.state.shared = state
    return application


def make_rest(state: State) -> FastAPI:
    """Return the REST API with its OpenAPI document, whose page loads nothing from elsewhere."""
    app = FastAPIOffline(
        title="Caesarion",
        version="1",
        description=DESCRIPTION,
        redoc_url=None,
        swagger_ui_parameters={"persistAuthorization": False},
        exception_handlers={
            ApiError: _refused,
            RequestValidationError: _invalid,
            HTTPException: _http_error,
            Exception: _failed,
        },
    )
    app.state.shared = state
    for module in (files, chat, sandboxes, runs):
        app.include_router(module.router)
    app.get("/health", include_in_schema=False)(_health)
    documented = app.openapi

    def openapi() -> dict[str, Any]:
        """Return the document without FastAPI's own shape of invalid requests."""
        document = documented()
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


async def _health() -> dict[str, str]:
    """Answer ``{"status": "ok"}``; needs no token."""
    return {"status": "ok"}


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.status == 503:
        headers["Retry-After"] = "5"
    return JSONResponse(error.body(), error.status, headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        sentence = "The body is not JSON. Send a JSON object."
    else:
        where = ".".join(str(step) for step in first["loc"])
        sentence = f"The request is not right: {where}: {first['msg']}."
    return JSONResponse(ApiError(400, sentence).body(), 400)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {
        404: f"There is nothing at {request.url.path[:200]}.",
        405: f"{request.url.path[:200]} does not take {request.method}.",
    }
    failure = ApiError(error.status_code, sentences.get(error.status_code, str(error.detail)))
    return JSONResponse(failure.body(), error.status_code, error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    log.error("A call has failed.", exc_info=error)
    return JSONResponse(ApiError(500, "The api service failed; its log says why.").body(), 500)
