"""Every pod of the chart, whatever the values: restricted, bounded, probed, without a token."""

from typing import Any

import pytest
import yaml
from caesarion_hub.pods.pod_security import violations

from tests.helm import EXAMPLES, Manifests, RefusedError, render
from tests.validation import validate

VERSIONS = ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]

EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": ["registry"],
    "auth": {"adminUsers": ["ada"]},
    "hub": {
        "pdb": {"enabled": True},
        "extraEnv": {"A": "1", "B": {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}},
        "extraVolumes": [{"name": "logo", "configMap": {"name": "logo"}}],
        "extraVolumeMounts": [{"name": "logo", "mountPath": "/logo"}],
        "nodeSelector": {"pool": "core"},
        "tolerations": [{"key": "core", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "annotations": {"a": "b"},
        "serviceAccount": {"annotations": {"a": "b"}},
        "db": {"pvc": {"storageClassName": "fast", "annotations": {"a": "b"}}},
        "networkPolicy": {
            "ingress": [{"ports": [{"port": 1}]}],
            "egress": [{"ports": [{"port": 2}]}],
            "egressAllowRules": {
                "dnsPortsCloudMetadataServer": True,
                "cloudMetadataServer": True,
                "nonPrivateIPs": True,
                "privateIPs": True,
            },
        },
    },
    "proxy": {
        "service": {
            "type": "LoadBalancer",
            "annotations": {"a": "b"},
            "nodePorts": {"http": 30080},
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
        },
        "annotations": {"a": "b"},
        "pdb": {"enabled": True},
        "chp": {
            "image": {"name": "example.org/chp", "tag": "5.3.0", "pullPolicy": "Always"},
            "extraCommandLineFlags": ["--timeout=60000"],
            "extraEnv": {"A": "1"},
        },
    },
    "gateway": {
        "apiKey": "sk-1",
        "baseUrl": "https://example.org/v1",
        "database": {"url": "postgresql://gateway@db/gateway"},
        "autoscaling": {"enabled": True},
        "extraEnv": {"HTTPS_PROXY": "http://proxy:3128"},
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        "annotations": {"a": "b"},
    },
    "singleuser": {
        "namespace": {"name": "people", "create": True},
        "image": {"pullSecrets": ["other"]},
        "nodeSelector": {"pool": "users"},
        "extraTolerations": [{"key": "users", "operator": "Exists"}],
        "extraResource": {"guarantees": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
        "networkPolicy": {"egressAllowRules": {"nonPrivateIPs": True}},
        "resourceQuota": {"enabled": True},
        "limitRange": {"enabled": True},
    },
    "scheduling": {
        "podPriority": {"enabled": True},
        "userPlaceholder": {"enabled": True, "replicas": 3},
    },
    "prePuller": {
        "hook": {"enabled": True},
        "continuous": {"enabled": True},
        "extraImages": {"r": {"name": "example.org/r", "tag": "1"}},
    },
    "ingress": {
        "enabled": True,
        "hosts": ["example.org"],
        "ingressClassName": "nginx",
        "annotations": {"a": "b"},
        "tls": [{"hosts": ["example.org"], "secretName": "tls"}],
    },
    "httpRoute": {
        "enabled": True,
        "hostnames": ["example.org"],
        "parentRefs": [{"name": "public"}],
    },
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"a": "b"}},
        "prometheusRule": {"enabled": True, "labels": {"a": "b"}},
        "dashboards": {"enabled": True},
    },
}

CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "everything": EVERYTHING,
    "a ledger on a volume, beside what the operator wishes": {
        "gateway": {
            "affinity": {"nodeAffinity": {}, "podAffinity": {}},
            "database": {"pvc": {"storageClassName": "fast", "annotations": {"a": "b"}}},
        }
    },
    **{path.stem: yaml.safe_load(path.read_text("utf-8")) for path in EXAMPLES.glob("*.yaml")},
}

ELSEWHERE = {"HTTPRoute", "PrometheusRule", "ServiceMonitor"}
"""The kinds that are no part of Kubernetes itself."""

MAY_SPEAK_WITH_KUBERNETES = {"Deployment caesarion-hub", "Job caesarion-pull-hook"}


@pytest.fixture(params=CASES)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return render(CASES[request.param])


def test_everything_names_all_kinds_that_the_chart_knows() -> None:
    assert sorted({manifest["kind"] for manifest in render(EVERYTHING)}) == [
        *("ConfigMap", "DaemonSet", "Deployment", "HTTPRoute", "HorizontalPodAutoscaler"),
        *("Ingress", "Job", "LimitRange", "Namespace", "NetworkPolicy", "PersistentVolumeClaim"),
        *("PodDisruptionBudget", "PriorityClass", "PrometheusRule", "ResourceQuota", "Role"),
        *("RoleBinding", "Secret", "Service", "ServiceAccount", "ServiceMonitor"),
    ]


def test_every_pod_is_restricted(manifests: Manifests) -> None:
    told = {name: violations("restricted", pod) for name, pod in manifests.pods()}
    assert {name: found for name, found in told.items() if found} == {}


def test_only_the_hub_and_who_waits_for_images_have_a_token(manifests: Manifests) -> None:
    having = {name for name, pod in manifests.pods() if pod["automountServiceAccountToken"]}
    assert having <= MAY_SPEAK_WITH_KUBERNETES
    assert "Deployment caesarion-hub" in having
    assert [
        account["metadata"]["name"]
        for account in manifests.of("ServiceAccount")
        if account["automountServiceAccountToken"]
    ] == []


def test_no_pod_learns_the_addresses_of_services(manifests: Manifests) -> None:
    assert [name for name, pod in manifests.pods() if pod["enableServiceLinks"]] == []


def test_every_container_has_a_read_only_root_and_asks_for_what_it_needs(
    manifests: Manifests,
) -> None:
    for name, pod in manifests.pods():
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            where = f"{name}, {container['name']}"
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, where
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where


def test_no_init_container_has_a_privilege_and_only_pullers_have_any(manifests: Manifests) -> None:
    assert {name.split()[0] for name, pod in manifests.pods() if pod.get("initContainers")} <= {
        "DaemonSet"
    }


def test_what_serves_has_three_probes_and_a_bound_on_memory(manifests: Manifests) -> None:
    for component in ("hub", "proxy", "gateway"):
        container = manifests.container("Deployment", f"caesarion-{component}")
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[kind]["httpGet"]["port"] == "http", (component, kind)
        assert container["resources"]["limits"]["memory"], component


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_of_kubernetes_knows_every_object_and_field(version: str) -> None:
    check_own(render(EVERYTHING, kubernetes=f"{version}.0"), version)


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_kubernetes_knows_every_object_and_field_of_each_case(
    version: str, manifests: Manifests
) -> None:
    check_own(manifests, version)


def check_own(manifests: Manifests, version: str) -> None:
    """Validate what is of a kind that Kubernetes itself knows."""
    for manifest in manifests:
        if manifest["kind"] not in ELSEWHERE:
            validate(manifest, version)


def test_an_older_kubernetes_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"requires kubeVersion: >=1\.31\.0-0"):
        render(kubernetes="1.30.9")


def test_every_object_says_whose_it_is_and_where(manifests: Manifests) -> None:
    for manifest in manifests:
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "caesarion"
        assert labels["app.kubernetes.io/instance"] == "caesarion"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        cluster_wide = manifest["kind"] in ("Namespace", "PriorityClass")
        assert ("namespace" in manifest["metadata"]) is not cluster_wide


def test_a_selector_names_no_version_so_that_upgrades_keep_it(manifests: Manifests) -> None:
    for manifest in manifests:
        if "template" in manifest.get("spec", {}) and manifest["kind"] != "Job":
            chosen = manifest["spec"]["selector"]["matchLabels"]
            pod = manifest["spec"]["template"]["metadata"]["labels"]
            assert chosen.items() <= pod.items()
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & pod.keys()


def test_objects_differ_in_kind_or_name(manifests: Manifests) -> None:
    names = [
        (manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"])
        for manifest in manifests
    ]
    assert len(names) == len(set(names))


def test_on_gke_each_user_has_a_host_name_and_what_stands_beside_has_the_names_it_uses() -> None:
    example = yaml.safe_load((EXAMPLES / "gke.yaml").read_text("utf-8"))
    manifests = render(example)
    route = manifests.one("HTTPRoute", "caesarion")["spec"]
    assert route["hostnames"] == ["caesarion.example.org", "*.caesarion.example.org"]
    beside = list(yaml.safe_load_all((EXAMPLES / "beside/gke.yaml").read_text("utf-8")))
    (gateway,) = [one for one in beside if one["kind"] == "Gateway"]
    listeners = {one["name"]: one["protocol"] for one in gateway["spec"]["listeners"]}
    name = gateway["metadata"]["name"]
    assert route["parentRefs"] == [{"name": name, "sectionName": "https"}]
    assert listeners == {"http": "HTTP", "https": "HTTPS"}
    (redirect,) = [one for one in beside if one["kind"] == "HTTPRoute"]
    assert redirect["spec"]["parentRefs"] == [{"name": name, "sectionName": "http"}]
    policies = [one["spec"]["targetRef"] for one in beside if one["kind"].endswith("Policy")]
    assert len(policies) == 2
    for target in policies:
        manifests.one(target["kind"], target["name"])
