"""
Fields of OpenAI's protocol that only some endpoints take, as their refusals have shown.

Called by :mod:`caesarion.agent.model` before each request, and when one was refused. A
provider's own fields of a message (reasoning, signatures) go back with the message: some
providers refuse a request without them, others a request that has them. No I/O.
"""

import re
from typing import Any

Message = dict[str, Any]

_MESSAGE = frozenset(("role", "content", "name", "refusal", "tool_calls", "tool_call_id"))
_CALL = frozenset(("id", "type", "function"))

# Words of an endpoint that wants a field back: DeepSeek's, Moonshot's.
_MISSING = re.compile(r"missing|must be (passed|provided|included)|required", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"unknown|unsupported|not (supported|permitted|allowed)|extra|unexpected|unrecognized",
    re.IGNORECASE,
)
_REASONING = "reasoning_content"
# What stands for reasoning that is not known any more; an empty text counts as missing.
_NO_REASONING = " "


class AcceptedFields:
    """What one endpoint takes; everything, until it has refused something."""

    def __init__(self) -> None:
        self.stream_options = True
        self._refused: set[str] = set()
        self._wants_reasoning = False

    def apply(self, messages: list[Message]) -> list[Message]:
        """Return ``messages`` with the fields that the endpoint takes."""
        return [self._applied(message) for message in messages]

    def learn(self, words: str, messages: list[Message]) -> bool:
        """
        Learn from the ``words`` of a refusal of ``messages``, which were sent.

        Return whether there was something to learn, so that the request is worth sending again.
        """
        if self.stream_options and "stream_options" in words:
            self.stream_options = False
            return True
        if _MISSING.search(words) and _REASONING in words:
            is_news = not self._wants_reasoning
            self._wants_reasoning = True
            return is_news
        sent = _own_fields(messages)
        named = {name for name in sent if name in words}
        if not named and _UNKNOWN.search(words):
            named = sent
        self._refused |= named
        return bool(named)

    def _applied(self, message: Message) -> Message:
        if message["role"] != "assistant":
            return message
        message = {name: value for name, value in message.items() if name not in self._refused}
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [
                {name: value for name, value in call.items() if name not in self._refused}
                for call in calls
            ]
            if self._wants_reasoning and not message.get(_REASONING):
                message[_REASONING] = _NO_REASONING
        return message


def _own_fields(messages: list[Message]) -> set[str]:
    """Return the names of the providers' own fields in ``messages`` and their calls."""
    names: set[str] = set()
    for message in messages:
        names |= message.keys() - _MESSAGE
        for call in message.get("tool_calls") or ():
            names |= call.keys() - _CALL
    return names
