"""
Spawns users' servers in Kubernetes: one pod for each server.

Called by ``spawner``. Only this package uses KubeSpawner and the Kubernetes
API; ``make up`` never imports it.
"""

from caesarion_hub.pods.configuration import configure

__all__ = ["configure"]
