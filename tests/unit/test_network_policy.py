"""NetworkPolicies on paper: what Kubernetes' documentation says of them holds here."""

from typing import Any

import pytest

from tests.network_policy import Address, Network, Pod

WEB, API, OTHER = Pod("a", {"app": "web"}), Pod("a", {"app": "api"}), Pod("b", {"app": "web"})
OUTSIDE = Address("203.0.113.7")


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "a", "name": "p"}, "spec": {"podSelector": {}, **spec}}


def test_without_a_policy_all_is_open() -> None:
    assert Network([]).allows(WEB, API, 80)
    assert Network([]).allows(OUTSIDE, API, 80)


def test_a_policy_without_rules_denies_its_direction() -> None:
    network = Network([policy(policyTypes=["Ingress"])])
    assert not network.allows(WEB, API, 80)
    assert network.allows(API, OTHER, 80)


def test_without_types_a_policy_is_about_what_comes_in_and_about_egress_if_it_has_rules() -> None:
    assert Network([policy()]).allows(WEB, OUTSIDE, 80)
    assert not Network([policy(egress=[])]).allows(WEB, OUTSIDE, 80)


def test_a_policy_is_about_the_pods_that_it_selects_in_its_namespace() -> None:
    network = Network([policy(podSelector={"matchLabels": {"app": "api"}})])
    assert not network.allows(WEB, API, 80)
    assert network.allows(API, WEB, 80)
    assert network.allows(WEB, Pod("b", {"app": "api"}), 80)


def test_policies_add_up() -> None:
    allowing = policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}])
    network = Network([policy(), allowing])
    assert network.allows(WEB, API, 80)
    assert not network.allows(API, WEB, 80)


def test_both_ends_must_allow() -> None:
    coming = policy(ingress=[{}])
    going = policy(policyTypes=["Egress"])
    assert Network([coming]).allows(WEB, API, 80)
    assert not Network([coming, going]).allows(WEB, API, 80)


def test_a_pod_selector_alone_means_the_policys_own_namespace() -> None:
    network = Network([policy(ingress=[{"from": [{"podSelector": {}}]}])])
    assert network.allows(WEB, API, 80)
    assert not network.allows(OTHER, API, 80)


def test_both_selectors_in_one_entry_must_match() -> None:
    entry = {
        "namespaceSelector": {"matchLabels": {"team": "x"}},
        "podSelector": {"matchLabels": {"app": "web"}},
    }
    network = Network([policy(ingress=[{"from": [entry]}])], {"b": {"team": "x"}})
    assert network.allows(OTHER, API, 80)
    assert not network.allows(Pod("b", {"app": "api"}), API, 80)
    assert not network.allows(WEB, API, 80)


def test_a_namespace_has_its_name_as_a_label() -> None:
    name = {"matchLabels": {"kubernetes.io/metadata.name": "b"}}
    network = Network([policy(ingress=[{"from": [{"namespaceSelector": name}]}])])
    assert network.allows(OTHER, API, 80)
    assert not network.allows(WEB, API, 80)


@pytest.mark.parametrize(
    ("expression", "selects"),
    [
        ({"key": "app", "operator": "In", "values": ["web", "x"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "none", "operator": "NotIn", "values": ["web"]}, True),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "app", "operator": "DoesNotExist"}, False),
    ],
)
def test_expressions_select(expression: dict[str, Any], selects: bool) -> None:
    network = Network([policy(podSelector={"matchExpressions": [expression]})])
    assert network.allows(API, WEB, 80) is not selects


def test_a_block_of_addresses_has_exceptions_and_is_about_no_pod() -> None:
    block = {"cidr": "203.0.113.0/24", "except": ["203.0.113.128/25"]}
    network = Network([policy(egress=[{"to": [{"ipBlock": block}]}])])
    assert network.allows(WEB, OUTSIDE, 80)
    assert not network.allows(WEB, Address("203.0.113.200"), 80)
    assert not network.allows(WEB, Address("2001:db8::1"), 80)
    assert not network.allows(WEB, OTHER, 80)


def test_ports_have_a_protocol_and_may_be_a_range() -> None:
    ports = [{"port": 80}, {"port": 5000, "endPort": 5010, "protocol": "UDP"}]
    network = Network([policy(ingress=[{"ports": ports}])])
    assert network.allows(OUTSIDE, WEB, 80)
    assert not network.allows(OUTSIDE, WEB, 80, "UDP")
    assert network.allows(OUTSIDE, WEB, 5010, "UDP")
    assert not network.allows(OUTSIDE, WEB, 5011, "UDP")
    assert Network([policy(ingress=[{"ports": [{"protocol": "UDP"}]}])]).allows(WEB, API, 1, "UDP")


def test_what_cannot_be_known_on_paper_is_refused() -> None:
    named = Network([policy(ingress=[{"ports": [{"port": "http"}]}])])
    with pytest.raises(ValueError, match="The port 'http' is named"):
        named.allows(OUTSIDE, WEB, 80)
    odd = policy(podSelector={"matchExpressions": [{"key": "a", "operator": "Like"}]})
    with pytest.raises(ValueError, match="There is no operator 'Like'"):
        Network([odd]).allows(OUTSIDE, WEB, 80)
