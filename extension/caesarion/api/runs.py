"""
``caesarion/api/runs``: begin, list, read and stop runs that outlive who asked for them.

Called by programs and by the labextension; :mod:`caesarion.runs.store` has the runs.
"""

import asyncio
import json
from typing import Annotated, Any, Literal

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, FailFast, Field, RootModel, ValidationError
from tornado import web

from caesarion.api import chat, execute, notebook_run
from caesarion.api.base import BaseHandler, problem
from caesarion.api.streaming import StreamHandler
from caesarion.bodies import Bounded
from caesarion.runs.journal import Entry
from caesarion.runs.run import Run, RunStatus


class ChatRun(chat.Question):
    """A run that answers a question."""

    kind: Literal["chat"]


class CodeRun(execute.Code):
    """A run of code."""

    kind: Literal["execute"]


class NotebookRun(notebook_run.KeyedNotebook):
    """A run of a notebook from top to bottom."""

    kind: Literal["notebook"]


class NewRun(RootModel[Annotated[ChatRun | CodeRun | NotebookRun, Field(discriminator="kind")]]):
    """The body of ``POST caesarion/api/runs``."""


class Filters(Bounded):
    """The query of ``GET caesarion/api/runs``."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[list[RunStatus], FailFast()] = Field([], max_length=100)
    session_id: str | None = Field(None, max_length=200)
    chat_path: str | None = Field(None, max_length=4_096)
    after: str | None = Field(None, max_length=200)
    limit: int = Field(20, ge=1, le=100)

    def admits(self, run: Run) -> bool:
        """Return whether ``run`` is asked for."""
        subject = run.subject
        return (
            (not self.status or run.status in self.status)
            and self.session_id in (None, subject.session_id)
            and self.chat_path in (None, subject.chat_path)
        )


class RunsHandler(BaseHandler):
    """``caesarion/api/runs``: begin a run, list runs."""

    # Whoever watches the list must not keep the server from being culled.
    _track_activity = False

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Answer 202 and the run; 400, 404, 409, 413 or 507 in a sentence."""
        request = self.body(NewRun).root
        if isinstance(request, ChatRun):
            await chat.begin(self, request)
        elif isinstance(request, CodeRun):
            await execute.begin(self, request)
        else:
            await notebook_run.begin(self, request)

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the runs that are asked for, newest first; 400 for a filter that is wrong."""
        filters = self._filters()
        runs = self.services.runs
        await runs.load()
        if filters.after is not None and runs.find(filters.after) is None:
            self.refuse(400, f"There is no run {filters.after[:80]!r} to list runs after.")
            return
        found: list[Run] = []
        is_due = filters.after is None
        for run in runs.newest_first():
            if is_due and filters.admits(run):
                found.append(run)
            is_due = is_due or run.id == filters.after
            if len(found) > filters.limit:
                break
        shown = [run.to_dict() for run in found[: filters.limit]]
        self.finish({"runs": shown, "has_more": len(found) > filters.limit})

    def _filters(self) -> Filters:
        """Return the query; raise web.Finish after refusing it."""
        query: dict[str, Any] = {name: self.get_query_argument(name) for name in self._names()}
        if "status" in query:
            query["status"] = query["status"].split(",")
        try:
            return Filters.model_validate(query)
        except ValidationError as error:
            self.refuse(400, problem(error, "query"))
            raise web.Finish from error

    def _names(self) -> list[str]:
        return [name for name in self.request.query_arguments if name != "token"]


class OneRunHandler(BaseHandler):
    """The base of the routes of one run."""

    _track_activity = False

    async def find(self, run_id: str) -> Run:
        """Return the run; raise web.Finish after refusing one that there is not."""
        runs = self.services.runs
        await runs.load()
        run = runs.find(run_id)
        if run is None:
            self.refuse(
                404,
                f"There is no run {run_id[:80]!r}. It may have been deleted: ended runs are kept "
                "for CaesarionRuns.keep_days, and the newest keep_bytes of them.",
            )
            raise web.Finish
        return run


class RunHandler(OneRunHandler):
    """``GET caesarion/api/runs/<id>``."""

    @web.authenticated
    @authorized
    async def get(self, run_id: str) -> None:
        """Answer with the run; 404."""
        self.finish((await self.find(run_id)).to_dict())


class CancelHandler(OneRunHandler):
    """``POST caesarion/api/runs/<id>/cancel``."""

    @web.authenticated
    @authorized
    async def post(self, run_id: str) -> None:
        """Stop the run, unless it has ended; 202 and the run as it is now; 404."""
        run = await self.find(run_id)
        self.services.runs.cancel(run.id)
        self.set_status(202)
        self.finish(run.to_dict())


class EventsHandler(OneRunHandler, StreamHandler):
    """``GET caesarion/api/runs/<id>/events``."""

    @web.authenticated
    @authorized
    async def get(self, run_id: str) -> None:
        """Stream the events behind ``starting_after`` until the run has ended; 400, 404."""
        after = self._after()
        await self.stream(self._send_events(await self.find(run_id), after))

    def stop_with_server(self, task: "asyncio.Task[None]") -> None:
        """Go on: the run ends now, and the stream with it."""

    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """Return the end of a stream that could not go on."""
        return f"event: error\ndata: {json.dumps({'message': sentence})}\n\n"

    async def _send_events(self, run: Run, after: int) -> None:
        try:
            async with self.services.runs.events(run, after) as events:
                self.begin_events()
                await self.flush()
                async with self.heartbeat(lambda: ": still at work\n\n"):
                    async for entry in events:
                        await self.send(_server_sent(entry))
        except FileNotFoundError:
            self.refuse(404, f"The events of the run {run.id!r} could not be kept.")

    def _after(self) -> int:
        """Return the number of the last event that the client has; raise web.Finish."""
        given = self.get_query_argument(
            "starting_after", self.request.headers.get("Last-Event-ID", "0")
        )
        if not (given.isascii() and given.isdigit() and len(given) < 16):
            self.refuse(
                400,
                f"starting_after, or Last-Event-ID, is {given[:80]!r}. Give the number of the last "
                "event that you have, or 0.",
            )
            raise web.Finish
        return int(given)


def _server_sent(entry: Entry) -> str:
    return f"id: {entry.number}\nevent: {entry.name}\ndata: {json.dumps(entry.data)}\n\n"
