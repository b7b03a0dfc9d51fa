"""
``POST caesarion/api/changes``: keep changes that were applied, or undo them.

Called by the labextension, from the bar and the marks of a notebook;
:mod:`caesarion.notebooks.changes` has the list. Changes that wait for a decision are decided by
``POST caesarion/api/approvals/<id>``.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, FailFast, Field
from tornado import web

from caesarion.api.base import BaseHandler, has_browser_session, name_of_user
from caesarion.bodies import Bounded
from caesarion.errors import StaleCell, ToolError, UnknownCell
from caesarion.notebooks.change_record import Decision, record_decision
from caesarion.notebooks.changes import Change

DECISIONS: Mapping[Literal["keep", "undo"], Decision] = {
    "keep": "kept",
    "undo": "undone",
}

_NO_SESSION = "A token cannot decide for a person about changes. Decide in the browser."


Id = Annotated[str, Field(max_length=200)]


class Answer(Bounded):
    """The body of ``POST caesarion/api/changes``."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=4_096)
    ids: Annotated[list[Id], FailFast()] = Field(min_length=1, max_length=10_000)
    decision: Literal["keep", "undo"]


class ChangesHandler(BaseHandler):
    """``POST caesarion/api/changes``: keep or undo applied changes of a notebook."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """
        Answer 200 with the ids that were ``undone``, and of the others ``problems`` in sentences.

        403 for a token. Changes that are not on the list any more are passed over.
        """
        if not has_browser_session(self):
            self.refuse(403, _NO_SESSION)
            return
        answer = self.body(Answer)
        changes, document = self.services.changes, self.services.documents.document(answer.path)
        meant = [
            change
            for change in changes.of(document.path)
            if change.id in answer.ids and change.state == "applied"
        ]
        undone: list[str] = []
        problems: dict[str, str] = {}
        # The newest first: each stands on those before it.
        for change in reversed(meant if answer.decision == "undo" else []):
            try:
                await document.apply(change.undo)
                undone.append(change.id)
            except StaleCell:
                problems[change.id] = "The cell was changed since, so it stays as it is."
            except UnknownCell:
                problems[change.id] = "The cell, or the one above it, was deleted since."
            except ToolError as error:
                problems[change.id] = str(error)
        changes.looked_at(document.path, set(answer.ids) - problems.keys())
        self._report([change for change in meant if change.id not in problems], answer.decision)
        self.finish({"undone": undone, "problems": problems})

    def _report(self, changes: Sequence[Change], decision: Literal["keep", "undo"]) -> None:
        """Let the gateway's audit know what was decided."""
        by, done = name_of_user(self), DECISIONS[decision]
        chats = {change.origin.chat_id for change in changes}
        for chat_id in sorted(chats):
            records = [
                record_decision(change.card(), done, by)
                for change in changes
                if change.origin.chat_id == chat_id
            ]
            self.services.model.report_decisions(chat_id, records)
