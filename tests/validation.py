"""
Kubernetes' own schemas, for manifests in tests.

Each schema is read once: kubernetes-validate 1.37 reads 2 MB of JSON at every call.
"""

import functools

import kubernetes_validate
from kubernetes_validate import utils

utils.schema_contents = functools.cache(utils.schema_contents)


def validate(manifest: object, version: str) -> None:
    """Raise unless ``version`` of Kubernetes knows the object and all of its fields."""
    kubernetes_validate.validate(manifest, version, strict=True)
