"""
The gateway's log: one JSON object a line, without prompts and without keys.

Set up by ``__main__``. A record's ``told`` (``extra={"told": {...}}``) are
fields of their own: ``request`` is the id that the client got as a header.
"""

import json
import logging
import sys
from datetime import UTC, datetime


class Lines(logging.Formatter):
    """Writes a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up() -> None:
    """Write everything from INFO on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # What no line shows need not be found out for each (the logging HOWTO's "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # It quotes malformed requests, whose addresses may hold tokens.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)
    # It tells each step of each start.
    logging.getLogger("alembic").setLevel(logging.WARNING)
