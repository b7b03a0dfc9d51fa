"""The chart's network policies, one sentence a rule, evaluated on paper."""

from typing import Any

import pytest

from tests.helm import render
from tests.network_policy import Address, Network, Pod

NAMES = {"app.kubernetes.io/name": "caesarion", "app.kubernetes.io/instance": "caesarion"}


def pod(component: str, namespace: str = "hub", **labels: str) -> Pod:
    return Pod(namespace, {**NAMES, "app.kubernetes.io/component": component, **labels})


HUB, PROXY, GATEWAY, API = pod("hub"), pod("proxy"), pod("gateway"), pod("api")
USER = pod("singleuser-server", "people", **{"hub.jupyter.org/username": "ada"})
OTHER_USER = pod("singleuser-server", "people", **{"hub.jupyter.org/username": "grace"})
AWAITER = pod("image-awaiter")
DNS = Pod("kube-system", {"k8s-app": "kube-dns"})
OTHER_SYSTEM_POD = Pod("kube-system", {"k8s-app": "metrics-server"})
NODE_LOCAL_DNS = Address("169.254.20.10")
STRANGER = Pod("elsewhere", {"app": "stranger"})
OTHER_RELEASE = Pod(
    "hub", {**NAMES, "app.kubernetes.io/instance": "staging", "app.kubernetes.io/component": "hub"}
)
PROMETHEUS = Pod("monitoring", {"app.kubernetes.io/name": "prometheus"})
DATABASE = Pod("databases", {"app": "postgres"})

INTERNET, INTERNET6 = Address("93.184.215.14"), Address("2606:2800:21f::1")
METADATA = Address("169.254.169.254")
KUBERNETES = Address("10.0.0.1")

PRIVATE = [
    *("10.1.2.3", "172.16.0.1", "172.31.255.254", "192.168.1.1", "100.64.0.1", "100.100.100.200"),
    *("fd00::1", "fc00::1"),
]
METADATA_SERVERS = [
    *("169.254.169.254", "169.254.170.2", "168.63.129.16", "192.0.0.192", "100.100.100.200"),
    *("fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe", "64:ff9b::a9fe:a9fe"),
]
NOBODYS = ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "ff02::1"]
PORTS = [22, 80, 443, 5432, 6443, 8001, 8005, 8081, 8888, 10250]


def network(*changes: dict[str, Any]) -> Network:
    apart = {"singleuser": {"namespace": {"name": "people", "create": True}}}
    return Network(render(apart, *changes).of("NetworkPolicy"))


def allowing(component: str, **rules: bool) -> dict[str, Any]:
    place: dict[str, Any] = {"networkPolicy": {"egressAllowRules": rules}}
    return {"proxy": {"chp": place}} if component == "proxy" else {component: place}


def test_every_pod_of_a_release_has_a_policy_for_both_directions() -> None:
    policies = render({"prePuller": {"hook": {"enabled": True}}}).of("NetworkPolicy")
    assert all(policy["spec"]["policyTypes"] == ["Ingress", "Egress"] for policy in policies)
    for component in (
        *("hub", "proxy", "gateway", "api", "singleuser-server"),
        *("user-placeholder", "image-puller", "image-awaiter"),
    ):
        assert not Network(policies).allows(STRANGER, pod(component), 12345)
        assert not Network(policies).allows(pod(component), STRANGER, 12345)


@pytest.mark.parametrize("source", [HUB, GATEWAY, OTHER_USER, STRANGER, OTHER_RELEASE, INTERNET])
def test_only_the_proxy_and_the_hub_reach_a_users_pod(source: Pod | Address) -> None:
    assert network().allows(source, USER, 8888) is (source is HUB)


def test_the_api_service_reaches_the_hub_and_the_proxy_and_is_reached_by_them_alone() -> None:
    policies = network()
    assert policies.allows(API, HUB, 8081)
    assert policies.allows(API, PROXY, 8000)
    for target in (USER, GATEWAY, STRANGER, INTERNET, KUBERNETES, METADATA):
        for port in PORTS:
            assert not policies.allows(API, target, port)
    assert policies.allows(PROXY, API, 8006)
    assert policies.allows(HUB, API, 8006)
    for source in (USER, GATEWAY, STRANGER, OTHER_RELEASE, INTERNET):
        assert not policies.allows(source, API, 8006)


def test_the_proxy_brings_users_to_their_pods() -> None:
    assert network().allows(PROXY, USER, 8888)


def test_the_hub_asks_whether_a_server_that_it_started_answers() -> None:
    assert network().allows(HUB, USER, 8888)


@pytest.mark.parametrize("source", [PROXY, HUB])
def test_of_a_users_pod_only_the_servers_port_is_reached(source: Pod) -> None:
    assert not network().allows(source, USER, 8889)


@pytest.mark.parametrize("kind", ["UDP", "TCP"])
@pytest.mark.parametrize("target", [DNS, NODE_LOCAL_DNS])
@pytest.mark.parametrize("source", [USER, HUB, PROXY, GATEWAY, API])
def test_all_reach_the_clusters_resolver(source: Pod, target: Pod | Address, kind: str) -> None:
    assert network().allows(source, target, 53, kind)


@pytest.mark.parametrize("kind", ["UDP", "TCP"])
@pytest.mark.parametrize(
    "target",
    [Address("10.0.0.10"), OTHER_SYSTEM_POD, STRANGER, INTERNET, INTERNET6, KUBERNETES],
    ids=str,
)
def test_a_users_pod_reaches_port_53_of_nothing_else(target: Pod | Address, kind: str) -> None:
    assert not network().allows(USER, target, 53, kind)


def test_a_private_resolver_is_allowed_to_users_by_a_value() -> None:
    allowed = network(allowing("singleuser", dnsPortsPrivateIPs=True))
    assert allowed.allows(USER, Address("10.0.0.10"), 53, "UDP")
    assert not allowed.allows(USER, Address("10.0.0.10"), 443)


def test_a_users_pod_reaches_nothing_but_dns_in_kube_system() -> None:
    assert not network().allows(USER, DNS, 8080)


def test_a_users_pod_reaches_the_hubs_api() -> None:
    assert network().allows(USER, HUB, 8081)


def test_a_users_pod_reaches_the_gateway() -> None:
    assert network().allows(USER, GATEWAY, 8005)


def test_a_users_pod_reaches_the_proxy_as_its_user_would() -> None:
    assert network().allows(USER, PROXY, 8000)


def test_a_users_pod_reaches_the_proxy_even_where_strangers_do_not() -> None:
    closed: dict[str, Any] = {"proxy": {"chp": {"networkPolicy": {"allowedIngressPorts": []}}}}
    assert network(closed).allows(USER, PROXY, 8000)


def test_a_users_pod_cannot_change_the_proxys_routes() -> None:
    assert not network().allows(USER, PROXY, 8001)


@pytest.mark.parametrize("source", [PROXY, GATEWAY, STRANGER, INTERNET])
def test_only_the_hub_changes_the_proxys_routes(source: Pod | Address) -> None:
    assert not network().allows(source, PROXY, 8001)
    assert network().allows(HUB, PROXY, 8001)


@pytest.mark.parametrize("target", [INTERNET, INTERNET6])
@pytest.mark.parametrize("port", PORTS)
def test_a_users_pod_reaches_no_internet(target: Address, port: int) -> None:
    assert not network().allows(USER, target, port)


@pytest.mark.parametrize("target", [INTERNET, INTERNET6])
def test_a_users_pod_reaches_the_internet_if_the_values_say_so(target: Address) -> None:
    assert network(allowing("singleuser", nonPrivateIPs=True)).allows(USER, target, 443)


@pytest.mark.parametrize("ip", [*PRIVATE, *METADATA_SERVERS, *NOBODYS])
@pytest.mark.parametrize("internet", [False, True])
def test_a_users_pod_never_reaches_private_addresses_or_metadata(ip: str, internet: bool) -> None:
    policies = network(allowing("singleuser", nonPrivateIPs=internet))
    reached = [port for port in PORTS if policies.allows(USER, Address(ip), port)]
    assert reached == []


def test_a_users_pod_never_reaches_pods_of_others() -> None:
    policies = network(allowing("singleuser", nonPrivateIPs=True))
    for target in (OTHER_USER, STRANGER, OTHER_RELEASE, DATABASE):
        assert [port for port in PORTS if policies.allows(USER, target, port)] == []


def test_the_metadata_server_is_asked_for_names_only_if_the_values_say_so() -> None:
    assert not network().allows(USER, METADATA, 53, "UDP")
    policies = network(allowing("singleuser", dnsPortsCloudMetadataServer=True))
    assert policies.allows(USER, METADATA, 53, "UDP")
    assert not policies.allows(USER, METADATA, 80)


@pytest.mark.parametrize("target", [INTERNET, INTERNET6])
def test_only_the_gateway_reaches_the_provider(target: Address) -> None:
    policies = network()
    assert policies.allows(GATEWAY, target, 443)
    assert [source for source in (USER, PROXY) if policies.allows(source, target, 443)] == []


def test_the_gateway_reaches_no_private_address_unless_the_values_say_so() -> None:
    policies = network()
    assert [ip for ip in PRIVATE if policies.allows(GATEWAY, Address(ip), 11434)] == []
    policies = network(allowing("gateway", privateIPs=True))
    assert [ip for ip in PRIVATE if not policies.allows(GATEWAY, Address(ip), 11434)] == []


def test_the_gateway_reaches_no_metadata_server_unless_the_values_say_so() -> None:
    policies = network(allowing("gateway", privateIPs=True, nonPrivateIPs=True))
    assert not policies.allows(GATEWAY, METADATA, 80)
    assert network(allowing("gateway", cloudMetadataServer=True)).allows(GATEWAY, METADATA, 80)


def test_the_gateway_reaches_a_model_in_the_cluster_by_a_rule_of_the_operators() -> None:
    model = Pod("ollama", {"app": "ollama"})
    rule = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ollama"}}}],
        "ports": [{"port": 11434}],
    }
    assert not network().allows(GATEWAY, model, 11434)
    policies = network({"gateway": {"networkPolicy": {"egress": [rule]}}})
    assert policies.allows(GATEWAY, model, 11434)
    assert not policies.allows(USER, model, 11434)


def test_the_gateway_asks_the_hub_who_calls() -> None:
    assert network().allows(GATEWAY, HUB, 8081)


def test_strangers_reach_neither_gateway_nor_hub() -> None:
    for target in (GATEWAY, HUB):
        for source in (STRANGER, OTHER_RELEASE, INTERNET):
            assert [port for port in PORTS if network().allows(source, target, port)] == []


def test_the_proxy_reaches_hub_gateway_and_users_and_nothing_else() -> None:
    policies = network()
    assert policies.allows(PROXY, HUB, 8081)
    assert policies.allows(PROXY, GATEWAY, 8005)
    assert policies.allows(PROXY, USER, 8888)
    for target in (STRANGER, DATABASE, INTERNET, KUBERNETES, METADATA):
        assert [port for port in PORTS if policies.allows(PROXY, target, port)] == []


@pytest.mark.parametrize("source", [INTERNET, STRANGER])
def test_anybody_comes_in_by_the_proxy(source: Pod | Address) -> None:
    assert network().allows(source, PROXY, 8000)


def test_only_the_ingress_controller_comes_in_if_the_values_say_so() -> None:
    controller = Pod("ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx"})
    name = {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}
    policy = {
        "allowedIngressPorts": [],
        "ingress": [{"from": [{"namespaceSelector": name}], "ports": [{"port": 8000}]}],
    }
    policies = network({"proxy": {"chp": {"networkPolicy": policy}}})
    assert policies.allows(controller, PROXY, 8000)
    assert not policies.allows(controller, PROXY, 8001)
    assert not policies.allows(STRANGER, PROXY, 8000)


def test_the_hub_reaches_kubernetes_wherever_it_is() -> None:
    policies = network()
    for target in (KUBERNETES, INTERNET, Pod("kube-system", {"component": "kube-apiserver"})):
        assert policies.allows(HUB, target, 443)
        assert policies.allows(HUB, target, 6443)


def test_the_hub_reaches_itself_for_its_idle_culler() -> None:
    assert network().allows(HUB, HUB, 8081)


def test_the_hub_sees_whether_the_gateway_answers() -> None:
    assert network().allows(HUB, GATEWAY, 8005)


def test_the_hub_reaches_a_database_by_a_rule_of_the_operators() -> None:
    rule = {"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "postgres"}}}]}
    assert not network().allows(HUB, DATABASE, 5432)
    policies = network({"hub": {"networkPolicy": {"egress": [rule]}}})
    assert policies.allows(HUB, DATABASE, 5432)
    assert not policies.allows(USER, DATABASE, 5432)


def test_the_hub_reaches_no_metadata_server_and_no_database_by_itself() -> None:
    policies = network()
    assert not policies.allows(HUB, METADATA, 80)
    assert not policies.allows(HUB, Address("10.1.2.3"), 5432)


def test_a_pod_that_waits_speaks_with_nobody() -> None:
    for waiting in (pod("user-placeholder"), pod("image-puller")):
        assert not network().allows(waiting, DNS, 53, "UDP")
        assert not network().allows(waiting, INTERNET, 443)
        assert not network().allows(PROXY, waiting, 8888)


def test_who_waits_for_images_reaches_kubernetes_alone() -> None:
    policies = network({"prePuller": {"hook": {"enabled": True}}})
    assert policies.allows(AWAITER, KUBERNETES, 443)
    assert not policies.allows(AWAITER, USER, 8888)
    assert not policies.allows(AWAITER, INTERNET, 80)
    assert not policies.allows(PROXY, AWAITER, 8000)


def test_prometheus_reaches_the_metrics_and_nothing_else() -> None:
    monitored = network({"monitoring": {"serviceMonitor": {"enabled": True}}})
    for component, metrics in ((HUB, 8081), (GATEWAY, 8005), (PROXY, 8002)):
        ports = {port for port in (*PORTS, 8002) if monitored.allows(PROMETHEUS, component, port)}
        assert ports == {metrics}
        assert not monitored.allows(STRANGER, component, metrics)
        assert not network().allows(PROMETHEUS, component, metrics)
    assert not monitored.allows(PROMETHEUS, USER, 8888)
    there = {"enabled": True, "prometheusNamespace": "elsewhere"}
    moved = network({"monitoring": {"serviceMonitor": there}})
    assert moved.allows(STRANGER, HUB, 8081)
    assert not moved.allows(PROMETHEUS, HUB, 8081)


def test_users_beside_the_hub_are_told_apart_by_their_labels() -> None:
    policies = Network(render().of("NetworkPolicy"))
    user = pod("singleuser-server")
    assert policies.allows(user, GATEWAY, 8005)
    assert policies.allows(PROXY, user, 8888)
    assert not policies.allows(pod("singleuser-server", "people"), GATEWAY, 8005)
    assert not policies.allows(user, pod("singleuser-server", other="yes"), 8888)


@pytest.mark.parametrize(
    ("off", "component"),
    [
        ({"hub": {"networkPolicy": {"enabled": False}}}, HUB),
        ({"proxy": {"chp": {"networkPolicy": {"enabled": False}}}}, PROXY),
        ({"gateway": {"networkPolicy": {"enabled": False}}}, GATEWAY),
        ({"singleuser": {"networkPolicy": {"enabled": False}}}, USER),
    ],
)
def test_a_policy_that_is_off_leaves_its_pods_open(off: dict[str, Any], component: Pod) -> None:
    assert network(off).allows(STRANGER, component, 1)
    assert network(off).allows(component, INTERNET, 1)


def test_a_collector_of_traces_is_reached_by_users_servers_and_the_gateway_alone() -> None:
    collector = Pod("tracing", {"app": "alloy"})
    traces = {"endpoint": "http://alloy.tracing:4318", "collectorNamespace": "tracing"}
    allowed = network({"monitoring": {"traces": traces}})
    assert [allowed.allows(one, collector, 4318) for one in (USER, GATEWAY)] == [True, True]
    assert not allowed.allows(PROXY, collector, 4318)
    assert not allowed.allows(USER, collector, 9090)
    assert not allowed.allows(USER, STRANGER, 4318)
    unnamed = {"endpoint": "https://collector.example.org", "collectorNamespace": "tracing"}
    assert network({"monitoring": {"traces": unnamed}}).allows(USER, collector, 443)
    assert not network().allows(USER, collector, 4318)
