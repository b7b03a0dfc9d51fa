"""
``POST caesarion/api/approvals/<id>``: the decision about a call that waits.

``caesarion/api/allowed-classes`` has the classes that such decisions have allowed in a chat.

Called by the labextension; :mod:`caesarion.agent.approval` has the calls that wait.
Invariant: code that runs in a kernel cannot decide. The token of the user's server stands in a
kernel's environment, so a token decides only where CaesarionAgent.program_approvals lets
it, and the decision is recorded as a program's.
"""

from typing import Annotated, Literal

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, FailFast, Field, field_validator
from tornado import web

from caesarion.agent.approval import NotShown, NotWaiting
from caesarion.api.base import BaseHandler, has_browser_session, name_of_user
from caesarion.bodies import Bounded
from caesarion.errors import ToolError
from caesarion.events import RiskClass

_NO_SESSION = (
    "A token cannot decide for a person. Decide in the browser, or ask whoever runs this server to "
    "set CaesarionAgent.program_approvals."
)

# Characters of a program's User-Agent that are recorded.
_CLIENT = 40


class Answer(Bounded):
    """The body of ``POST caesarion/api/approvals/<id>``."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["run", "refuse"]
    code: str | None = Field(None, min_length=1, max_length=1_048_576)
    shown: str | None = Field(None, max_length=200)
    reason: str = Field("", max_length=2_000)
    classes: Annotated[list[RiskClass], FailFast()] = Field([], alias="class", max_length=100)

    @field_validator("classes", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


class ApprovalHandler(BaseHandler):
    """
    ``POST caesarion/api/approvals/<id>``: run a call, run it with other code, or refuse it.

    With a ``class`` of the call, or several, calls of these classes do not wait in this chat
    any more. Invariant: no call runs without the hash of what was ``shown`` of it.
    """

    @web.authenticated
    @authorized
    def post(self, pending_id: str) -> None:
        """
        Answer 204; 400 for an unusable answer, 403 for a token, 404 if no such call waits.

        409 if something else was shown; then the call is shown again.
        """
        person = has_browser_session(self)
        if not person and not self.services.agent_settings.program_approvals:
            self.refuse(403, _NO_SESSION)
            return
        answer = self.body(Answer)
        by = name_of_user(self)
        try:
            self.services.approvals.settle(
                pending_id,
                answer.decision,
                by if person else f"{by} ({self._client()})",
                answer.code,
                answer.reason.strip(),
                program=not person,
                classes=answer.classes,
                shown=answer.shown if answer.decision == "refuse" else answer.shown or "",
            )
        except NotWaiting as error:
            self.refuse(404, str(error))
        except NotShown as error:
            self.services.changes.tell_again()
            self.refuse(409, str(error))
        except ToolError as error:
            self.refuse(400, str(error))
        else:
            self.set_status(204)
            self.finish()

    def _client(self) -> str:
        """Return what the program calls itself."""
        name = self.request.headers.get("User-Agent", "")
        return "".join(filter(str.isprintable, name))[:_CLIENT] or "a program"


class AllowedClassesHandler(BaseHandler):
    """``caesarion/api/allowed-classes``: the classes of calls that do not wait in a chat."""

    _track_activity = False

    @web.authenticated
    @authorized
    def get(self) -> None:
        """Answer with the classes that are ``allowed`` in ``chat_id``, by whom and since when."""
        allowed = self.services.approvals.allowed_in(self._chat_id())
        self.finish(
            {"allowed": [{"class": one.risk_class, "by": one.by, "at": one.at} for one in allowed]}
        )

    @web.authenticated
    @authorized
    def delete(self) -> None:
        """Let calls of ``class`` wait again in ``chat_id``; 204, also if they did already."""
        self.services.approvals.revoke(self._chat_id(), self.get_query_argument("class", ""))
        self.set_status(204)
        self.finish()

    def _chat_id(self) -> str:
        chat_id: str = self.get_query_argument("chat_id", "")
        if not chat_id:
            self.refuse(400, "No chat is named. Name it in the query: chat_id=...")
            raise web.Finish
        return chat_id
