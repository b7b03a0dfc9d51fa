"""
``caesarion/api/page``: the WebSocket of a page, a tab of a browser in which notebooks are open.

Called by the labextension (page_channel.ts); :mod:`caesarion.notebooks.pages` has the pages.
Invariant: only the session of a browser is a page. Code in a kernel cannot pretend to be one, read
what is not saved yet, or answer for it.
"""

import json
from typing import Annotated, Any, Literal

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from pydantic import ConfigDict, FailFast, Field, ValidationError
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from caesarion.api.base import has_browser_session, problem
from caesarion.bodies import Bounded
from caesarion.errors import PageGone
from caesarion.notebooks.pages import Page
from caesarion.services import Services

_NO_SESSION = "Only the session of a browser can be a page: connect with its cookie, no token."

# Bytes of a message: a whole notebook with its outputs.
_MAX_MESSAGE = 64 * 1024 * 1024

_UNREADABLE = 1007  # RFC 6455, section 7.4.1: data that is not of the type of the message.


PagePath = Annotated[str, Field(max_length=4_096)]


class Notebooks(Bounded):
    """What a page has open."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["notebooks"]
    page: str = Field(min_length=1, max_length=64)
    open: Annotated[list[PagePath], FailFast()] = Field(max_length=1_000)
    front: PagePath | None = None


class Reply(Bounded):
    """A page's answer to a request."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["reply"]
    id: int
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class PageHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """The connection of one page."""

    auth_resource = "caesarion"
    page: Page | None = None

    @property
    def max_message_size(self) -> int:
        """Take whole notebooks."""
        return _MAX_MESSAGE

    def set_default_headers(self) -> None:
        """Set none of JupyterHandler's, which are meant for pages."""

    def get_compression_options(self) -> dict[str, Any] | None:
        """Compress as the server's other sockets do."""
        options: dict[str, Any] | None = self.settings.get("websocket_compression_options", None)
        return options

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open the socket; 403 for a token, and for who may not use the agent."""
        may = await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, "execute", self.auth_resource)
        )
        if not may:
            raise web.HTTPError(403)
        if not has_browser_session(self):
            raise web.HTTPError(403, _NO_SESSION)
        await super().get(*args, **kwargs)

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the page to say what it has open."""
        super().open(*args, **kwargs)
        self.page = Page(self._send)

    async def on_message(self, message: str | bytes) -> None:
        """Take what the page says; a message that cannot be read closes the connection."""
        assert self.page
        try:
            kind = json.loads(message)["type"]
            if kind == "reply":
                reply = Reply.model_validate_json(message)
                self.page.answered(reply.id, reply.model_dump())
            else:
                await self._describe(self.page, Notebooks.model_validate_json(message))
        except ValidationError as error:
            self.close(_UNREADABLE, problem(error, "message")[:120])
        except (ValueError, KeyError, TypeError, RecursionError):
            self.close(_UNREADABLE, "A message is a JSON object with a type.")

    def on_close(self) -> None:
        """Forget the page."""
        if self.page:
            self._services.pages.leave(self.page)

    @property
    def _services(self) -> Services:
        services: Services = self.settings["caesarion"]
        return services

    async def _describe(self, page: Page, told: Notebooks) -> None:
        new = await self._services.pages.describe(
            page, told.page, tuple(told.open), told.front or ""
        )
        for path in sorted(new):
            self._services.changes.tell(page, path)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.write_message(json.dumps(message))
        except WebSocketClosedError as error:
            raise PageGone("The page is closed.") from error
