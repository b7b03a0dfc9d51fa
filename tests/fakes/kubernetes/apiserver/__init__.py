"""
A test double of the Kubernetes API server. It is no cluster and says so in ``/version``.

:class:`ApiServer` is what tests start. The floors, each importing only those
below it::

    server                     port, TLS, kubeconfig, start and stop
    handlers | faults          HTTP | what goes wrong on purpose
    operations, deletion, watch, subresources, discovery, openapi
    admission and what it asks: defaults, validation, quota, pod_security ...
    rbac, apply, patches, checks, selectors, schemas, fields
    state, store, resources, calls, errors, objects

What it does not know it refuses with 501; ``tests/cluster/test_conformance.py``
holds it to what is true of a real cluster.
"""

from tests.fakes.kubernetes.apiserver.server import ApiServer

__all__ = ["ApiServer"]
