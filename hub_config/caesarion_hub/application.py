"""
JupyterHub with our own pages: what ``python -m caesarion_hub`` runs.

Called by ``__main__``, which ``make up`` and the hub's image start; calls
``shared_origin`` for the pages, ``sandbox_rules`` for named servers, ``database``,
``last_activity`` and ``logs``.
A subclass, because JupyterHub 6.1 offers no other way to put handlers before its
own: ``extra_handlers`` is deprecated and comes last. Its configuration is that of
``c.JupyterHub``, and ``c.CaesarionHub`` for its own traits.
"""

import logging
from typing import Any

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.user import User
from traitlets import Bool, Integer, List, Unicode

from caesarion_hub import database, last_activity, logs, sandbox_rules, shared_origin


class CaesarionHub(JupyterHub):  # type: ignore[misc]
    """JupyterHub, with a warning before another user's server, and with sandboxes."""

    name = "jupyterhub"

    sandboxes_enabled = Bool(False, help="Whether programs may start sandboxes.").tag(config=True)
    sandboxes_per_user = Integer(5, help="Sandboxes that a user may have at a time.").tag(
        config=True
    )
    sandbox_timeout = Integer(
        3600, help="Seconds after which a sandbox ends that was asked for without a timeout."
    ).tag(config=True)
    sandbox_max_timeout = Integer(
        86400, help="Seconds from now to which a sandbox's deadline can be set, at most."
    ).tag(config=True)
    sandbox_profiles = List(
        Unicode(), help="The slugs of the profiles that a sandbox may have."
    ).tag(config=True)
    other_named_servers = Bool(
        False,
        help="Whether users may start named servers that are no sandboxes; JupyterHub's own "
        "allow_named_servers must be on for either.",
    ).tag(config=True)

    db: Any
    _deadlines: sandbox_rules.DeadlineKeeper | None = None

    def init_logging(self) -> None:
        """Set up the log without one warning that is expected."""
        super().init_logging()
        self.log.addFilter(is_worth_logging)

    def init_db(self) -> None:
        """Open the database, and ask it less than JupyterHub does."""
        super().init_db()
        self.db = database.make_session(self.db)
        orm.User.find = database.UsersByName().find
        User.spawn = database.in_one_commit(User.spawn)

    def init_oauth(self) -> None:
        """Make the OAuth provider ours, a subclass without state of its own."""
        super().init_oauth()
        self.oauth_provider.__class__ = database.OAuthServer

    def init_tornado_settings(self) -> None:
        """Let the log's lines of requests have fields."""
        super().init_tornado_settings()
        settings = self.tornado_settings
        settings["log_function"] = logs.with_request(settings["log_function"])
        settings[sandbox_rules.SETTING] = sandbox_rules.Rules(
            enabled=self.sandboxes_enabled,
            per_user=self.sandboxes_per_user,
            timeout=self.sandbox_timeout,
            max_timeout=self.sandbox_max_timeout,
            profiles=frozenset(self.sandbox_profiles),
            named=self.other_named_servers,
        )

    def init_handlers(self) -> None:
        """Put our handlers before JupyterHub's for the same paths."""
        super().init_handlers()
        ours = [*shared_origin.HANDLERS, *sandbox_rules.HANDLERS]
        self.handlers[:0] = self.add_url_prefix(self.hub_prefix, ours)

    async def update_last_activity(self) -> None:
        """Compare the proxy's routes with the servers, and note when those were last used."""
        routes = await self.proxy.get_all_routes()
        await self.proxy.check_routes(self.users, self._service_map, routes)
        await last_activity.note(self.db, self.users, routes, self.log)

    async def start(self) -> None:
        """Start the hub, then keep servers warm, and sandboxes' deadlines, also earlier ones."""
        await super().start()
        if keep_warm := getattr(self.spawner_class, "keep_warm", None):
            await keep_warm(self)
        self._deadlines = sandbox_rules.DeadlineKeeper(self)
        self._deadlines.start()


def is_worth_logging(record: logging.LogRecord) -> bool:
    """
    Return False for one warning of JupyterHub 6.1 that is expected.

    The gateway's pages ask for the scope ``admin-ui``, which ordinary users do not
    have; the hub warns about that each time one of them opens the pages.
    """
    return "JupyterHub service gateway requested scopes" not in record.getMessage()
