"""
How a user's server starts on Kubernetes: a pod of its own.

Called by ``spawner``. The only package of the hub's side that knows KubeSpawner
and the Kubernetes API; ``make up`` never imports it.
"""

from caesarion_hub.pods.configuration import configure

__all__ = ["configure"]
