"""
Traefik, the real one, as the Gateway of the fake cluster: a pod that reads our HTTPRoutes.

Called by the tests of blue-green. The definitions of the Gateway API's kinds take any
fields, unlike the real ones; Traefik itself says in a route's status what it cannot use.
"""

import json
from typing import Any

from tests.fakes.kubernetes.cluster import Cluster
from tests.fakes.kubernetes.node.images import Image
from tests.tools import need_tools

Json = dict[str, Any]

NAMESPACE = "gateways"
GATEWAY = f"{NAMESPACE}/public"
GROUP = "gateway.networking.k8s.io"
RBAC = "rbac.authorization.k8s.io"

KINDS = {
    "gatewayclasses": ("GatewayClass", "v1", "Cluster"),
    "gateways": ("Gateway", "v1", "Namespaced"),
    "httproutes": ("HTTPRoute", "v1", "Namespaced"),
    "grpcroutes": ("GRPCRoute", "v1", "Namespaced"),
    "tlsroutes": ("TLSRoute", "v1", "Namespaced"),
    "backendtlspolicies": ("BackendTLSPolicy", "v1", "Namespaced"),
    "referencegrants": ("ReferenceGrant", "v1beta1", "Namespaced"),
}
"""What Traefik 3.7 watches, by plural."""


def install_gateway(cluster: Cluster) -> str:
    """Install Traefik with a Gateway for every host, and return its address."""
    # The fake node's pods see all of ``sys.prefix``, and so the program.
    cluster.set_image("traefik:*", Image(entrypoint=[str(need_tools() / "bin/traefik")]))
    create(cluster, *(make_definition(plural) for plural in KINDS))
    create(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    create(cluster, *make_account(), make_deployment(), make_service(), *make_gateway())
    ready = ("rollout", "status", "deployment/traefik", f"--namespace={NAMESPACE}", "--timeout=60s")
    cluster.kubectl(*ready)
    return cluster.url_of(NAMESPACE, "traefik")


def create(cluster: Cluster, *objects: Json) -> None:
    """Create objects."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("create", "--filename=-", text=text)


def make_definition(plural: str) -> Json:
    """Return the CustomResourceDefinition of one of the kinds."""
    kind, version, scope = KINDS[plural]
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "plural": plural,
                "kind": kind,
                "singular": kind.lower(),
                "listKind": f"{kind}List",
            },
            "versions": [served],
        },
    }


def make_account() -> list[Json]:
    """Return Traefik's account and what it may do, as its documentation has it."""
    kinds, named = list(KINDS), {"name": "traefik"}
    core = ["services", "secrets", "configmaps", "nodes", "namespaces"]
    read, write = ["get", "list", "watch"], ["update", "patch"]
    rules = [
        {"apiGroups": [""], "resources": core, "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
        {"apiGroups": [GROUP], "resources": kinds, "verbs": read},
        {"apiGroups": [GROUP], "resources": [f"{one}/status" for one in kinds], "verbs": write},
    ]
    role = {"apiGroup": RBAC, "kind": "ClusterRole", **named}
    subject = {"kind": "ServiceAccount", "namespace": NAMESPACE, **named}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {**named, "namespace": NAMESPACE},
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": named,
            "rules": rules,
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": named,
            "roleRef": role,
            "subjects": [subject],
        },
    ]


def make_deployment() -> Json:
    """Return Traefik's Deployment."""
    labels = {"app": "traefik"}
    arguments = [
        *("--entryPoints.web.address=0.0.0.0:8000", "--entryPoints.traefik.address=0.0.0.0:8080"),
        *("--providers.kubernetesgateway", "--ping", "--global.checkNewVersion=false"),
    ]
    container = {
        "name": "traefik",
        "image": "traefik:v3.7",
        "args": arguments,
        "ports": [{"name": "web", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/ping", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "traefik", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": "traefik", "containers": [container]},
            },
        },
    }


def make_service() -> Json:
    """Return Traefik's Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "traefik", "namespace": NAMESPACE},
        "spec": {
            "selector": {"app": "traefik"},
            "ports": [{"name": "web", "port": 80, "targetPort": "web"}],
        },
    }


def make_gateway() -> list[Json]:
    """Return the Gateway, which takes routes of all namespaces, and its class."""
    listener = {
        "name": "web",
        "protocol": "HTTP",
        "port": 8000,
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    return [
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "traefik"},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Gateway",
            "metadata": {"name": "public", "namespace": NAMESPACE},
            "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
        },
    ]
