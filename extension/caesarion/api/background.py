"""
Begin a run in the background, once for each idempotency key.

Used by the handlers of ``chat``, ``execute`` and ``runs``.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Self

from pydantic import Field, model_validator

from caesarion.api.base import BaseHandler
from caesarion.api.notebooks import status_of
from caesarion.bodies import Bounded
from caesarion.errors import JournalError, KernelError, NotebookError, UnknownKernel
from caesarion.runs.run import Run, Subject, digest_of
from caesarion.runs.store import Work


class Keyed(Bounded):
    """A request that may be sent again without being done again."""

    idempotency_key: str | None = Field(None, min_length=1, max_length=200)


class MayStream(Keyed):
    """A request that a stream answers, or a run in the background."""

    background: bool = False

    @model_validator(mode="after")
    def _a_stream_has_no_key(self) -> Self:
        if self.idempotency_key and not self.background:
            raise ValueError('An idempotency_key needs "background": true: a stream has none.')
        return self


async def begin(
    handler: BaseHandler,
    subject: Subject,
    request: Keyed,
    work: Work,
    check: Callable[[], Awaitable[object]],
) -> None:
    """
    Answer 202 with the run that does ``work``, begun by this request or by the same one before.

    409 if another request had the same idempotency key, 507 if the run's journal cannot be
    written. ``check`` raises for a request whose kernel or notebook cannot be used.
    """
    runs = handler.services.runs
    await runs.load()
    asked = request.model_dump(exclude={"background", "idempotency_key", "kind"})
    digest = digest_of({**asked, "kind": subject.kind})
    subject = replace(subject, idempotency_key=request.idempotency_key or "", digest=digest)
    if _is_answered(handler, subject):
        return
    try:
        await check()
        if not _is_answered(handler, subject):
            _answer(handler, runs.start(subject, work))
    except UnknownKernel as error:
        handler.refuse(404, str(error))
    except KernelError as error:
        handler.refuse(409, str(error))
    except NotebookError as error:
        handler.refuse(status_of(error), str(error))
    except JournalError as error:
        handler.refuse(507, str(error))


def _is_answered(handler: BaseHandler, subject: Subject) -> bool:
    """Answer with the run of an earlier request with the same key; return whether there is one."""
    key = subject.idempotency_key
    before = handler.services.runs.find_by_key(key) if key else None
    if before and before.subject.digest != subject.digest:
        handler.refuse(
            409,
            f"The idempotency key {key!r} was used for another request, which is {before.id}. "
            "Send that request, or choose a new key.",
        )
    elif before:
        _answer(handler, before)
    return before is not None


def _answer(handler: BaseHandler, run: Run) -> None:
    shown: dict[str, Any] = run.to_dict()
    handler.set_status(202)
    handler.set_header("Location", f"{handler.request.path.rpartition('/')[0]}/runs/{run.id}")
    handler.finish(shown)
