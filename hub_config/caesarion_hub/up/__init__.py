"""
``make up``: runs JupyterHub on this machine and stops everything that it started.

The Makefile runs ``python -m caesarion_hub.up``, which starts JupyterHub as a
process. From top to bottom: ``launcher`` (the steps), ``hub`` (the running hub),
``state`` (the folder of files), ``machine`` (ports, the proxy's command),
``nodejs`` (finds Node) and ``processes`` (finds and ends processes).

Imports nothing but the standard library here, since the Makefile and the build
of the labextension import ``nodejs`` before anything is installed.
"""


class UpError(Exception):
    """``make up`` cannot continue; ``str`` of it is one sentence with the remedy."""
