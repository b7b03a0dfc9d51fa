"""
Notes when users' servers were last used, as the proxy has seen it.

Called by ``application`` each time the proxy's routes are checked. Replaces what JupyterHub 6.1
does: it asks the database for each server's user, one after the other and with all that belongs
to them, and answers nobody meanwhile. The users of running servers are in memory.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from logging import Logger
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

AT_A_TIME = 50
"""Users that are written by one commit: then the hub answers whoever waits."""


async def note(db: Any, users: Any, routes: Mapping[str, Any], log: Logger) -> None:
    """Write the proxy's times of last activity to the database, where they are later."""
    present = list(users.values())
    for first in range(0, len(present), AT_A_TIME):
        for user in present[first : first + AT_A_TIME]:
            _note_user(user, routes)
        try:
            db.commit()
        except SQLAlchemyError:
            log.exception("The servers' last activity was not written.")
            db.rollback()
        await asyncio.sleep(0)


def _note_user(user: Any, routes: Mapping[str, Any]) -> None:
    for spawner in user.spawners.values():
        data = routes.get(spawner.proxy_spec, {}).get("data", {})
        if not spawner.ready or "last_activity" not in data:
            continue
        # JupyterHub stores times in UTC that do not say so.
        seen = datetime.fromisoformat(data["last_activity"]).astimezone(UTC).replace(tzinfo=None)
        for record in (user.orm_user, spawner.orm_spawner):
            record.last_activity = max(record.last_activity or datetime.min, seen)
