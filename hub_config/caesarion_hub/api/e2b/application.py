"""The routes of E2B's shape, and its errors; called by ``api.application``."""

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from caesarion_hub.api.e2b import code, control, files, rpc
from caesarion_hub.api.e2b.caller import sandbox_of
from caesarion_hub.api.e2b.errors import answered, not_there
from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.state import DEFAULT_WAIT, State, state_of

log = logging.getLogger("api")


def make_e2b(state: State) -> Starlette:
    """Return the application below ``e2b``."""
    routes = [
        Route("/v2/sandboxes", control.create, methods=["POST"]),
        Route("/v2/sandboxes", control.listed, methods=["GET"]),
        Route("/v2/sandboxes/{sandbox_id}/connect", control.connect, methods=["POST"]),
        Route("/sandboxes/{sandbox_id}/timeout", control.set_timeout, methods=["POST"]),
        Route("/sandboxes/{sandbox_id}", control.show, methods=["GET"]),
        Route("/sandboxes/{sandbox_id}", control.kill, methods=["DELETE"]),
        Route("/health", health, methods=["GET"]),
        Route("/execute", code.execute, methods=["POST"]),
        Route("/contexts", code.contexts, methods=["GET"]),
        Route("/contexts", code.new_context, methods=["POST"]),
        Route("/contexts/{context_id}", code.remove_context, methods=["DELETE"]),
        Route("/contexts/{context_id}/restart", code.restart_context, methods=["POST"]),
        Route("/files", files.read, methods=["GET"]),
        Route("/files", files.write, methods=["POST"]),
        Route("/{service}/{method}", rpc.call, methods=["POST"]),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            ApiError: _refused,
            HTTPException: _http_error,
            Exception: _failed,
        },
    )
    app.state.shared = state
    return app


async def health(request: Request) -> Response:
    """``GET /health``: 204 if the sandbox runs, 502 if not."""
    caller, server = await sandbox_of(request)
    state = state_of(request)
    caller = await state.hub.caller(caller.token, fresh=True)
    caller, server = await sandbox_of(request)
    if not server.ready:
        await state.servers.wait(caller, server, DEFAULT_WAIT)
    return Response(status_code=204)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return answered(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        return answered(not_there(request))
    return answered(ApiError(error.status_code, str(error.detail)))


async def _failed(_: Request, error: Exception) -> Response:
    log.error("A call has failed.", exc_info=error)
    return answered(ApiError(500, "The api service failed; its log says why."))
