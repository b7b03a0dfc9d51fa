"""A user's pod; JupyterHub runs :class:`PodSpawner`."""

from kubespawner import KubeSpawner


class PodSpawner(KubeSpawner):  # type: ignore[misc]
    """Starts a server in a pod of its own."""
