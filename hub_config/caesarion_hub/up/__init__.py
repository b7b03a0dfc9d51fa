"""
``make up``: starts JupyterHub on this machine and stops all that it started.

The Makefile runs ``python -m caesarion_hub.up``; this calls JupyterHub as a
process. Downwards: ``launcher`` (the order of things), ``hub`` (the running
hub), ``state`` (what the folder keeps), ``machine`` (ports, proxy) and ``node``,
``processes``.
"""
