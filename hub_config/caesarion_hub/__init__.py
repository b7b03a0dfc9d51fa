"""
The server side of Caesarion: values, JupyterHub's configuration, the gateway.

``hub_config/jupyterhub_config.py`` calls ``configure(c, values)`` of ``auth``,
``hub``, ``services`` and ``spawner``, then of ``overrides``. ``make up`` starts
:mod:`caesarion_hub.up`. The user's server (the package ``caesarion``) imports nothing
from this package, nor this package from it: the two agree on environment variables
and HTTP APIs. Both import ``caesarion_dialects``. Modules, from top to bottom::

    up              ``make up``: the hub on this machine
    application     JupyterHub with our own pages: ``python -m caesarion_hub``
    hub             JupyterHub itself: addresses, database, limits
    services        the gateway, and the culler of idle servers
    spawner         users' servers: their environment and their tokens' scopes
    overrides       ``hub.config``, which has the last word
    shared_origin   what one origin for all users needs
    gateway         the model gateway, a service with its own process
    auth            who may log in, and with which roles
    local_spawner   users' servers as processes, for ``make up``
    pods            users' servers as pods, in a cluster
    values          the values: read, checked and typed
"""
