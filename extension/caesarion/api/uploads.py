"""
The HTTP API of uploads: upload a file, list the folder, delete a file.

Takes :class:`caesarion.files.uploads.Uploads` from the server's settings, and parses the form
with :mod:`caesarion.files.multipart`. A body is written to disk as it arrives. An error is
answered with one JSON sentence, ``{"message": ...}``.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import cast
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from caesarion.files.multipart import Form, FormError
from caesarion.files.uploads import IncomingFile, UploadError, Uploads
from caesarion.services import Services

# Bytes that a form may have besides its file: boundaries, headers, small fields.
_FORM_OVERHEAD = 16_384

# Seconds that a client has to stop sending a refused file. If the connection were closed at
# once, its unread data would reset it, and the client would lose the answer.
_LINGER = 10.0

_FORBIDDEN = (
    "Only the user of this server may do this. Send a token, or a cookie with its X-XSRFToken."
)


class _UploadsHandler(APIHandler):
    auth_resource = "caesarion"

    @property
    def uploads(self) -> Uploads:
        services: Services = self.settings["caesarion"]
        return services.uploads


@web.stream_request_body
class UploadsHandler(_UploadsHandler):
    """``GET`` and ``POST caesarion/api/uploads``: list the files; upload one."""

    _form: Form | None = None
    _incoming: IncomingFile | None = None
    _received = 0
    _refused = False

    async def prepare(self) -> None:  # type: ignore[override] # as APIHandler's own
        """Check the client, and the headers of a form, before its body is read."""
        async with self._errors_answered():
            await super().prepare()
            if self.request.method == "POST":
                await self._admit()

    async def data_received(self, chunk: bytes) -> None:
        """Write the part of the file in ``chunk`` to disk; answer errors, do not raise them."""
        if self._form and not self._refused:
            async with self._errors_answered():
                await self._receive(self._form, chunk)

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the list of files, each with name, size and path."""
        self.finish(json.dumps(await asyncio.to_thread(self.uploads.files)))

    async def post(self) -> None:
        """Answer 201 with the name, size, paths and preview of the uploaded file."""
        async with self._errors_answered():
            await self._keep()
        if self._refused:
            self.finish()

    def on_connection_close(self) -> None:
        """Delete the file of an interrupted upload."""
        super().on_connection_close()
        if self._incoming:
            asyncio.get_running_loop().run_in_executor(None, self._incoming.discard)

    @authorized
    async def _admit(self) -> None:
        """Raise HTTPError, FormError or UploadError for a request that its headers rule out."""
        length = self.request.headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdecimal() else 0
        allowed = self.uploads.max_size + _FORM_OVERHEAD
        assert self.serverapp is not None
        # Jupyter Server's limit is for other requests; the body of a refused one is discarded.
        self._connection.set_max_body_size(max(allowed, size, self.serverapp.max_body_size))
        kind = self.request.headers.get("Content-Type", "")
        if kind.partition(";")[0].strip().lower() != "multipart/form-data":
            raise UploadError(415, "The body is not multipart/form-data. Send the file as a form.")
        self._form = Form(kind)
        await asyncio.to_thread(self.uploads.check_space, max(0, size - _FORM_OVERHEAD))

    async def _receive(self, form: Form, chunk: bytes) -> None:
        self._received += len(chunk)
        for piece in form.feed(chunk):
            if isinstance(piece, bytes):
                assert self._incoming is not None
                await asyncio.to_thread(self._incoming.write, piece)
            elif self._incoming is None:
                self._incoming = await asyncio.to_thread(self.uploads.receive, piece.name)
            else:
                raise FormError("The form contains more than one file. Send each by itself.")
        if self._received > self.uploads.max_size + _FORM_OVERHEAD:
            raise UploadError(
                413, f"The form has more than {_FORM_OVERHEAD:,} bytes besides its file."
            )

    @authorized
    async def _keep(self) -> None:
        """Put the uploaded file into the folder, and answer; raise FormError or UploadError."""
        if not (self._form and self._form.whole):
            raise FormError("The form ended before its last boundary. Send it again.")
        if self._incoming is None:
            raise FormError("The form contains no file. Send one, with its name.")
        path = await asyncio.to_thread(self._incoming.keep)
        preview = await self.uploads.preview(path)
        if session_id := self.get_query_argument("session_id", "")[:200]:
            self.uploads.note(session_id, path, preview)
        self.set_status(201)
        self.set_header("Location", url_path_join(self.request.path, quote(path.name)))
        self.finish(
            {
                "name": path.name,
                "size": self._incoming.size,
                "path": str(path),
                "attachment": self.uploads.attachment(path),
                "preview": preview,
            }
        )

    @contextlib.asynccontextmanager
    async def _errors_answered(self) -> AsyncIterator[None]:
        try:
            yield
        except UploadError as error:
            await self._refuse(error.status, str(error))
        except FormError as error:
            await self._refuse(400, str(error))
        except web.HTTPError as error:
            known = _FORBIDDEN if error.status_code == 403 else error.get_message()
            await self._refuse(error.status_code, known or str(error))

    async def _refuse(self, status: int, sentence: str) -> None:
        """Answer with an error at once; the rest of the body is read and discarded."""
        self._refused = True
        # Tornado calls the method when the body has been read; it only ends the answer then.
        setattr(self, str(self.request.method).lower(), self._end)
        if self._incoming:
            await asyncio.to_thread(self._incoming.discard)
        answer = json.dumps({"message": sentence})
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Content-Length", len(answer))
        # Else a proxy would reuse the connection, and its next request wait behind the rest.
        self.set_header("Connection", "close")
        self.write(answer)
        if not self._received and self.request.headers.get("Expect", "").lower() == "100-continue":
            self.finish()  # The client waits for "100 Continue" and sends nothing.
            return
        self._connection.set_body_timeout(_LINGER)
        with contextlib.suppress(StreamClosedError):
            await self.flush()

    def _end(self) -> None:
        self.finish()  # Not awaited: the client may be gone.

    @property
    def _connection(self) -> HTTP1Connection:
        return cast(HTTP1Connection, self.request.connection)


class UploadHandler(_UploadsHandler):
    """``DELETE caesarion/api/uploads/<name>``."""

    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        """Delete one file: answer 204, or 404 or 409 with a sentence."""
        try:
            await asyncio.to_thread(self.uploads.delete, name)
        except UploadError as error:
            self.set_status(error.status)
            self.finish({"message": str(error)})
            return
        self.set_status(204)
        self.finish()
