"""
The operator's values: what they may be, read from YAML and checked.

Called by ``jupyterhub_config.py`` and by ``make up``; calls nobody. The YAML is
camelCase, as in helm, and meets Python's snake_case here only. Names are
zero-to-jupyterhub's where the meaning is the same. ``sections`` and
``singleuser`` say what there is, ``checking`` refuses the rest in sentences,
``reading`` finds the files.
"""

from caesarion_hub.values.checking import ValuesError, check
from caesarion_hub.values.reading import (
    SECRETS_VARIABLE,
    VALUES_VARIABLE,
    from_environment,
    merge,
    read,
    read_secrets,
)
from caesarion_hub.values.section import Section
from caesarion_hub.values.sections import OUR_AUTHENTICATOR, Cluster, Local, Mode, Values
from caesarion_hub.values.singleuser import Profile, Singleuser

__all__ = [
    "OUR_AUTHENTICATOR",
    "SECRETS_VARIABLE",
    "VALUES_VARIABLE",
    "Cluster",
    "Local",
    "Mode",
    "Profile",
    "Section",
    "Singleuser",
    "Values",
    "ValuesError",
    "check",
    "from_environment",
    "merge",
    "read",
    "read_secrets",
]
