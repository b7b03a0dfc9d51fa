"""
The gateway's errors: for a client in OpenAI's shape, for the operator as a sentence.

Raised by every module here; answered by ``api.application``, printed by ``__main__``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


class ConfigError(Exception):
    """A setting that cannot be used; ``str`` of it is a sentence for the operator."""


@dataclass
class GatewayError(Exception):
    """
    A request that is answered with an error.

    ``message`` is one or two sentences for the user, without secrets; ``code`` is for
    programs. ``kind`` becomes OpenAI's ``type``.
    """

    status: int
    code: str
    message: str
    kind: str = "invalid_request_error"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def body(self) -> bytes:
        """Return the JSON that OpenAI's clients read."""
        error = {"message": self.message, "type": self.kind, "param": None, "code": self.code}
        return json.dumps({"error": error}).encode()

    def event(self) -> bytes:
        """Return the error as the last event of a stream that has begun."""
        return b"data: " + self.body() + b"\n\n"
