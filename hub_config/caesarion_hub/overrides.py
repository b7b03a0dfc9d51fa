"""
Applies ``hub.config``, the operator's own traits, over everything set before.

Called by ``jupyterhub_config.py`` after all other modules. Invariant: a trait that
would have no effect here is refused. Spawner classes name theirs, with the remedy,
in ``unsupported_traits``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from traitlets.config import Config

from caesarion_hub.values import Values, ValuesError

UNSUPPORTED_TRAITS = {
    "internal_ssl": "Traffic inside the cluster is unencrypted; a service mesh can encrypt it."
}
"""Traits of JupyterHub itself."""


def configure(c: Config, values: Values) -> None:
    """
    Set the operator's traits; each replaces ours entirely, including lists and tables.

    Raises :class:`ValuesError` with a sentence for each trait without effect.
    """
    if sentences := list(unsupported(values.hub.config, c.JupyterHub.spawner_class)):
        raise ValuesError("\n".join(sentences))
    for section, traits in values.hub.config.items():
        c[section].update(traits)


def unsupported(config: Mapping[str, Mapping[str, Any]], spawner: type) -> Iterator[str]:
    """Yield a sentence for each trait of ``config`` that ``spawner`` or the hub ignores."""
    tables = {"JupyterHub": UNSUPPORTED_TRAITS}
    if "spawner_class" not in config.get("JupyterHub", {}):
        remedies = getattr(spawner, "unsupported_traits", {})
        tables |= {ancestor.__name__: remedies for ancestor in spawner.mro()}
    for section, remedies in tables.items():
        for trait in remedies.keys() & config.get(section, {}).keys():
            yield f"hub.config.{section}.{trait} is not supported. {remedies[trait]}"
