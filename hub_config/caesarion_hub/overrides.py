"""
Applies ``hub.config``, the operator's own traits, over everything set before.

Called by ``jupyterhub_config.py`` after all other modules.
"""

from traitlets.config import Config

from caesarion_hub.values import Values


def configure(c: Config, values: Values) -> None:
    """Set the operator's traits; each replaces ours entirely, including lists and tables."""
    for section, traits in values.hub.config.items():
        c[section].update(traits)
