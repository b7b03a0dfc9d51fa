"""
The base of every handler: a body that is checked, a refusal in a sentence, and work
that ends with its client.

Called by the handlers of this package; calls the services that
:mod:`caesarion.extension` puts into the server's settings. Every route is
authenticated and authorised as Jupyter Server's own are; what is refused is
answered with one JSON sentence, ``{"message": ...}``.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from jupyter_server.base.handlers import APIHandler, JupyterHandler
from pydantic import BaseModel, ValidationError
from tornado import web
from tornado.iostream import StreamClosedError

from caesarion.errors import KernelError, UnknownKernel
from caesarion.services import Services

_MAX_BODY = 1_048_576


Body = TypeVar("Body", bound=BaseModel)


class BaseHandler(APIHandler):
    """A route below ``caesarion/api``."""

    auth_resource = "caesarion"
    _work: "asyncio.Task[None] | None" = None
    _client_gone = False

    @property
    def services(self) -> Services:
        """Return the services of this server."""
        services: Services = self.settings["caesarion"]
        return services

    def refuse(self, status: int, sentence: str) -> None:
        """Answer with a sentence instead of a result."""
        self.set_status(status)
        self.finish({"message": sentence})

    def body(self, form: type[Body]) -> Body:
        """Return the request's body as ``form``; raise web.Finish after refusing it."""
        raw = self.request.body
        if len(raw) > _MAX_BODY:
            self.refuse(413, f"The body has {len(raw):,} bytes; at most {_MAX_BODY:,} are taken.")
            raise web.Finish
        try:
            return form.model_validate_json(raw)
        except ValidationError as error:
            self.refuse(400, problem(error))
            raise web.Finish from error

    async def while_connected(self, work: Coroutine[Any, Any, None]) -> None:
        """
        Await ``work``; cancel it when its client disconnects.

        A kernel that cannot be found or used is refused in its error's sentence.
        """
        self._work = asyncio.create_task(work)
        if self._client_gone:
            self._work.cancel()
        try:
            await self._work
        except (asyncio.CancelledError, StreamClosedError):
            pass  # The client is gone.
        except UnknownKernel as error:
            self.refuse(404, str(error))
        except KernelError as error:
            self.refuse(409, str(error))

    def on_connection_close(self) -> None:
        """Cancel the work, as its client no longer waits for it."""
        self._client_gone = True
        if self._work:
            self._work.cancel()
        super().on_connection_close()


def name_of_user(handler: JupyterHandler) -> str:
    """Return the name of who sent this, as people and the audit know it."""
    user = handler.current_user
    return str(user.name or user.username)


def has_browser_session(handler: JupyterHandler) -> bool:
    """
    Return whether a browser sent this that somebody has logged in with.

    Code in a kernel, which has the server's own token, cannot send such a request.
    """
    if handler.token_authenticated:
        return False
    # Under JupyterHub the cookie is a token that is signed with the server's cookie secret,
    # which lies in a file: code in a kernel can sign the token that it has. But only tokens
    # that were issued at a login belong to a session (JupyterHub 5.0 and later say so).
    hub_user = getattr(handler.current_user, "hub_user", None)
    return hub_user is None or bool(hub_user.get("session_id"))


def problem(error: ValidationError, part: str = "body") -> str:
    """Return what is wrong with a request in a sentence."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return f"The body is not JSON ({first['ctx']['error']}). Send a JSON object."
    if first["type"] == "value_error":  # Of a check of ours.
        return str(first["ctx"]["error"])
    where = ".".join(str(step) for step in first["loc"]) or part
    return f"The {part} is not right: {where}: {first['msg']}. See the documentation of this call."
