"""
What the operator lays over all the rest: ``hub.config``, traits by class.

Called by ``jupyterhub_config.py`` after the other parts.
"""

from traitlets.config import Config

from caesarion_hub.values import Values


def configure(c: Config, values: Values) -> None:
    """Set the traits; each replaces ours whole, lists and tables too."""
    for section, traits in values.hub.config.items():
        c[section].update(traits)
