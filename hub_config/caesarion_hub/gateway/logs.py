"""
The gateway's log: one JSON object a line, without prompts and without keys.

Configured by ``__main__``. ``extra={"fields": {...}}`` adds fields to a line: ``request`` is
the id that the client got as a header.
"""

import json
import logging
import sys
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure() -> None:
    """Log from level INFO to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # Tornado 6.5 warns of malformed requests with their address, which may hold a token.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)
    # Alembic logs every migration at each start.
    logging.getLogger("alembic").setLevel(logging.WARNING)
