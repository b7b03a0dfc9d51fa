"""
The form in which a model takes requests, learned from its refusals.

Called by the gateway and by the extension, which remember the form; calls ``errors``. Pure.
A refusal that names a parameter leads to another form of the same request. Invariant: a limit
of the answer's tokens is renamed or lowered, never left out.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from caesarion_dialects import errors

Body = dict[str, Any]

MAX_ADAPTATIONS = 4
"""Refusals of one request that are each followed by another form of it; a made-up number."""

OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")
"""The names of the limit of an answer's tokens: the older one, and that of reasoning models."""

# Statuses of requests that are refused for what is in them. OpenRouter answers 404 where no
# provider of a model takes tools.
_REFUSALS = frozenset((400, 404, 422))

# Words of a server that does not take something, as opposed to this value of it.
_NOT_TAKEN = re.compile(
    r"(?:un|not? |n't )support|unknown|unrecogni[sz]|unexpected|not (?:permitted|allowed|enabled|"
    r"available|implemented)|extra (?:input|field)|additional propert|deprecated|"
    r"only the default|cannot (?:both )?be|no endpoints found that support|requires? --enable|"
    r"\buse ['\"`]?max_completion_tokens|instead of|invalid (?:field|param|argument name)|"
    r"please remove",
    re.IGNORECASE,
)
_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
# What is left out where it is not taken, with the words that mean it. The first that fits
# counts, so that of "temperature and top_p cannot both be specified" the latter goes.
_OPTIONAL = {
    "stream_options": re.compile(r"\bstream_options\b|\binclude_usage\b"),
    "parallel_tool_calls": re.compile(r"\bparallel_tool_calls\b"),
    "top_p": re.compile(r"\btop_p\b"),
    "temperature": re.compile(r"\btemperature\b"),
    "tools": re.compile(r"\btools\b|\btool (?:use|choice|call\w*)\b|\bfunction calling\b", re.I),
    "tool_choice": re.compile(r"\btool_choice\b"),
    "stream": re.compile(r"['\"`]stream['\"`]|\bstreaming\b"),
}
_SYSTEM = re.compile(r"\bsystem\b|\binstruction", re.IGNORECASE)
_DEVELOPER = re.compile(r"\bdeveloper\b", re.IGNORECASE)
_ROLES = ("system", "developer")
# OpenAI's own fields of messages; others may be refused by a provider that does not know them.
_MESSAGE_FIELDS = frozenset(
    ("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio")
)
_CALL_FIELDS = frozenset(("id", "type", "function"))
_OF_THE_PROMPT = re.compile(r"context length|input tokens|prompt", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
# Names that a refusal may quote, with a path before them, and numbers.
_KNOWN_NAME = re.compile(
    r"(?:[\w\[\]]+\.)*(?:max_tokens|max_completion_tokens|stream_options|include_usage|stream|"
    r"parallel_tool_calls|top_p|temperature|tools|tool_choice|auto|role|system|developer|user|"
    r"assistant|tool|reasoning\w*|thinking\w*|extra_content|\d+)"
)
_NUMBER = re.compile(r"\d[\d,]*")
_REASONING = "reasoning_content"
# Words of a server that wants reasoning back: DeepSeek's, Moonshot's.
_MISSING = re.compile(r"missing|must be (?:passed|provided|included)|required", re.IGNORECASE)
# Stands for reasoning that nobody knows any more, as of a call that a person has repeated; an
# empty text counts as missing.
_UNKNOWN_REASONING = " "


@dataclass(frozen=True)
class RequestForm:
    """
    How a model takes requests.

    ``dropped`` are parameters that are not sent. ``output_limit`` is the name of
    the limit of the answer's tokens, and ``max_output`` the largest it may be.
    ``system_role`` is the role of system messages: "user" has them merged into
    the first message of the user. ``hidden`` are fields of messages that are
    not sent, ``reasoning_field`` is the one that reasoning goes back in.
    ``needs_reasoning`` says that no message with calls may be without it, and
    ``is_thinking`` that answers begin within reasoning.
    """

    dropped: frozenset[str] = frozenset()
    output_limit: str = ""
    max_output: int = 0
    system_role: str = ""
    hidden: frozenset[str] = frozenset()
    reasoning_field: str = _REASONING
    needs_reasoning: bool = False
    is_thinking: bool = False

    def apply(self, body: Body) -> Body:
        """Return ``body`` in this form: itself if it has that already."""
        made = dict(body)
        for name in self.dropped:
            made.pop(name, None)
        if self.output_limit or self.max_output:
            self._apply_limit(made)
        if body.get("stream") is True and not self.dropped & {"stream", "stream_options"}:
            _ask_for_usage(made)
        made["messages"] = self._messages(body["messages"])
        return body if made == body else made

    def changes(self, known: "RequestForm") -> str:
        """Return in words what is other than in ``known``."""
        said = [f"without {name}" for name in sorted(self.dropped - known.dropped)]
        said += [f"without {name} in messages" for name in sorted(self.hidden - known.hidden)]
        if self.output_limit != known.output_limit:
            said.append(f"with {self.output_limit} for the limit of tokens")
        if self.max_output != known.max_output:
            said.append(f"for {self.max_output} tokens at most")
        if self.needs_reasoning and not known.needs_reasoning:
            said.append("with reasoning in messages that call tools")
        if self.system_role != known.system_role:
            said.append(f"with system messages as {self.system_role}")
        return ", ".join(said)

    def _apply_limit(self, made: Body) -> None:
        known = [made[name] for name in OUTPUT_LIMITS if isinstance(made.get(name), int)]
        if not known:
            return
        limit = min(known)
        if self.max_output:
            limit = min(limit, self.max_output)
        name = self.output_limit or next(name for name in OUTPUT_LIMITS if name in made)
        for other in OUTPUT_LIMITS:
            made.pop(other, None)
        made[name] = limit

    def _messages(self, messages: Any) -> Any:
        if not isinstance(messages, list):
            return messages
        if self.hidden or self.needs_reasoning or self.reasoning_field != _REASONING:
            messages = [self._fields(message) for message in messages]
        if "tools" in self.dropped:
            messages = [_without_calls(message) for message in messages]
        if self.system_role == "user":
            return _merged(messages)
        if self.system_role:
            return [
                {**message, "role": self.system_role} if _is_system(message) else message
                for message in messages
            ]
        return messages

    def _fields(self, message: Any) -> Any:
        if not isinstance(message, dict):
            return message
        made = dict(message)
        if self.needs_reasoning and made.get("tool_calls") and not made.get(_REASONING):
            made[_REASONING] = _UNKNOWN_REASONING
        if _REASONING in made:
            made[self.reasoning_field] = made.pop(_REASONING)
        made = {name: said for name, said in made.items() if name not in self.hidden}
        if isinstance(made.get("tool_calls"), list) and self.hidden:
            made["tool_calls"] = [
                {name: said for name, said in call.items() if name not in self.hidden}
                if isinstance(call, dict)
                else call
                for call in made["tool_calls"]
            ]
        return made


def learned(form: RequestForm, sent: Body, status: int, said: bytes) -> RequestForm | None:
    """
    Return another form, if a refusal names something that ``sent`` has and its model does not take.

    ``said`` is the body of the refusal.
    """
    if status not in _REFUSALS:
        return None
    words = _own_words(errors.words(said), _extra_fields(sent))
    name = errors.field(said, "param")
    limits = [limit for limit in OUTPUT_LIMITS if limit in sent and _names(limit, name, words)]
    if limits and (found := _other_limit(form, sent, words)):
        return found
    if _MISSING.search(words) and _names(form.reasoning_field, name, words):
        return None if form.needs_reasoning else replace(form, needs_reasoning=True)
    if not _NOT_TAKEN.search(words):
        return None
    if _names_system(sent, name, words) and (role := _other_role(form, sent, words)):
        return replace(form, system_role=role)
    if fields := [one for one in _extra_fields(sent) if _names(one, name, words)]:
        return replace(form, hidden=form.hidden | set(fields))
    for optional, pattern in _OPTIONAL.items():
        if optional in sent and (name.partition(".")[0] == optional or pattern.search(words)):
            dropped = set(_TOOLS) if optional == "tools" else {optional}
            return replace(form, dropped=form.dropped | dropped)
    return None


def _own_words(words: str, fields: Collection[str]) -> str:
    """
    Return the words of a refusal without what it quotes of the request.

    Else a user's own text ("unsupported") in a wrong value could teach the gateway
    that the model does not take the parameter, for everybody.
    """

    def kept(quoted: re.Match[str]) -> str:
        name = quoted[0][1:-1]
        return quoted[0] if name in fields or _KNOWN_NAME.fullmatch(name) else "..."

    return _QUOTED.sub(kept, words)


def _names(field: str, param: str, words: str) -> bool:
    is_param = field in re.split(r"[.\[\]]+", param)
    return is_param or re.search(rf"\b{re.escape(field)}\b", words) is not None


def _other_limit(form: RequestForm, sent: Body, words: str) -> RequestForm | None:
    """Return the form with the limit's other name, or with the number that the server allows."""
    has = [name for name in OUTPUT_LIMITS if name in sent]
    limit = min((sent[name] for name in has if isinstance(sent[name], int)), default=0)
    numbers = [int(digits.replace(",", "")) for digits in _NUMBER.findall(words)]
    is_too_large = limit in numbers or re.search(r"too large|less than|at most|exceed|maxim", words)
    if _NOT_TAKEN.search(words) and not (is_too_large and limit in numbers):
        if len(has) == 2:
            # Both were sent and one is refused: which one is in the words, or the older one.
            return replace(form, output_limit=OUTPUT_LIMITS[1])
        other = OUTPUT_LIMITS[1 - OUTPUT_LIMITS.index(has[0])]
        return None if form.output_limit == has[0] else replace(form, output_limit=other)
    allowed = [number for number in numbers if 0 < number < limit]
    if _OF_THE_PROMPT.search(words):
        return None  # how much is left beside this prompt says nothing of the next one
    if is_too_large and allowed and max(allowed) != form.max_output:
        return replace(form, max_output=max(allowed))
    return None


def _names_system(sent: Body, param: str, words: str) -> bool:
    has_system = any(_is_system(message) for message in sent["messages"])
    is_role = "role" in param or re.search(r"\brole|message|instruction|variant", words, re.I)
    return has_system and bool(is_role and (_SYSTEM.search(words) or _DEVELOPER.search(words)))


def _other_role(form: RequestForm, sent: Body, words: str) -> str:
    """Return the role to try for system messages, or nothing if all were tried."""
    used = {message["role"] for message in sent["messages"] if _is_system(message)}
    if used == {"developer"} and form.system_role != "system":
        return "system" if not form.system_role else "user"
    if "developer" in used or not _DEVELOPER.search(words):
        return "user"
    return "developer"


def _extra_fields(sent: Body) -> list[str]:
    """Return the fields of messages and calls that are not OpenAI's own."""
    found: set[str] = set()
    for message in sent["messages"]:
        if isinstance(message, dict):
            found |= message.keys() - _MESSAGE_FIELDS
            calls = message.get("tool_calls")
            for call in calls if isinstance(calls, list) else ():
                found |= call.keys() - _CALL_FIELDS if isinstance(call, dict) else set()
    return sorted(found)


def _ask_for_usage(made: Body) -> None:
    options = made.get("stream_options")
    options = options if isinstance(options, dict) else {}
    if options.get("include_usage") is not True:
        made["stream_options"] = {**options, "include_usage": True}


def _is_system(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in _ROLES


def _without_calls(message: Any) -> Any:
    """Return a message for a model that knows no tools: calls and results become words."""
    if not isinstance(message, dict):
        return message
    if message.get("role") == "tool":
        return {"role": "user", "content": f"Result of the tool: {_text(message.get('content'))}"}
    if not message.get("tool_calls"):
        return message
    made = {name: said for name, said in message.items() if name != "tool_calls"}
    calls = [call.get("function") for call in message["tool_calls"] if isinstance(call, dict)]
    named = [
        f"I call {call.get('name')} with {call.get('arguments')}."
        for call in calls
        if isinstance(call, dict)
    ]
    return {**made, "content": "\n".join([*filter(None, [_text(made.get("content"))]), *named])}


def _merged(messages: list[Any]) -> list[Any]:
    """Return ``messages`` with the system's words before those of the first user."""
    words = "\n\n".join(_text(one.get("content")) for one in messages if _is_system(one))
    others = [message for message in messages if not _is_system(message)]
    for place, message in enumerate(others):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                content = [{"type": "text", "text": words}, *content]
            else:
                content = f"{words}\n\n{content or ''}"
            return [*others[:place], {**message, "content": content}, *others[place + 1 :]]
    return [{"role": "user", "content": words}, *others]


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
