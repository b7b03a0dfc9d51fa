"""
``caesarion/api/undo``: the turns of a chat that can be undone, and undoing one.

Called by the labextension, from the footer of an answer; :mod:`caesarion.agent.undo` does it.
"""

from dataclasses import asdict

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, Field
from tornado import web

from caesarion.api.base import BaseHandler, has_browser_session, name_of_user
from caesarion.bodies import Bounded

_NO_SESSION = "A token cannot undo for a person. Undo in the browser."
_NONE = (
    "This turn cannot be undone any more: it was undone before, or it is older than the last 20 "
    "turns of its chat that changed a notebook."
)
_NOTE = "Variables and files are as they are."


class Turn(Bounded):
    """The body of ``POST caesarion/api/undo``: a chat, and the message that was answered."""

    model_config = ConfigDict(extra="forbid")

    chat: str = Field(min_length=1, max_length=4_096)
    message: str = Field(min_length=1, max_length=200)


class UndoHandler(BaseHandler):
    """``GET caesarion/api/undo?chat=<id>``, ``POST caesarion/api/undo``."""

    @web.authenticated
    @authorized
    def get(self) -> None:
        """Answer 200 with the ``turns`` of a chat by their message: ``changed`` or ``undone``."""
        self.finish({"turns": self.services.checkpoints.turns(self.get_query_argument("chat"))})

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """
        Undo what a turn did to notebooks.

        Answer 200: how many cells were ``restored`` in which ``notebooks``; the ``conflicts``, ids
        of cells that were changed since and are proposed as they were; ``problems`` in sentences.
        403 for a token, 404 if there is nothing to undo.
        """
        if not has_browser_session(self):
            self.refuse(403, _NO_SESSION)
            return
        turn = self.body(Turn)
        undone = await self.services.undo.undo(turn.chat, turn.message, name_of_user(self))
        if undone is None:
            self.refuse(404, _NONE)
            return
        self.finish({**asdict(undone), "note": _NOTE})
