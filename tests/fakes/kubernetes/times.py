"""Kubernetes' way to write a moment, in whole seconds of UTC. Pure but for the clock."""

import time
from datetime import UTC, datetime


def written(moment: float) -> str:
    """Return seconds since 1970 in RFC 3339."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    return written(time.time())


def read(text: str) -> float:
    """Return the seconds since 1970 of a moment in RFC 3339."""
    return datetime.fromisoformat(text).timestamp()
