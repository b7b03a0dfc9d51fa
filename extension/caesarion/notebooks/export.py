"""
Export of a chat as a notebook: pure functions from the chat's content to nbformat 4.

Called by :mod:`caesarion.api.notebooks`. Words become Markdown cells, Python that ran
becomes code cells with their outputs, other calls become Markdown. The notebook is made to
be run from top to bottom, so code that was stopped, refused or never ended is kept as text:
it would hang again. Code that failed stays code that may fail, since what it did before it
failed counts. Scratch code is passed over, since its names would stay.
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
    is_scratch,
    record,
)
from caesarion.notebooks.remote_content import inert_bundle, inert_markdown
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
class ChatMessage:
    """One message of a chat's file."""

    id: str
    sender: str = ""
    body: str = ""
    attachments: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] | None = None
    deleted: bool | None = None


def read_messages(content: dict[str, Any]) -> list[ChatMessage]:
    """Return the messages of a chat's content, answers behind their questions."""
    files = content.get("attachments") or {}
    return in_order(
        [
            ChatMessage(
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


def notebook_path(content: dict[str, Any]) -> str:
    """
    Return the path of the notebook whose kernel ran all the code of a chat.

    It is empty if several kernels ran code, or the conversation's own, which works in the
    root.
    """
    records = map(record, read_messages(content))
    calls = [ours for ours in records if ours.get("kind") == "call"]
    paths = {str(ours.get("place", "")) for ours in calls if code_of(call_of(ours)) is not None}
    return paths.pop() if len(paths) == 1 else ""


def make_notebook(content: dict[str, Any], path: str, kernelspec: dict[str, str]) -> NotebookNode:
    """
    Return the notebook of a chat's ``content``; ``path`` is the chat's.

    ``kernelspec`` has the name, display_name and language of the kernel.
    """
    names = _names(content)
    title = posixpath.basename(path).removesuffix(".chat")
    cells = [_markdown(f"# {title}\n\nFrom the chat `{path}`.")]
    speaker = ""
    messages = read_messages(content)
    outputs = _outputs(messages)
    for message in messages:
        if record(message).get("kind") == "output":
            continue  # It is a part of its call's cell.
        cell = _cell(message, outputs.get(message.id, []))
        if cell is None:
            continue
        if cell.cell_type == "markdown":
            if message.sender != speaker:
                name = inert_markdown(names.get(message.sender, message.sender))
                cell.source = f"**{name}**\n\n{cell.source}"
            speaker = message.sender
        cell.metadata[KEY] = {"chat": path, "message": message.id}
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


def _outputs(messages: list[ChatMessage]) -> dict[str, list[ChatMessage]]:
    """Return the outputs of each call, by its message's id: those that follow it in its turn."""
    found: dict[str, list[ChatMessage]] = {}
    calls: dict[str, list[ChatMessage]] = {}
    for message in messages:
        ours = record(message)
        question = str(ours.get("question"))
        if ours.get("kind") == "call":
            calls[question] = found[message.id] = []
        elif ours.get("kind") == "output" and question in calls:
            calls[question].append(message)
    return found


def _cell(message: ChatMessage, shown: list[ChatMessage]) -> NotebookNode | None:
    ours = record(message)
    if ours.get("kind") == "call":
        return _call(ours, shown)
    if is_persons(message.sender) and message.attachments:
        files = ", ".join(f"`{path}`" for path in message.attachments)
        return _markdown(f"{message.body}\n\nAttached: {files}".strip())
    if is_foreign(message.sender) and not message.body.strip():
        return _markdown(text) if (text := _text(message)) else None
    if message.sender.startswith("hidden::") or not message.body.strip():
        return None
    return _markdown(message.body)


def _call(ours: dict[str, Any], shown: list[ChatMessage]) -> NotebookNode:
    call, status = call_of(ours), ours.get("status")
    code = code_of(call)
    if code is None:
        answer = ours.get("answer")
        words = str(answer.get("text", "")) if isinstance(answer, dict) else ""
        parts = [describe_call(call), f"**Answer:** {words}" if words else ""]
    elif status in ("ok", "error"):
        outputs = [output for message in shown for output in _output(message)]
        count = ours.get("execution_count")
        cell: NotebookNode = v4.new_code_cell(
            code, outputs=outputs, execution_count=count if isinstance(count, int) else None
        )
        if is_scratch(call):
            cell.metadata["tags"] = ["skip-execution"]
        elif status == "error":
            cell.metadata["tags"] = ["raises-exception"]
        return cell
    else:
        why = _NOT_AGAIN.get(str(status), _NOT_ENDED)
        parts = [describe_call(call), f"*{why}*"]
    text = "\n\n".join(filter(None, [*parts, *map(_text, shown)]))
    return _markdown(text)


def _output(message: ChatMessage) -> Iterator[NotebookNode]:
    """Yield what a message shows as an output of a cell; nothing if it was cleared."""
    mark = message.data.get(OUTPUT_MIME) or {}
    kind = mark.get("output_type", "display_data")
    data = {
        mime: _value(mime, value)
        for mime, value in message.data.items()
        if not mime.startswith(_OURS)
    }
    only = next(iter(data)) if len(data) == 1 else ""
    if only == _STDERR and kind == "error":
        yield _error(str(data[only]))
    elif only == _STDERR or (only == "text/plain" and kind == "stream"):
        if text := str(data[only]):
            name = "stderr" if only == _STDERR else "stdout"
            yield _make_output("stream", name=name, text=text)
    elif kind == "execute_result":
        data = inert_bundle(data)
        yield _make_output(kind, data=data, execution_count=mark.get("execution_count"))
    elif data:
        yield _make_output("display_data", data=inert_bundle(data))


def _error(traceback: str) -> NotebookNode:
    """Return the error of ``traceback``, whose last line has its name and value."""
    last = ANSI.sub("", traceback).rstrip().rpartition("\n")[2]
    name, _, value = last.partition(": ")
    return _make_output("error", ename=name, evalue=value, traceback=traceback.split("\n"))


def _text(message: ChatMessage) -> str:
    """Return what a message shows as Markdown, if it has any text."""
    if isinstance(text := message.data.get("text/markdown"), str):
        return text
    for mime in ("text/plain", _STDERR):
        if isinstance(text := message.data.get(mime), str) and text:
            return code_block(ANSI.sub("", text).rstrip())
    return ""


def _value(mime: str, value: Any) -> Any:
    """Return ``value`` as nbformat takes it: text, unless its type is JSON."""
    if mime in ("text/html", "text/markdown") and isinstance(value, str):
        return without_commands(value)
    return value if isinstance(value, str) or _JSON.fullmatch(mime) else json.dumps(value)


def _markdown(text: str) -> NotebookNode:
    cell: NotebookNode = v4.new_markdown_cell(inert_markdown(without_commands(text)))
    return cell


def _make_output(kind: str, **fields: Any) -> NotebookNode:
    output: NotebookNode = v4.new_output(kind, **fields)
    return output
