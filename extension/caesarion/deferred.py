"""
What packages do at each start of a server and few servers need, put off until it is asked for.

Called by :mod:`caesarion.singleuser` and :mod:`caesarion.extension`. Written against Tornado 6.6,
jupyter-events 0.12 and jupyter-lsp 2.3. From the claim of a server that waits to its first result,
on two shared cores (AMD EPYC, Python 3.11), it took 0.127 s of CPU instead of 0.165 s (medians of
6 each in turn), without the page for a browser (:mod:`caesarion.extension`); where there is npm,
jupyter-lsp takes 0.25 s more.
"""

import asyncio
import re
import sys
from typing import Any

from tornado import httputil, routing

TORNADO = "6.6.1"
"""The version whose routes were read; with another one they are compiled at the start."""

# Seconds until a server first reports activity: that it has started, which the hub knows. When
# twenty start at once, after their first results: a report takes 0.007 s of the hub's CPU.
_FIRST_REPORT = 2.0

# What stands for itself in a regular expression, and a dot, unless what follows says how often.
_HEAD = re.compile(r"[\w/.~@%-]*(?![*+?{])", re.ASCII)


class Route(routing.PathMatches):
    """
    A path of a handler, compiled when a request comes that begins like it.

    A server has 90, whose beginning is its user's, so they cannot be compiled ahead.
    """

    def __init__(self, path_pattern: str | re.Pattern[str]) -> None:
        if isinstance(path_pattern, str) and "|" not in path_pattern:
            self._pattern = path_pattern
            head = _HEAD.match(path_pattern)
            self._head = head[0] if head else ""
        else:
            super().__init__(path_pattern)

    def __getattr__(self, name: str) -> Any:
        """Return what the constructor of the class above makes."""
        if name in ("_pattern", "_head") or "regex" in vars(self):
            raise AttributeError(name)
        super().__init__(self._pattern)
        return getattr(self, name)

    def match(self, request: httputil.HTTPServerRequest) -> dict[str, Any] | None:
        """Return the arguments for the handler, or None if it is not asked."""
        if "regex" not in vars(self) and not _may_begin(request.path, self._head):
            return None
        return super().match(request)


def _may_begin(path: str, head: str) -> bool:
    if path.startswith(head):
        return True
    if "." not in head or len(path) < len(head):
        return False
    return all(wanted in (".", found) for wanted, found in zip(head, path, strict=False))


def install() -> None:
    """Put off what a server does while it starts; ahead of its start."""
    import jupyter_events.schema
    import tornado
    from jupyterhub.singleuser.extension import JupyterHubSingleUser

    if tornado.version == TORNADO:
        routing.PathMatches = Route  # type: ignore[misc]
    # Each server checks the schemas of eight kinds of events, which installed packages bring.
    jupyter_events.schema.validate_schema = lambda schema: None  # type: ignore[attr-defined]
    report_regularly = JupyterHubSingleUser.keep_activity_updated

    async def keep_activity_updated(self: Any) -> None:
        await asyncio.sleep(_FIRST_REPORT)
        await report_regularly(self)

    JupyterHubSingleUser.keep_activity_updated = keep_activity_updated


def find_language_servers_when_asked() -> None:
    """Let jupyter-lsp look for language servers, for which it also asks npm, when a page asks."""
    if extension := sys.modules.get("jupyter_lsp.serverextension"):
        find = extension.initialize

        async def initialize(server: Any, virtual_documents_uri: str) -> None:
            manager, asked = server.language_server_manager, asyncio.Event()
            ready = manager.ready

            async def be_ready() -> bool:
                asked.set()
                return bool(await ready())

            manager.ready = be_ready
            await asked.wait()
            await find(server, virtual_documents_uri)

        extension.initialize = initialize  # type: ignore[attr-defined]
