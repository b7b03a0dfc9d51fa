"""
What runs beside the hub: typed values, the hub's configuration, the gateway.

``hub_config/jupyterhub_config.py`` calls the ``configure`` of each module here;
``make up`` starts :mod:`caesarion_hub.up`. Shares environment names and HTTP
with the extension (``caesarion``), no code.
"""
