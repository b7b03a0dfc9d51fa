"""
A chat as a notebook: pure functions from the chat's content to nbformat 4.

Called by :mod:`caesarion.api.notebooks`. What was said becomes Markdown,
Python that ran becomes code cells with their outputs, any other call Markdown.
The notebook is made to be run again from top to bottom, so code that was
stopped, refused or never ended is kept as text: to run it again is to hang again.
Code that failed is run again, and may fail: what it did before it failed counts.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode, v4

from caesarion.kernels.terminal import ANSI
from caesarion.message_metadata import (
    KEY,
    OUTPUT_MIME,
    call_of,
    code_block,
    code_of,
    describe_call,
    in_order,
    is_foreign,
    is_persons,
    record,
)
from caesarion.text import without_commands

_OURS = "application/vnd.caesarion."
_STDERR = "application/vnd.jupyter.stderr"
_JSON = re.compile(r"application/(json|.*\+json)")

# Why code is not run again, by the status of its call; the last is for a call that has none.
_NOT_AGAIN = {
    "interrupted": "This was stopped, so it is not run again.",
    "timeout": "This took too long and was stopped, so it is not run again.",
    "dead": "The kernel died in this, so it is not run again.",
    "waiting": "This waited for a decision when the notebook was made: it did not run.",
    "refused": "This was refused: it did not run.",
}
_NOT_ENDED = "This had not ended when the notebook was made, so it is not run again."


@dataclass(frozen=True)
class Said:
    """One message of a chat as its file has it."""

    id: str
    sender: str = ""
    body: str = ""
    attachments: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] | None = None
    deleted: bool | None = None


def read(content: dict[str, Any]) -> list[Said]:
    """Return the messages of a chat's content, answers behind their questions."""
    files = content.get("attachments") or {}
    return in_order(
        [
            Said(
                id=str(message.get("id", number)),
                sender=str(message.get("sender", "")),
                body=str(message.get("body", "")),
                attachments=tuple(
                    str(files[one].get("value", ""))
                    for one in message.get("attachments") or ()
                    if one in files
                ),
                data=(message.get("mime_model") or {}).get("data") or {},
                metadata=message.get("metadata"),
                deleted=message.get("deleted"),
            )
            for number, message in enumerate(content.get("messages") or ())
        ]
    )


def place(content: dict[str, Any]) -> str:
    """
    Return the path of the notebook whose kernel ran all the code of a chat.

    Empty if there is no such notebook: the conversation's own kernel ran it, which
    works in the root, or several did.
    """
    calls = [record(said) for said in read(content) if record(said).get("kind") == "call"]
    places = {str(ours.get("place", "")) for ours in calls if code_of(call_of(ours)) is not None}
    return places.pop() if len(places) == 1 else ""


def make(content: dict[str, Any], path: str, kernelspec: dict[str, str]) -> NotebookNode:
    """
    Return the notebook of a chat's ``content``; ``path`` is the chat's.

    ``kernelspec`` has the name, display_name and language of the kernel.
    """
    names = _names(content)
    title = posixpath.basename(path).removesuffix(".chat")
    cells = [_markdown(f"# {title}\n\nFrom the chat `{path}`.")]
    speaker = ""
    messages = read(content)
    outputs = _outputs(messages)
    for said in messages:
        if record(said).get("kind") == "output":
            continue  # With its call.
        cell = _cell(said, outputs.get(said.id, []))
        if cell is None:
            continue
        if cell.cell_type == "markdown":
            if said.sender != speaker:
                cell.source = f"**{names.get(said.sender, said.sender)}**\n\n{cell.source}"
            speaker = said.sender
        cell.metadata[KEY] = {"chat": path, "message": said.id}
        cells.append(cell)
    metadata = {
        "kernelspec": kernelspec,
        "language_info": {"name": kernelspec["language"]},
        KEY: {"chat": path},
    }
    made: NotebookNode = v4.new_notebook(cells=cells, metadata=metadata)
    return made


def _names(content: dict[str, Any]) -> dict[str, str]:
    return {
        username: str(user.get("display_name") or user.get("name") or username)
        for username, user in (content.get("users") or {}).items()
    }


def _outputs(messages: list[Said]) -> dict[str, list[Said]]:
    """Return the outputs of each call, by its message's id: those that follow it in its turn."""
    found: dict[str, list[Said]] = {}
    calls: dict[str, list[Said]] = {}
    for said in messages:
        ours = record(said)
        question = str(ours.get("question"))
        if ours.get("kind") == "call":
            calls[question] = found[said.id] = []
        elif ours.get("kind") == "output" and question in calls:
            calls[question].append(said)
    return found


def _cell(said: Said, shown: list[Said]) -> NotebookNode | None:
    ours = record(said)
    if ours.get("kind") == "call":
        return _call(ours, shown)
    if is_persons(said.sender) and said.attachments:
        files = ", ".join(f"`{path}`" for path in said.attachments)
        return _markdown(without_commands(f"{said.body}\n\nAttached: {files}").strip())
    if is_foreign(said.sender) and not said.body.strip():
        return _markdown(without_commands(text)) if (text := _text(said)) else None
    if said.sender.startswith("hidden::") or not said.body.strip():
        return None
    return _markdown(without_commands(said.body))


def _call(ours: dict[str, Any], shown: list[Said]) -> NotebookNode:
    call, status = call_of(ours), ours.get("status")
    code = code_of(call)
    if code is None:
        parts = [describe_call(call)]
    elif status in ("ok", "error"):
        outputs = [output for said in shown for output in _output(said)]
        count = ours.get("execution_count")
        cell: NotebookNode = v4.new_code_cell(
            code, outputs=outputs, execution_count=count if isinstance(count, int) else None
        )
        if status == "error":
            cell.metadata["tags"] = ["raises-exception"]
        return cell
    else:
        why = _NOT_AGAIN.get(str(status), _NOT_ENDED)
        parts = [describe_call(call), f"*{why}*"]
    told = "\n\n".join(filter(None, [*parts, *map(_text, shown)]))
    return _markdown(without_commands(told))


def _output(said: Said) -> Iterator[NotebookNode]:
    """Yield what a message shows as an output of a cell; nothing if it was cleared."""
    mark = said.data.get(OUTPUT_MIME) or {}
    kind = mark.get("output_type", "display_data")
    data = {
        mime: _value(mime, value) for mime, value in said.data.items() if not mime.startswith(_OURS)
    }
    only = next(iter(data)) if len(data) == 1 else ""
    if only == _STDERR and kind == "error":
        yield _error(str(data[only]))
    elif only == _STDERR or (only == "text/plain" and kind == "stream"):
        if text := str(data[only]):
            name = "stderr" if only == _STDERR else "stdout"
            yield _shown("stream", name=name, text=text)
    elif kind == "execute_result":
        yield _shown(kind, data=data, execution_count=mark.get("execution_count"))
    elif data:
        yield _shown("display_data", data=data)


def _error(told: str) -> NotebookNode:
    """Return the error whose traceback is ``told``; its last line says what it was."""
    last = ANSI.sub("", told).rstrip().rpartition("\n")[2]
    name, _, value = last.partition(": ")
    return _shown("error", ename=name, evalue=value, traceback=told.split("\n"))


def _text(said: Said) -> str:
    """Return what a message shows as Markdown, if it can be said in words."""
    if isinstance(words := said.data.get("text/markdown"), str):
        return words
    for mime in ("text/plain", _STDERR):
        if isinstance(words := said.data.get(mime), str) and words:
            return code_block(ANSI.sub("", words).rstrip())
    return ""


def _value(mime: str, value: Any) -> Any:
    """Return ``value`` as nbformat takes it: text, unless its type is JSON."""
    if mime in ("text/html", "text/markdown") and isinstance(value, str):
        return without_commands(value)
    return value if isinstance(value, str) or _JSON.fullmatch(mime) else json.dumps(value)


def _markdown(text: str) -> NotebookNode:
    cell: NotebookNode = v4.new_markdown_cell(text)
    return cell


def _shown(kind: str, **fields: Any) -> NotebookNode:
    output: NotebookNode = v4.new_output(kind, **fields)
    return output
