"""
``POST caesarion/api/approvals/<id>``: a person answers a call that waits for them.

Called by the labextension; :mod:`caesarion.agent.approval` has the calls that wait.
"""

from typing import Literal

from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel, ConfigDict, Field
from tornado import web

from caesarion.agent.approval import NotWaiting
from caesarion.api.base import BaseHandler
from caesarion.errors import ToolError


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
        """Answer 204; 404 if nobody waits for it, 400 for an answer that cannot be used."""
        answer = self.body(Answer)
        by = self.current_user.name or self.current_user.username
        try:
            self.services.approvals.settle(
                pending_id, answer.decision, by, answer.code, answer.reason.strip()
            )
        except NotWaiting as error:
            self.refuse(404, str(error))
        except ToolError as error:
            self.refuse(400, str(error))
        else:
            self.set_status(204)
            self.finish()
