"""
The log as lines of JSON, in the shape that the hub sets: which user, which server, which trace.

The hub names :class:`ServerFormatter` in ``Application.logging_config``, with the shape that all
its logs have. :mod:`caesarion.agent.loop` sets :data:`trace`.
"""

import logging
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from caesarion.config import hub_server

trace: ContextVar[str] = ContextVar("trace", default="")
"""The id of the trace of the turn under way, in its task and those that it starts."""


class ServerFormatter(JsonFormatter):
    """Adds the user, the server's name and the trace to each line."""

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """Add the fields of a record to ``log_data``."""
        super().add_fields(log_data, record, message_dict)
        log_data.update(hub_server())  # Not before its claim: see caesarion.warm.
        if found := trace.get():
            log_data["trace"] = found
