"""
A test double of the Kubernetes API server. It is no cluster and says so in ``/version``.

:class:`ApiServer` is what tests start. The layers, each importing only those
below it::

    server                     port, TLS, kubeconfig, journal, start and stop
    handlers                   HTTP; protobuf is read, tables are shown
    control | garbage | housekeeping | bootstrap
                               a test's wishes | what the cluster does by itself
    subresources, deletion, watch, logs, reviews, discovery, openapi
    operations                 create, get, list, update, patch, apply
    admission and what it asks: defaults, pods, services, claims, quota, validation ...
    rbac, apply, patches, checks, faults
    state, tokens, store, calls, selectors, schemas, resources, errors, objects

What it does not know it refuses with 501; ``tests/cluster/test_conformance.py``
holds it to what is true of a real cluster.
"""

from tests.fakes.kubernetes.apiserver.server import ApiServer

__all__ = ["ApiServer"]
