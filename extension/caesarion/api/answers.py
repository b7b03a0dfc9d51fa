"""
``POST caesarion/api/answers/<id>``: a person's answer to a question of the agent.

Called by the labextension; :mod:`caesarion.agent.questions` has the questions that wait.
Invariant: only the session of a browser answers. Code in a kernel cannot answer for a person.
"""

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, Field
from tornado import web

from caesarion.agent.approval import NotWaiting
from caesarion.api.base import BaseHandler, has_browser_session
from caesarion.bodies import Bounded

_NO_SESSION = "A token cannot answer for a person. Answer in the browser."


class Answer(Bounded):
    """The body of ``POST caesarion/api/answers/<id>``: a choice, or other words."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    answer: str = Field(min_length=1, max_length=4_000)


class AnswerHandler(BaseHandler):
    """``POST caesarion/api/answers/<id>``."""

    @web.authenticated
    @authorized
    def post(self, question_id: str) -> None:
        """Answer 204; 403 for a token, 404 if no such question waits, 400 for a bad body."""
        if not has_browser_session(self):
            self.refuse(403, _NO_SESSION)
            return
        answer = self.body(Answer)
        by = self.current_user.name or self.current_user.username
        try:
            self.services.questions.answer(question_id, answer.answer, by)
        except NotWaiting as error:
            self.refuse(404, str(error))
        else:
            self.set_status(204)
            self.finish()
