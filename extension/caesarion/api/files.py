"""
The HTTP API of files and folders by path; :mod:`caesarion.files.tree` works on them.

Called by programs, through the api service. Contents are streamed in both directions.
"""

import asyncio
import json
from pathlib import Path
from typing import IO, Literal

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, Field
from tornado import web
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from caesarion.api.base import BaseHandler
from caesarion.bodies import Bounded
from caesarion.files import tree
from caesarion.files.tree import FileError

_CHUNK = 262_144
_MAX_DEPTH = 20
_MAX_SIZE = 2**40


class _FilesHandler(BaseHandler):
    def path(self, argument: str = "path") -> Path:
        """Return the path that the query names."""
        return self.resolved(self.get_query_argument(argument, ""))

    def resolved(self, path: str) -> Path:
        """Return a path as an absolute one; with ``uploads`` an upload's name may be given."""
        assert self.serverapp is not None
        root = Path(self.serverapp.root_dir)
        if self.get_query_argument("uploads", "") == "true" and "/" not in path and path:
            upload = self.services.uploads.folder / path
            if upload.is_file() and not upload.is_symlink():
                return upload
        return tree.resolve(root, path)

    def refused(self, error: FileError) -> None:
        """Answer with a refusal."""
        self.refuse(error.status, str(error))


class Change(Bounded):
    """The body of ``POST caesarion/api/files``; ``target`` is for ``move``."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["make_dir", "move", "remove"]
    path: str = Field(max_length=4_096)
    target: str = Field("", max_length=4_096)


class FilesHandler(_FilesHandler):
    """``GET`` and ``POST caesarion/api/files``: look at entries; change them."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with an entry, or with ``depth`` above 0 the entries of a folder."""
        try:
            depth = min(int(self.get_query_argument("depth", "0")), _MAX_DEPTH)
        except ValueError:
            self.refuse(400, "depth must be a whole number.")
            return
        try:
            path = self.path()
            if depth > 0:
                found: object = await asyncio.to_thread(tree.entries, path, depth)
            else:
                found = await asyncio.to_thread(tree.describe, path)
        except FileError as error:
            self.refused(error)
        else:
            self.finish(json.dumps(found))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Make, move or remove; answer with the entry as it is now, or 204."""
        change = self.body(Change)
        try:
            path = self.resolved(change.path)
            if change.operation == "remove":
                await asyncio.to_thread(tree.remove, path, folders=True)
                self.set_status(204)
                self.finish()
                return
            if change.operation == "move":
                path, source = self.resolved(change.target), path
                await asyncio.to_thread(tree.move, source, path)
            else:
                await asyncio.to_thread(tree.make_folder, path)
            found = await asyncio.to_thread(tree.describe, path)
        except FileError as error:
            self.refused(error)
        else:
            self.finish(json.dumps(found))


@web.stream_request_body
class ContentHandler(_FilesHandler):
    """``GET``, ``PUT`` and ``DELETE caesarion/api/files/content``: one file's content."""

    _new: tree.NewFile | None = None
    _error: FileError | None = None

    async def prepare(self) -> None:  # type: ignore[override] # as APIHandler's own
        """Let a body be of any size, and open the file that it is for."""
        await super().prepare()
        if self.request.method == "PUT" and self.current_user:
            if isinstance(self.request.connection, HTTP1Connection):
                self.request.connection.set_max_body_size(_MAX_SIZE)
            await self._open()

    @authorized
    async def _open(self) -> None:
        try:
            self._new = await asyncio.to_thread(tree.NewFile, self.path())
        except FileError as error:
            self._error = error

    async def data_received(self, chunk: bytes) -> None:
        """Write a piece of the file; after an error the rest is read and dropped."""
        if self._new and not self._error:
            try:
                await asyncio.to_thread(self._new.write, chunk)
            except FileError as error:
                self._error = error

    @web.authenticated
    @authorized
    async def put(self) -> None:
        """Put the file into its place; answer with its entry."""
        try:
            if self._error or not self._new:
                raise self._error or FileError(400, "path is empty.")
            await asyncio.to_thread(self._new.keep)
            found = await asyncio.to_thread(tree.describe, self._new.path)
        except FileError as error:
            self._discard()
            self.refused(error)
        else:
            self.finish(json.dumps(found))

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Send the content as it is read."""
        try:
            file, size = await asyncio.to_thread(tree.open_to_read, self.path())
        except FileError as error:
            self.refused(error)
            return
        with file:
            self.set_header("Content-Type", "application/octet-stream")
            self.set_header("X-Content-Type-Options", "nosniff")
            self.set_header("Content-Length", size)
            try:
                await self._send(file, size)
            except StreamClosedError:
                return
        await self.finish()

    async def _send(self, file: IO[bytes], size: int) -> None:
        while size > 0:
            piece = await asyncio.to_thread(file.read, min(_CHUNK, size))
            if not piece:
                # The file was cut meanwhile: the client must not take it for whole.
                assert isinstance(self.request.connection, HTTP1Connection)
                self.request.connection.stream.close()
                raise StreamClosedError
            size -= len(piece)
            self.write(piece)
            await self.flush()

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        """Remove a file; answer 204."""
        try:
            await asyncio.to_thread(tree.remove, self.path(), folders=False)
        except FileError as error:
            self.refused(error)
        else:
            self.set_status(204)
            self.finish()

    def on_connection_close(self) -> None:
        """Leave nothing of a file whose client has gone."""
        super().on_connection_close()
        self._discard()

    def _discard(self) -> None:
        if self._new:
            asyncio.get_running_loop().run_in_executor(None, self._new.discard)
