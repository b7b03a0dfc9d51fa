"""
A test double of a Kubernetes cluster: an API server, controllers, and a node.

``apiserver`` keeps objects and rules; ``controllers`` and ``node`` are its
clients and would work against any API server.
"""
