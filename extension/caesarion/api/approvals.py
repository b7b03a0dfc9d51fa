"""
``POST caesarion/api/approvals/<id>``: the decision about a call that waits.

Called by the labextension; :mod:`caesarion.agent.approval` has the calls that wait.
Invariant: code that runs in a kernel cannot decide. The token of the user's server stands in a
kernel's environment, so a token decides only where CaesarionAgent.program_approvals lets
it, and the decision is recorded as a program's.
"""

from typing import Literal

from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel, ConfigDict, Field
from tornado import web

from caesarion.agent.approval import NotWaiting
from caesarion.api.base import BaseHandler
from caesarion.errors import ToolError

_NO_SESSION = (
    "A token cannot decide for a person. Decide in the browser, or ask whoever runs this server to "
    "set CaesarionAgent.program_approvals."
)

# Characters of a program's User-Agent that are recorded.
_CLIENT = 40


class Answer(BaseModel):
    """The body of ``POST caesarion/api/approvals/<id>``."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["run", "refuse"]
    code: str | None = Field(None, min_length=1)
    reason: str = Field("", max_length=2_000)


class ApprovalHandler(BaseHandler):
    """``POST caesarion/api/approvals/<id>``: run a call, run it with other code, or refuse it."""

    @web.authenticated
    @authorized
    def post(self, pending_id: str) -> None:
        """Answer 204; 403 for a token, 404 if no such call waits, 400 for an unusable answer."""
        person = self._has_browser_session()
        if not person and not self.services.agent_settings.program_approvals:
            self.refuse(403, _NO_SESSION)
            return
        answer = self.body(Answer)
        by = self.current_user.name or self.current_user.username
        try:
            self.services.approvals.settle(
                pending_id,
                answer.decision,
                by if person else f"{by} ({self._client()})",
                answer.code,
                answer.reason.strip(),
                program=not person,
            )
        except NotWaiting as error:
            self.refuse(404, str(error))
        except ToolError as error:
            self.refuse(400, str(error))
        else:
            self.set_status(204)
            self.finish()

    def _has_browser_session(self) -> bool:
        """Return whether a browser sent this that somebody has logged in with."""
        if self.token_authenticated:
            return False
        # Under JupyterHub the cookie is a token that is signed with the server's cookie secret,
        # which lies in a file: code in a kernel can sign the token that it has. But only tokens
        # that were issued at a login belong to a session (JupyterHub 5.0 and later say so).
        hub_user = getattr(self.current_user, "hub_user", None)
        return hub_user is None or bool(hub_user.get("session_id"))

    def _client(self) -> str:
        """Return what the program calls itself."""
        name = self.request.headers.get("User-Agent", "")
        return "".join(filter(str.isprintable, name))[:_CLIENT] or "a program"
