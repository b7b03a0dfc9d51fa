"""
The logs of the hub, the gateway and users' servers: one JSON object a line, in one shape.

``time`` (ISO 8601, UTC), ``level``, ``component`` (hub, gateway, api or server), ``logger`` and
``message`` are in every line; ``user``, ``server``, ``request`` and ``trace`` where they are
known; ``traceback`` where something failed. ``extra={...}`` adds further fields to one line.
Prompts and keys are never logged.

Called by ``hub`` and ``spawner``, which configure JupyterHub and users' servers, by
``application`` and the spawner classes, and by ``__main__`` of the gateway and the api service.
"""

import logging
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from logging.config import dictConfig
from types import MappingProxyType
from typing import Any

from pythonjsonlogger.json import JsonFormatter
from traitlets.log import get_logger

LEVEL_KEY = "level"
"""The key of a line's level, unless the operator's collector reads another."""

#: What is known of the request that is being logged.
_request: ContextVar[Mapping[str, str]] = ContextVar("request", default=MappingProxyType({}))


# W3C Trace Context, level 1: version, trace id, parent id, flags; an id of zeros is none.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def config(
    component: str, level_key: str = LEVEL_KEY, formatter: str = f"{__name__}.RequestFormatter"
) -> dict[str, Any]:
    """
    Return what to add to a traitlets application's ``logging_config``.

    It changes the formatter of the handler "console", which every traitlets application has.
    What other libraries log is shown from level WARNING.
    """
    shape = {
        "()": formatter,
        "fmt": ["levelname", "name", "message"],
        "rename_fields": {"levelname": level_key, "name": "logger", "exc_info": "traceback"},
        "static_fields": {"component": component},
        "timestamp": "time",
        "json_ensure_ascii": 0,
    }
    others = {"class": "logging.StreamHandler", "formatter": "json", "level": "WARNING"}
    return {
        "formatters": {"json": shape},
        "handlers": {"console": {"formatter": "json"}, "others": others},
        "root": {"handlers": ["others"]},
    }


def configure_service(component: str, level_key: str) -> None:
    """Log from level INFO to standard error, as the gateway or the api service."""
    console = {"class": "logging.StreamHandler", "formatter": "json"}
    dictConfig(
        {
            **config(component, level_key or LEVEL_KEY),
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": console},
            "root": {"level": "INFO", "handlers": ["console"]},
            "loggers": {
                # Tornado 6.5 warns of malformed requests with their address, which may hold a
                # token.
                "tornado.general": {"level": "ERROR"},
                # Alembic logs every migration at each start.
                "alembic": {"level": "WARNING"},
                # httpx logs every request, and uvicorn its own start.
                "httpx": {"level": "WARNING"},
                "uvicorn.error": {"level": "WARNING"},
            },
        }
    )


def trace_id(traceparent: str) -> str:
    """Return the id of the trace that a header of W3C Trace Context names, or nothing."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[1] if found else ""


class RequestFormatter(JsonFormatter):
    """Adds what is known of the request that is being logged."""

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """Add the fields of a record to ``log_data``."""
        super().add_fields(log_data, record, message_dict)
        log_data.update(_request.get())


def with_request(log_request: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return ``log_request``, a log function of Tornado's, with the request's fields."""

    def log_with_fields(handler: Any) -> None:
        token = _request.set(_fields(handler))
        try:
            log_request(handler)
        finally:
            _request.reset(token)

    return log_with_fields


def _fields(handler: Any) -> dict[str, str]:
    headers = handler.request.headers
    # Set by JupyterHub's handlers once they know; reading current_user would look it up again.
    user = getattr(handler, "_jupyterhub_user", None)
    fields = {
        "user": getattr(user, "name", ""),
        "request": headers.get("X-Request-ID", ""),
        "trace": trace_id(headers.get("traceparent", "")),
    }
    return {name: value for name, value in fields.items() if value}


def server_log(user: str, server: str) -> logging.LoggerAdapter[Any]:
    """Return the application's log for one spawner: each line names the user and the server."""
    log: Any = get_logger()
    return logging.LoggerAdapter(log, {"user": user, "server": server})
