"""Whole manifests, as helm renders them from a few values; chart and package have one version."""

from typing import Any

import pytest
import yaml
from caesarion import __version__
from caesarion_hub.values import gateway

from tests.helm import Manifests, RefusedError, render

OWN_KEYS = {"hub": {"existingSecret": "keys"}}
"""Without it every run makes new keys, and checksums of them."""

CONTAINER = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}

POD = {
    "enableServiceLinks": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def names(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "caesarion",
        "app.kubernetes.io/instance": "caesarion",
        "app.kubernetes.io/component": component,
    }


def metadata(component: str, name: str, namespace: str = "hub") -> dict[str, Any]:
    return {
        "name": name,
        "namespace": namespace,
        "labels": {
            **names(component),
            "app.kubernetes.io/managed-by": "Helm",
            "app.kubernetes.io/version": __version__,
            "helm.sh/chart": f"caesarion-{__version__}",
        },
    }


def key(name: str, key: str, secret: str = "keys", **more: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **more}}}


def variable(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def annotations(manifest: dict[str, Any]) -> dict[str, str]:
    """Return a pod's annotations without the checksums, which it must have."""
    found: dict[str, str] = manifest["spec"]["template"]["metadata"].pop("annotations")
    return {name: value for name, value in found.items() if not name.startswith("checksum/")}


@pytest.fixture
def manifests() -> Manifests:
    return render(OWN_KEYS)


def test_the_hub(manifests: Manifests) -> None:
    hub = manifests.one("Deployment", "caesarion-hub")
    assert annotations(hub) == {}
    assert hub == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata("hub", "caesarion-hub"),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": names("hub")},
            "template": {
                "metadata": {"labels": names("hub")},
                "spec": {
                    **POD,
                    "serviceAccountName": "caesarion-hub",
                    "automountServiceAccountToken": True,
                    "terminationGracePeriodSeconds": 30,
                    "containers": [
                        {
                            "name": "hub",
                            "image": f"caesarion/hub:{__version__}",
                            "imagePullPolicy": "IfNotPresent",
                            "args": [
                                *("python", "-m", "caesarion_hub", "--config"),
                                "/usr/local/etc/caesarion/jupyterhub_config.py",
                            ],
                            "workingDir": "/srv/jupyterhub",
                            "ports": [{"name": "http", "containerPort": 8081}],
                            "env": [
                                variable("CAESARION_VALUES", "/etc/caesarion/values/values.yaml"),
                                variable("CAESARION_SECRETS", "/etc/caesarion/secrets"),
                                variable("HOME", "/tmp"),
                                key("JPY_COOKIE_SECRET", "cookie_secret"),
                                key("CONFIGPROXY_AUTH_TOKEN", "proxy_token"),
                                key("JUPYTERHUB_CRYPT_KEY", "crypt_key", optional=True),
                            ],
                            "startupProbe": probe("/hub/health", 2, 150),
                            "livenessProbe": probe("/hub/health", 10, 30),
                            "readinessProbe": probe("/hub/health", 2, 5),
                            "resources": {
                                "requests": {"cpu": "200m", "memory": "256Mi"},
                                "limits": {"memory": "1Gi"},
                            },
                            "securityContext": CONTAINER,
                            "volumeMounts": [
                                {
                                    "name": "values",
                                    "mountPath": "/etc/caesarion/values",
                                    "readOnly": True,
                                },
                                {
                                    "name": "secrets",
                                    "mountPath": "/etc/caesarion/secrets",
                                    "readOnly": True,
                                },
                                {"name": "state", "mountPath": "/srv/jupyterhub"},
                                {"name": "tmp", "mountPath": "/tmp"},
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "values", "secret": {"secretName": "caesarion-hub"}},
                        {
                            "name": "secrets",
                            "secret": {
                                "secretName": "keys",
                                "optional": True,
                                "items": [
                                    {"key": name, "path": name}
                                    for name in (
                                        *("user_password", "admin_password", "gateway_token"),
                                    )
                                ],
                            },
                        },
                        {"name": "state", "persistentVolumeClaim": {"claimName": "caesarion-hub"}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    }


def test_the_proxy(manifests: Manifests) -> None:
    proxy = manifests.one("Deployment", "caesarion-proxy")
    assert annotations(proxy) == {}
    assert proxy == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata("proxy", "caesarion-proxy"),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": names("proxy")},
            "template": {
                "metadata": {"labels": names("proxy")},
                "spec": {
                    **POD,
                    "automountServiceAccountToken": False,
                    "containers": [
                        {
                            "name": "chp",
                            "image": f"caesarion/hub:{__version__}",
                            "imagePullPolicy": "IfNotPresent",
                            "command": [
                                *("configurable-http-proxy", "--ip=", "--port=8000"),
                                *("--api-ip=", "--api-port=8001"),
                                "--default-target=http://caesarion-hub:8081",
                                "--error-target=http://caesarion-hub:8081/hub/error",
                                "--log-level=warn",
                            ],
                            "ports": [
                                {"name": "http", "containerPort": 8000},
                                {"name": "api", "containerPort": 8001},
                            ],
                            "env": [key("CONFIGPROXY_AUTH_TOKEN", "proxy_token")],
                            "startupProbe": probe("/_chp_healthz", 1, 120),
                            "livenessProbe": probe("/_chp_healthz", 10, 30),
                            "readinessProbe": probe("/_chp_healthz", 2, 5),
                            "resources": {
                                "requests": {"cpu": "100m", "memory": "128Mi"},
                                "limits": {"memory": "512Mi"},
                            },
                            "securityContext": CONTAINER,
                        }
                    ],
                },
            },
        },
    }


BESIDE_ITSELF = {
    "topologyKey": "kubernetes.io/hostname",
    "labelSelector": {"matchLabels": names("gateway")},
}


def test_the_gateway() -> None:
    values = {"gateway": {"existingSecret": "provider", "baseUrl": "https://example.org/v1"}}
    gateway = render(OWN_KEYS, values).one("Deployment", "caesarion-gateway")
    assert annotations(gateway) == {}
    assert gateway == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata("gateway", "caesarion-gateway"),
        "spec": {
            "replicas": 1,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "selector": {"matchLabels": names("gateway")},
            "template": {
                "metadata": {"labels": names("gateway")},
                "spec": {
                    **POD,
                    "automountServiceAccountToken": False,
                    "affinity": {
                        "podAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": [BESIDE_ITSELF]
                        }
                    },
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": names("gateway")},
                        }
                    ],
                    "terminationGracePeriodSeconds": 140,
                    "containers": [
                        {
                            "name": "gateway",
                            "image": f"caesarion/hub:{__version__}",
                            "imagePullPolicy": "IfNotPresent",
                            "args": ["python", "-m", "caesarion_hub.gateway"],
                            "workingDir": "/tmp",
                            "ports": [{"name": "http", "containerPort": 8005}],
                            "env": [
                                variable("JUPYTERHUB_API_URL", "http://caesarion-hub:8081/hub/api"),
                                variable("JUPYTERHUB_SERVICE_NAME", "gateway"),
                                variable("JUPYTERHUB_SERVICE_PREFIX", "/services/gateway/"),
                                variable("JUPYTERHUB_SERVICE_URL", "http://0.0.0.0:8005"),
                                variable("CAESARION_GATEWAY_SILENCE", "300"),
                                variable("CAESARION_GATEWAY_GRACE", "120"),
                                variable(
                                    "CAESARION_GATEWAY_CONFIG",
                                    "/etc/caesarion/gateway/gateway.yaml",
                                ),
                                variable(
                                    "CAESARION_GATEWAY_AUDIT_KEY_FILE",
                                    "/etc/caesarion/audit/audit_key",
                                ),
                                variable("CAESARION_GATEWAY_LOG_LEVEL_KEY", "level"),
                                variable("HOME", "/tmp"),
                                variable("OPENAI_BASE_URL", "https://example.org/v1"),
                                variable(
                                    "CAESARION_GATEWAY_KEY_FILE",
                                    "/etc/caesarion/provider/api_key",
                                ),
                                key("JUPYTERHUB_API_TOKEN", "gateway_token"),
                            ],
                            "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
                            "startupProbe": probe("/services/gateway/ready", 1, 120),
                            "livenessProbe": probe("/services/gateway/health", 10, 6),
                            "readinessProbe": probe("/services/gateway/health", 2, 3),
                            "resources": {
                                "requests": {"cpu": "100m", "memory": "128Mi"},
                                "limits": {"memory": "512Mi"},
                            },
                            "securityContext": CONTAINER,
                            "volumeMounts": [
                                {"name": "tmp", "mountPath": "/tmp"},
                                {
                                    "name": "values",
                                    "mountPath": "/etc/caesarion/gateway",
                                    "readOnly": True,
                                },
                                {
                                    "name": "audit",
                                    "mountPath": "/etc/caesarion/audit",
                                    "readOnly": True,
                                },
                                {"name": "ledger", "mountPath": "/srv/gateway"},
                                {
                                    "name": "provider",
                                    "mountPath": "/etc/caesarion/provider",
                                    "readOnly": True,
                                },
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "tmp", "emptyDir": {}},
                        {
                            "name": "values",
                            "secret": {
                                "secretName": "caesarion-gateway-values",
                                "defaultMode": 0o440,
                            },
                        },
                        {
                            "name": "audit",
                            "secret": {
                                "secretName": "keys",
                                "defaultMode": 0o440,
                                "items": [{"key": "audit_key", "path": "audit_key"}],
                            },
                        },
                        {
                            "name": "ledger",
                            "persistentVolumeClaim": {"claimName": "caesarion-gateway"},
                        },
                        {
                            "name": "provider",
                            "secret": {"secretName": "provider", "defaultMode": 0o440},
                        },
                    ],
                },
            },
        },
    }


def test_the_ledger_has_a_volume_that_stays() -> None:
    manifests = render({"gateway": {"database": {"pvc": {"storageClassName": "fast"}}}})
    claim = manifests.one("PersistentVolumeClaim", "caesarion-gateway")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "5Gi"}},
    }
    told = yaml.safe_load(manifests.secret("caesarion-gateway-values")["gateway.yaml"])
    assert told["database"] == {"url": "sqlite:////srv/gateway/gateway.sqlite"}
    gateway.check(told)


def test_the_gateway_goes_where_the_operator_wishes_beside_its_volume() -> None:
    term = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "zone"}
    nodes: dict[str, Any] = {
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}
    }
    beside = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    manifests = render({"gateway": {"affinity": {**nodes, **beside}}})
    pod = manifests.one("Deployment", "caesarion-gateway")["spec"]["template"]["spec"]
    both = {"requiredDuringSchedulingIgnoredDuringExecution": [term, BESIDE_ITSELF]}
    assert pod["affinity"] == {**nodes, "podAffinity": both}


@pytest.mark.parametrize("more", [{"replicas": 2}, {"autoscaling": {"enabled": True}}], ids=str)
def test_a_ledger_on_a_volume_is_for_one_pod(more: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match=r"SQLite is for one pod\. Set gateway\.database\.url"):
        render({"gateway": more})
    for elsewhere in ({"url": "postgresql://db/gateway"}, {"pvc": {"enabled": False}}):
        manifests = render({"gateway": {**more, "database": elsewhere}})
        claims = [claim["metadata"]["name"] for claim in manifests.of("PersistentVolumeClaim")]
        assert claims == ["caesarion-hub"]
        pod = manifests.one("Deployment", "caesarion-gateway")["spec"]["template"]["spec"]
        assert "affinity" not in pod


def test_the_providers_key_goes_to_the_gateways_pods_alone() -> None:
    manifests = render({"gateway": {"apiKey": "sk-secret"}})
    assert manifests.secret("caesarion-gateway") == {"api_key": "sk-secret"}
    naming = [
        name for name, pod in manifests.pods() if "caesarion-gateway" in str(pod.get("volumes"))
    ]
    assert naming == ["Deployment caesarion-gateway"]
    assert "sk-secret" not in str([m for m in manifests if m["kind"] != "Secret"])


def test_the_api_service_has_no_token_and_runs_the_hubs_image() -> None:
    values = {"api": {"origins": ["https://a.example.org", "https://b.example.org"]}}
    api = render(OWN_KEYS, values).one("Deployment", "caesarion-api")
    pod = api["spec"]["template"]["spec"]
    (container,) = pod.pop("containers")
    assert pod == {
        **POD,
        "automountServiceAccountToken": False,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": names("api")},
            }
        ],
        "terminationGracePeriodSeconds": 140,
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    assert container == {
        "name": "api",
        "image": f"caesarion/hub:{__version__}",
        "imagePullPolicy": "IfNotPresent",
        "args": ["python", "-m", "caesarion_hub.api"],
        "workingDir": "/tmp",
        "ports": [{"name": "http", "containerPort": 8006}],
        "env": [
            variable("JUPYTERHUB_API_URL", "http://caesarion-hub:8081/hub/api"),
            variable("JUPYTERHUB_SERVICE_PREFIX", "/services/api/"),
            variable("JUPYTERHUB_SERVICE_URL", "http://0.0.0.0:8006"),
            variable("CAESARION_API_PROXY_URL", "http://caesarion-proxy"),
            variable("CAESARION_API_ORIGINS", "https://a.example.org https://b.example.org"),
            variable("CAESARION_API_PROFILE", ""),
            variable("CAESARION_API_GRACE", "120"),
            variable("CAESARION_API_START_TIMEOUT", "300"),
            variable("CAESARION_API_LOG_LEVEL_KEY", "level"),
            variable("HOME", "/tmp"),
        ],
        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
        "startupProbe": probe("/services/api/health", 1, 120),
        "livenessProbe": probe("/services/api/health", 10, 6),
        "readinessProbe": probe("/services/api/health", 2, 3),
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": CONTAINER,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def test_the_api_service_grows_with_its_load_or_is_not_there() -> None:
    (scaler,) = render({"api": {"autoscaling": {"enabled": True}}}).of("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "caesarion-api"
    without = render({"api": {"enabled": False}})
    assert [m for m in without if m["metadata"]["name"] == "caesarion-api"] == []


def test_the_services(manifests: Manifests) -> None:
    ports = {
        service["metadata"]["name"]: (service["spec"]["selector"], service["spec"]["ports"])
        for service in manifests.of("Service")
    }
    assert ports == {
        "caesarion-hub": (names("hub"), [{"name": "http", "port": 8081, "targetPort": "http"}]),
        "caesarion-proxy": (names("proxy"), [{"name": "http", "port": 80, "targetPort": "http"}]),
        "caesarion-proxy-api": (
            names("proxy"),
            [{"name": "api", "port": 8001, "targetPort": "api"}],
        ),
        "caesarion-gateway": (
            names("gateway"),
            [{"name": "http", "port": 80, "targetPort": "http"}],
        ),
        "caesarion-api": (names("api"), [{"name": "http", "port": 80, "targetPort": "http"}]),
    }
    kinds = {service["spec"].get("type", "ClusterIP") for service in manifests.of("Service")}
    assert kinds == {"ClusterIP"}
    # The hub is reached before its first probe, and by whom nobody else could answer.
    unready = [s for s in manifests.of("Service") if s["spec"].get("publishNotReadyAddresses")]
    assert [service["metadata"]["name"] for service in unready] == ["caesarion-hub"]


def test_all_that_the_hub_may_do_and_where() -> None:
    manifests = render({"singleuser": {"namespace": {"name": "people"}}})
    assert manifests.of("Role") == [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata("hub", "caesarion-hub", "people"),
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["pods"],
                    "verbs": ["get", "list", "watch", "create", "patch", "delete"],
                },
                {"apiGroups": [""], "resources": ["pods/resize"], "verbs": ["patch"]},
                {
                    "apiGroups": [""],
                    "resources": ["persistentvolumeclaims"],
                    "verbs": ["get", "list", "watch", "create", "delete"],
                },
                {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list", "watch"]},
            ],
        }
    ]
    assert manifests.of("RoleBinding") == [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata("hub", "caesarion-hub", "people"),
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "caesarion-hub",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "caesarion-hub", "namespace": "hub"}],
        }
    ]
    assert manifests.of("ClusterRole") == manifests.of("ClusterRoleBinding") == []


def test_who_waits_for_images_may_watch_its_own_daemonset_and_nothing_else() -> None:
    manifests = render({"prePuller": {"hook": {"enabled": True}}})
    assert manifests.one("Role", "caesarion-pull-hook")["rules"] == [
        {
            "apiGroups": ["apps"],
            "resources": ["daemonsets"],
            "resourceNames": ["caesarion-pull-hook"],
            "verbs": ["list", "watch"],
        }
    ]


def test_the_hub_may_have_an_account_that_is_already_there() -> None:
    manifests = render({"hub": {"serviceAccount": {"create": False, "name": "theirs"}}})
    assert manifests.of("ServiceAccount") == []
    (binding,) = manifests.of("RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "theirs", "namespace": "hub"}]
    hub = manifests.one("Deployment", "caesarion-hub")
    assert hub["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"


def test_users_have_a_namespace_of_their_own_that_outlives_the_release() -> None:
    apart = {"name": "people", "create": True}
    (namespace,) = render({"singleuser": {"namespace": apart}}).of("Namespace")
    labels = namespace["metadata"]["labels"]
    assert namespace["metadata"]["name"] == "people"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    meant = render({"singleuser": {"podSecurity": "baseline", "namespace": apart}})
    labels = meant.one("Namespace", "people")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    assert namespace["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep",
        "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    }
    assert render().of("Namespace") == []


def test_the_volume_of_the_hub() -> None:
    values = {"hub": {"db": {"pvc": {"storage": "5Gi", "storageClassName": "fast"}}}}
    assert render(values).one("PersistentVolumeClaim", "caesarion-hub")["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "5Gi"}},
    }
    default = render().one("PersistentVolumeClaim", "caesarion-hub")
    assert "storageClassName" not in default["spec"]


def test_the_hub_may_forget_with_its_pod() -> None:
    manifests = render({"hub": {"db": {"type": "sqlite-emptydir"}}})
    claims = [claim["metadata"]["name"] for claim in manifests.of("PersistentVolumeClaim")]
    assert claims == ["caesarion-gateway"]
    pod = manifests.one("Deployment", "caesarion-hub")["spec"]["template"]["spec"]
    assert {"name": "state", "emptyDir": {}} in pod["volumes"]


def test_quota_and_limits_are_of_the_users_namespace() -> None:
    manifests = render(
        {
            "singleuser": {
                "namespace": {"name": "people"},
                "resourceQuota": {"enabled": True, "hard": {"pods": "7", "requests.cpu": 12}},
                "limitRange": {"enabled": True, "limits": [{"type": "Pod", "max": {"cpu": "4"}}]},
            }
        }
    )
    quota = manifests.one("ResourceQuota", "caesarion-singleuser")
    assert quota["metadata"]["namespace"] == "people"
    assert quota["spec"]["hard"]["requests.cpu"] == 12
    limits = manifests.one("LimitRange", "caesarion-singleuser")
    assert limits["metadata"]["namespace"] == "people"
    assert limits["spec"] == {"limits": [{"type": "Pod", "max": {"cpu": "4"}}]}
    assert render().of("ResourceQuota") == render().of("LimitRange") == []


def test_the_gateway_grows_when_its_processors_are_busy() -> None:
    manifests = render(
        {
            "gateway": {
                "database": {"url": "postgresql://db/gateway"},
                "autoscaling": {"enabled": True, "maxReplicas": 5},
            }
        }
    )
    scaler = manifests.one("HorizontalPodAutoscaler", "caesarion-gateway")
    assert scaler["spec"] == {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "caesarion-gateway",
        },
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 70},
                },
            }
        ],
    }
    assert "replicas" not in manifests.one("Deployment", "caesarion-gateway")["spec"]


def budget(component: str, **bound: Any) -> dict[str, Any]:
    return {
        **bound,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": names(component)},
    }


def test_a_drain_takes_one_pod_of_the_gateway_and_one_of_the_api_service_at_a_time() -> None:
    found = {b["metadata"]["name"]: b["spec"] for b in render().of("PodDisruptionBudget")}
    assert found == {
        "caesarion-gateway": budget("gateway", maxUnavailable=1),
        "caesarion-api": budget("api", maxUnavailable=1),
    }


@pytest.mark.parametrize(
    ("pdb", "bound"),
    [
        ({}, {"minAvailable": 1}),
        ({"minAvailable": 0}, {"minAvailable": 0}),
        ({"maxUnavailable": 0}, {"maxUnavailable": 0}),
        ({"maxUnavailable": "50%"}, {"maxUnavailable": "50%"}),
    ],
)
def test_a_drain_may_be_bounded_otherwise(pdb: dict[str, Any], bound: dict[str, Any]) -> None:
    found = render({"hub": {"pdb": {"enabled": True, **pdb}}}).one(
        "PodDisruptionBudget", "caesarion-hub"
    )
    assert found["spec"] == budget("hub", **bound)


def test_the_way_in_by_an_ingress() -> None:
    ingress = render(
        {
            "hub": {"baseUrl": "/lab/"},
            "ingress": {
                "enabled": True,
                "ingressClassName": "nginx",
                "hosts": ["a.example.org", "b.example.org"],
                "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"},
                "tls": [{"hosts": ["a.example.org", "b.example.org"], "secretName": "tls"}],
            },
        }
    ).one("Ingress", "caesarion")
    path = {
        "path": "/lab/",
        "pathType": "Prefix",
        "backend": {"service": {"name": "caesarion-proxy", "port": {"name": "http"}}},
    }
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "letsencrypt"}
    assert ingress["spec"] == {
        "ingressClassName": "nginx",
        "rules": [
            {"host": "a.example.org", "http": {"paths": [path]}},
            {"host": "b.example.org", "http": {"paths": [path]}},
        ],
        "tls": [{"hosts": ["a.example.org", "b.example.org"], "secretName": "tls"}],
    }


def test_an_ingress_without_hosts_is_for_any() -> None:
    ingress = render({"ingress": {"enabled": True}}).one("Ingress", "caesarion")
    assert [list(rule) for rule in ingress["spec"]["rules"]] == [["http"]]


def test_the_way_in_by_the_gateway_api() -> None:
    route = render(
        {
            "httpRoute": {
                "enabled": True,
                "hostnames": ["a.example.org"],
                "parentRefs": [{"name": "public", "namespace": "gateways"}],
            }
        }
    ).one("HTTPRoute", "caesarion")
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert route["spec"] == {
        "parentRefs": [{"name": "public", "namespace": "gateways"}],
        "hostnames": ["a.example.org"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"name": "caesarion-proxy", "port": 80}],
            }
        ],
    }


def test_another_base_url_is_told_to_all() -> None:
    manifests = render({"hub": {"baseUrl": "/lab/"}})
    gateway = manifests.container("Deployment", "caesarion-gateway")
    hub = manifests.container("Deployment", "caesarion-hub")
    proxy = manifests.container("Deployment", "caesarion-proxy")
    assert variable("JUPYTERHUB_SERVICE_PREFIX", "/lab/services/gateway/") in gateway["env"]
    assert variable("JUPYTERHUB_API_URL", "http://caesarion-hub:8081/lab/hub/api") in gateway["env"]
    assert gateway["readinessProbe"]["httpGet"]["path"] == "/lab/services/gateway/health"
    assert gateway["startupProbe"]["httpGet"]["path"] == "/lab/services/gateway/ready"
    assert hub["readinessProbe"]["httpGet"]["path"] == "/lab/hub/health"
    assert "--error-target=http://caesarion-hub:8081/lab/hub/error" in proxy["command"]


@pytest.mark.parametrize(
    "hub",
    [
        {"subdomainHost": "https://example.org"},
        {"config": {"JupyterHub": {"subdomain_host": "https://example.org"}}},
    ],
    ids=["value", "trait"],
)
def test_with_a_host_name_for_each_user_proxy_and_routes_know_it(hub: dict[str, Any]) -> None:
    ways = {
        "ingress": {"enabled": True, "hosts": ["example.org", "other.example.org"]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
    }
    manifests = render(ways, {"hub": hub})
    assert "--host-routing" in manifests.container("Deployment", "caesarion-proxy")["command"]
    rules = manifests.one("Ingress", "caesarion")["spec"]["rules"]
    assert [rule["host"] for rule in rules] == [
        *("example.org", "other.example.org", "*.example.org")
    ]
    route = manifests.one("HTTPRoute", "caesarion")
    assert route["spec"]["hostnames"] == ["example.org", "*.example.org"]


def test_a_port_of_the_subdomain_host_is_no_part_of_the_routes_host() -> None:
    route = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}
    manifests = render(route, {"hub": {"subdomainHost": "http://hub.test:8000"}})
    assert manifests.one("HTTPRoute", "caesarion")["spec"]["hostnames"] == [
        *("hub.test", "*.hub.test")
    ]
    assert manifests.hub_values()["hub"]["subdomainHost"] == "http://hub.test:8000"


def test_users_and_core_have_one_priority_and_what_waits_a_lower_one() -> None:
    manifests = render(
        {
            "scheduling": {
                "podPriority": {"enabled": True},
                "userPlaceholder": {"enabled": True, "replicas": 2},
            },
            "prePuller": {"continuous": {"enabled": True}, "hook": {"enabled": True}},
        }
    )
    values = {p["metadata"]["name"]: p["value"] for p in manifests.of("PriorityClass")}
    assert values == {
        "hub-caesarion-default": 0,
        "hub-caesarion-image-puller": -5,
        "hub-caesarion-user-placeholder": -10,
    }
    used = {name: pod.get("priorityClassName") for name, pod in manifests.pods()}
    assert used == {
        "Deployment caesarion-hub": "hub-caesarion-default",
        "Deployment caesarion-proxy": "hub-caesarion-default",
        "Deployment caesarion-gateway": "hub-caesarion-default",
        "Deployment caesarion-api": "hub-caesarion-default",
        "Deployment caesarion-user-placeholder": "hub-caesarion-user-placeholder",
        "DaemonSet caesarion-puller": "hub-caesarion-image-puller",
        # Before a first install the classes are not there.
        "DaemonSet caesarion-pull-hook": None,
        "Job caesarion-pull-hook": None,
    }


def test_a_placeholder_holds_the_room_of_a_user_where_users_may_run() -> None:
    pod = render(
        {
            "scheduling": {
                "podPriority": {"enabled": True},
                "userPlaceholder": {"enabled": True, "replicas": 2},
            },
            "singleuser": {
                "nodeSelector": {"pool": "users"},
                "extraTolerations": [{"key": "users", "operator": "Exists"}],
                "extraResource": {
                    "guarantees": {"nvidia.com/gpu": "1"},
                    "limits": {"nvidia.com/gpu": "1"},
                },
            },
        }
    ).one("Deployment", "caesarion-user-placeholder")["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "0.1", "memory": "2Gi", "nvidia.com/gpu": "1"},
        "limits": {"nvidia.com/gpu": "1"},
    }
    assert pod["nodeSelector"] == {"pool": "users"}
    assert pod["tolerations"] == [{"key": "users", "operator": "Exists"}]


def test_the_pullers_bring_every_image_that_a_user_may_choose_once() -> None:
    def choosing(image: str) -> dict[str, Any]:
        return {"display_name": image, "kubespawner_override": {"image": image}}

    profile = {
        **choosing("example.org/small:1"),
        "profile_options": {
            "image": {
                "display_name": "Image",
                "choices": {"r": choosing("example.org/r:1"), "s": choosing("example.org/small:1")},
            }
        },
    }
    values = {
        "singleuser": {"profileList": [profile, {"display_name": "plain"}]},
        "prePuller": {
            "continuous": {"enabled": True},
            "extraImages": {"julia": {"name": "example.org/julia", "tag": "1"}},
        },
    }
    pod = render(values).one("DaemonSet", "caesarion-puller")["spec"]["template"]["spec"]
    assert [container["image"] for container in pod["initContainers"]] == [
        *(f"caesarion/singleuser:{__version__}", "example.org/julia:1"),
        *("example.org/small:1", "example.org/r:1"),
    ]
    without = render(values, {"prePuller": {"pullProfileListImages": False}})
    pod = without.one("DaemonSet", "caesarion-puller")["spec"]["template"]["spec"]
    assert len(pod["initContainers"]) == 2


def test_the_hook_comes_before_all_else_and_its_job_after_its_daemonset() -> None:
    manifests = render({"prePuller": {"hook": {"enabled": True, "timeout": 90}}})
    hooks = {
        (m["kind"], m["metadata"]["annotations"].get("helm.sh/hook-weight", "0"))
        for m in manifests
        if "pre-upgrade" in m["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    }
    assert hooks == {
        *(("DaemonSet", "0"), ("ServiceAccount", "0"), ("Role", "0"), ("RoleBinding", "0")),
        ("Job", "10"),
    }
    job = manifests.container("Job", "caesarion-pull-hook")
    assert job["args"][1:] == [
        "-m",
        "caesarion_hub.pods.images",
        "hub",
        "caesarion-pull-hook",
        "90",
    ]


def test_names_come_of_the_release() -> None:
    names = {m["metadata"]["name"] for m in render(release="lab").of("Service")}
    assert names == {
        *("lab-caesarion-hub", "lab-caesarion-proxy"),
        *("lab-caesarion-proxy-api", "lab-caesarion-gateway", "lab-caesarion-api"),
    }
    named = render({"fullnameOverride": "x"}, release="lab")
    assert named.one("Service", "x-hub")["spec"]["selector"]["app.kubernetes.io/instance"] == "lab"
