"""
A request as the demo model's rules read it: the question, and the results so far.

Called by ``model``, which passes it to ``rules``. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from caesarion_hub.gateway.errors import GatewayError

_RESULT_END = 4096

# The lab adds paragraphs behind a question that begin like this.
_ADDED = re.compile(r"\n\n\[(?:Attached|Sent along)\b")
_CONTEXT = "\n\n[Sent along"
_ATTACHED = re.compile(r"\n\n\[Attached: (?P<path>.+)\](?P<known>(?:\n(?!\n).*)*)")


@dataclass(frozen=True)
class Step:
    """A call since the question, and its result."""

    tool: str
    result: str


@dataclass(frozen=True)
class Turn:
    """
    One question.

    ``context`` is what the lab has added behind it: the selected cell, its error, variables.
    ``attached`` are the paths of the files attached to it, each with the lines of its digest;
    ``files`` are all files of the conversation, the newest first; ``images`` is the number of
    the question's images. ``results`` are the tools' results since the question, the oldest
    first, and ``steps`` say whose they are. ``tools`` are the tools of the request with the names
    of their arguments (empty if the request does not name them). ``is_first`` says that there is
    no answer yet in this conversation.
    """

    question: str
    results: tuple[str, ...] = ()
    tools: Mapping[str, frozenset[str]] = field(default_factory=dict)
    is_first: bool = False
    attached: tuple[tuple[str, tuple[str, ...]], ...] = ()
    files: tuple[tuple[str, tuple[str, ...]], ...] = ()
    images: int = 0
    context: str = ""
    steps: tuple[Step, ...] = ()

    def offers(self, tool: str, *arguments: str) -> bool:
        """Whether ``tool`` may be called with these arguments."""
        known = self.tools.get(tool)
        return known is not None and (not known or known.issuperset(arguments))


def read_turn(body: Mapping[str, Any]) -> Turn:
    """Read a request; raise GatewayError if it is not in OpenAI's shape."""
    messages = list(_objects(body["messages"], "messages"))
    asked = max(
        (at for at, message in enumerate(messages) if message.get("role") == "user"), default=None
    )
    if asked is None:
        raise _bad_shape("messages", "a message of the role 'user'")
    since = messages[asked + 1 :]
    content = messages[asked].get("content")
    words = _text(content)
    return Turn(
        question=_ADDED.split(words, maxsplit=1)[0],
        attached=tuple(_attached(words)),
        files=tuple(
            file
            for message in reversed(messages[: asked + 1])
            if message.get("role") == "user"
            for file in _attached(_text(message.get("content")))
        ),
        images=_pictures(content),
        results=tuple(_ends(_text(m.get("content"))) for m in since if m.get("role") == "tool"),
        tools={} if body.get("tool_choice") == "none" else dict(_tools(body.get("tools"))),
        context=words.partition(_CONTEXT)[2],
        steps=tuple(_steps(since)),
        is_first=not any(message.get("role") == "assistant" for message in messages),
    )


def _objects(values: Any, name: str) -> Iterator[dict[str, Any]]:
    for value in values if isinstance(values, list) else [values]:
        if not isinstance(value, dict):
            raise _bad_shape(name, "a list of objects")
        yield value


def _tools(tools: Any) -> Iterator[tuple[str, frozenset[str]]]:
    for tool in _objects(tools or [], "tools"):
        function = tool.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise _bad_shape("tools", "functions with names")
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        yield function["name"], frozenset(properties if isinstance(properties, dict) else ())


def _steps(messages: list[dict[str, Any]]) -> Iterator[Step]:
    """Yield the results, each with the name of the tool that was called."""
    names: dict[Any, str] = {}
    for message in messages:
        for call in _objects(message.get("tool_calls") or [], "tool_calls"):
            function = call.get("function")
            names[call.get("id")] = str(function.get("name")) if isinstance(function, dict) else ""
        if message.get("role") == "tool":
            tool = names.get(message.get("tool_call_id"), "")
            yield Step(tool, _ends(_text(message.get("content"))))


def _text(content: Any) -> str:
    """Return the text of a message, without its images."""
    parts = content if isinstance(content, list) else [{"text": content}]
    words = (part.get("text") for part in parts if isinstance(part, dict))
    text = "\n".join(word for word in words if isinstance(word, str))
    # JSON may hold lone surrogates, which UTF-8 cannot encode.
    return text.encode("utf-8", "replace").decode()


def _attached(words: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for file in _ATTACHED.finditer(words):
        known = (line[2:] for line in file["known"].split("\n") if line.startswith("| "))
        yield file["path"], tuple(known)


def _pictures(content: Any) -> int:
    parts = content if isinstance(content, list) else []
    return sum(isinstance(part, dict) and part.get("type") == "image_url" for part in parts)


def _ends(result: str) -> str:
    """Return a long result's head and tail: the rules read no more."""
    if len(result) <= 2 * _RESULT_END:
        return result
    return f"{result[:_RESULT_END]}\n{result[-_RESULT_END:]}"


def _bad_shape(name: str, expected: str) -> GatewayError:
    return GatewayError(400, "invalid_request", f"'{name}' must hold {expected}.")
