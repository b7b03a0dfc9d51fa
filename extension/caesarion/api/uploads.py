"""
The HTTP door of uploads: put a file into the folder, list what is there, delete one.

Finds the uploads in the server's settings; ``caesarion.files.multipart`` takes the
request apart. A body goes to disk piece by piece as it arrives. What is refused
is answered with one JSON sentence, ``{"message": ...}``.
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
from caesarion.files.uploads import Incoming, UploadError, Uploads
from caesarion.services import Services

# Bytes of a form beside the file: boundaries, headers, small fields.
_AROUND = 16_384

# Seconds that a client has to stop sending what was refused. To close at once would
# cost it the answer: unread data makes a connection break, not end.
_LINGER = 10.0

_STRANGER = "Only the server's user may do this. Send a token, or a cookie with its X-XSRFToken."


class _UploadsHandler(APIHandler):
    auth_resource = "caesarion"

    @property
    def uploads(self) -> Uploads:
        services: Services = self.settings["caesarion"]
        return services.uploads


@web.stream_request_body
class UploadsHandler(_UploadsHandler):
    """``GET`` and ``POST caesarion/api/uploads``: what is there; one more file."""

    _form: Form | None = None
    _incoming: Incoming | None = None
    _received = 0
    _refused = False

    async def prepare(self) -> None:  # type: ignore[override] # as APIHandler's own
        """Look at who asks, and of a form at its headers, before its body comes."""
        async with self._refusing():
            await super().prepare()
            if self.request.method == "POST":
                await self._admit()

    async def data_received(self, chunk: bytes) -> None:
        """Write what ``chunk`` holds of the file to disk; raise nothing, refuse."""
        if self._form and not self._refused:
            async with self._refusing():
                await self._receive(self._form, chunk)

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer the list of files, each with name, size and path."""
        self.finish(json.dumps(await asyncio.to_thread(self.uploads.files)))

    async def post(self) -> None:
        """Answer 201 and the name, size, path ... and preview of the file, which has arrived."""
        async with self._refusing():
            await self._keep()
        if self._refused:
            self.finish()

    def on_connection_close(self) -> None:
        """Leave nothing of an upload that was broken off."""
        super().on_connection_close()
        if self._incoming:
            asyncio.get_running_loop().run_in_executor(None, self._incoming.discard)

    @authorized
    async def _admit(self) -> None:
        """Raise HTTPError, FormError or UploadError if the body need not be read."""
        length = self.request.headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdecimal() else 0
        allowed = self.uploads.max_size + _AROUND
        assert self.serverapp is not None
        # The server's own limit is for all requests; what is refused has none, as it is dropped.
        self._connection.set_max_body_size(max(allowed, size, self.serverapp.max_body_size))
        kind = self.request.headers.get("Content-Type", "")
        if kind.partition(";")[0].strip().lower() != "multipart/form-data":
            raise UploadError(415, "A file is sent as multipart/form-data, and this is not.")
        self._form = Form(kind)
        await asyncio.to_thread(self.uploads.check_room, max(0, size - _AROUND))

    async def _receive(self, form: Form, chunk: bytes) -> None:
        self._received += len(chunk)
        for piece in form.feed(chunk):
            if isinstance(piece, bytes):
                assert self._incoming is not None
                await asyncio.to_thread(self._incoming.write, piece)
            elif self._incoming is None:
                self._incoming = await asyncio.to_thread(self.uploads.receive, piece.name)
            else:
                raise FormError("There is more than one file in the form. Send each by itself.")
        if self._received > self.uploads.max_size + _AROUND:
            raise UploadError(413, f"The form has more than {_AROUND:,} bytes beside its file.")

    @authorized
    async def _keep(self) -> None:
        """Keep the file that has arrived, and answer; raise FormError or UploadError."""
        if not (self._form and self._form.whole):
            raise FormError("The form ended before its last boundary. Send it again.")
        if self._incoming is None:
            raise FormError("There is no file in the form. Send one, with its name.")
        path = await asyncio.to_thread(self._incoming.keep)
        self.set_status(201)
        self.set_header("Location", url_path_join(self.request.path, quote(path.name)))
        self.finish(
            {
                "name": path.name,
                "size": self._incoming.size,
                "path": str(path),
                "attachment": self.uploads.attachment(path),
                "preview": await self.uploads.preview(path),
            }
        )

    @contextlib.asynccontextmanager
    async def _refusing(self) -> AsyncIterator[None]:
        try:
            yield
        except UploadError as error:
            await self._refuse(error.status, str(error))
        except FormError as error:
            await self._refuse(400, str(error))
        except web.HTTPError as error:
            known = _STRANGER if error.status_code == 403 else error.get_message()
            await self._refuse(error.status_code, known or str(error))

    async def _refuse(self, status: int, sentence: str) -> None:
        """Answer at once; what the client still sends is read and dropped."""
        self._refused = True
        # When all is read, what would have answered only ends the answer.
        setattr(self, str(self.request.method).lower(), self._end)
        if self._incoming:
            await asyncio.to_thread(self._incoming.discard)
        answer = json.dumps({"message": sentence})
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Content-Length", len(answer))
        # A proxy would keep the connection and let the next request wait behind the rest.
        self.set_header("Connection", "close")
        self.write(answer)
        if not self._received and self.request.headers.get("Expect", "").lower() == "100-continue":
            self.finish()  # The client waits for leave to send.
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
        """Delete one file: 204, or 404 or 409 with a sentence."""
        try:
            await asyncio.to_thread(self.uploads.delete, name)
        except UploadError as error:
            self.set_status(error.status)
            self.finish({"message": str(error)})
            return
        self.set_status(204)
        self.finish()
