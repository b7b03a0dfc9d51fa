"""
JupyterHub with our own pages: what ``python -m caesarion_hub`` runs.

Called by ``__main__``, which ``make up`` and the hub's image start; calls
``shared_origin`` for the pages. A subclass, because JupyterHub 6.1 offers no other
way to put handlers before its own: ``extra_handlers`` is deprecated and comes
last. Its configuration is that of ``c.JupyterHub``.
"""

import logging

from jupyterhub.app import JupyterHub

from caesarion_hub import shared_origin


class CaesarionHub(JupyterHub):  # type: ignore[misc]
    """JupyterHub, with a warning before another user's server."""

    name = "jupyterhub"

    def init_logging(self) -> None:
        """Set up the log without one warning that is expected."""
        super().init_logging()
        self.log.addFilter(is_worth_logging)

    def init_handlers(self) -> None:
        """Put our handlers before JupyterHub's for the same paths."""
        super().init_handlers()
        self.handlers[:0] = self.add_url_prefix(self.hub_prefix, shared_origin.HANDLERS)


def is_worth_logging(record: logging.LogRecord) -> bool:
    """
    Return False for one warning of JupyterHub 6.1 that is expected.

    The gateway's pages ask for the scope ``admin-ui``, which ordinary users do not
    have; the hub warns about that each time one of them opens the pages.
    """
    return "JupyterHub service gateway requested scopes" not in record.getMessage()
