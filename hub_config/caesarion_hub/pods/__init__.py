"""
Spawns users' servers in Kubernetes: one pod for each server.

Called by ``spawner``, at :mod:`~caesarion_hub.pods.configuration`. Only this package
uses KubeSpawner and the Kubernetes API; ``make up`` never imports it.
"""
