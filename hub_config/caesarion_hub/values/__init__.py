"""
The operator's values: read from YAML files, validated, returned as frozen objects.

Called by ``jupyterhub_config.py``, ``make up`` and the gateway; imports nothing
else of ours. The YAML is camelCase, as in helm; only this package translates it
to Python's snake_case. Names are zero-to-jupyterhub's where the meaning is the
same.

``loading`` reads the files, ``validation`` turns problems into sentences, and
``schema`` defines the keys, with ``singleuser`` and ``gateway`` for the two
largest sections and ``fields`` for the types that all of them use.
"""

from caesarion_hub.values.fields import Section
from caesarion_hub.values.loading import (
    SECRETS_VARIABLE,
    VALUES_VARIABLE,
    from_environment,
    merge,
    read,
    read_secrets,
    state_folder,
)
from caesarion_hub.values.schema import (
    OUR_AUTHENTICATOR,
    RUN_VARIABLE,
    Cluster,
    Local,
    Mode,
    Values,
)
from caesarion_hub.values.singleuser import Profile, Singleuser
from caesarion_hub.values.validation import ValuesError, check

__all__ = [
    "OUR_AUTHENTICATOR",
    "RUN_VARIABLE",
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
    "state_folder",
]
