"""
The server side of Caesarion: values, JupyterHub's configuration, the gateway.

``hub_config/jupyterhub_config.py`` calls ``configure(c, values)`` of ``auth``,
``hub``, ``services`` and ``spawner``, then of ``overrides``. ``make up`` starts
:mod:`caesarion_hub.up`. The user's server (the package ``caesarion``) shares no
code with this one: the two agree on environment variables and HTTP APIs.
"""
