"""
Which file a chat's id belongs to: with the id goes what was granted to the chat.

Called by :mod:`caesarion.chat.store`. Classes of calls that a person allowed, the kernel, and
the turns that can be undone are the chat's of an id, and a file can name any id. Invariant: of
the files that exist, one at most is a chat with a given id. A file keeps the id that it names
if this user's server has written it as a whole (:mod:`caesarion.chat.provenance`), and if the
chat with this id is at no other place: neither where the file says that it was written, nor
where this server has opened it. So a chat that was moved keeps its id, and a copy has none.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caesarion.chat import chat_file, provenance

Json = dict[str, Any]


class ChatFiles:
    """The files of the chats that one server has opened, by the chats' ids."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}

    def note(self, chat_id: str, file: Path) -> None:
        """Note that the chat with this id is in ``file``, which is resolved."""
        self._files[chat_id] = file

    def admit(self, key: bytes, content: Mapping[str, Any], root: Path, file: Path) -> Json:
        """
        Return the ``content`` of a ``file`` below ``root`` as what it is here.

        It has no id in its metadata if the one that it names is not the file's.
        """
        admitted = provenance.admit(key, content)
        chat_id = admitted["metadata"].get("id")
        if chat_id is not None:
            written = (root / provenance.path_when_written(content)).resolve()
            others = {written, self._files.get(chat_id, file)} - {file}
            if any(_id_in(other, key) == chat_id for other in others):
                del admitted["metadata"]["id"]
        return admitted

    def follow(self, root: Path, data: Mapping[str, Any]) -> list[str]:
        """
        Follow the files below ``root``; return the ids of chats whose file was deleted.

        ``data`` is an event of Jupyter Server's contents manager, about a file or a folder.
        """
        deleted = []
        changed = (root / data.get("source_path", data["path"])).resolve()
        for chat_id, file in list(self._files.items()):
            if not file.is_relative_to(changed):
                continue
            if data["action"] == "rename":
                moved = (root / data["path"]).resolve()
                self._files[chat_id] = moved / file.relative_to(changed)
            elif data["action"] == "delete":
                del self._files[chat_id]
                deleted.append(chat_id)
        return deleted


def _id_in(file: Path, key: bytes) -> str | None:
    """Return the id in a file that this user's server has written as a whole, else None."""
    try:
        content = chat_file.read(file)
    except OSError:
        return None
    chat_id: str | None = provenance.admit(key, content or {})["metadata"].get("id")
    return chat_id
