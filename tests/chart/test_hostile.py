"""Values that were not written for YAML arrive as they are, or are refused; names stay names."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helm import Manifests, RefusedError, render
from tests.validation import validate

LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""The name of a Service."""

NASTY = [
    "{{ .Release.Name }}",
    "{{ fail `x` }}",
    "}}{{",
    '"',
    "'",
    "\\",
    "a\nb: c\n",
    "\n- x",
    "  two spaces",
    "trailing ",
    "\ttab",
    "# comment",
    "a: b",
    "a #b",
    "- x",
    "? x",
    "&a *b !c",
    "|",
    ">",
    "%x",
    "@x",
    "`x`",
    "---",
    "...",
    "null",
    "~",
    "true",
    "no",
    "0x1f",
    "1e3",
    "1_000",
    "010",
    "2001-01-01",
    "=",
    "<<",
    "\u2028\u2029\ufeff",
    "\r\u0000\u0007\u001b",
    "\U0001f9ea é 汉",
    "$(HOME) ${HOME}",
    "",
]


def everywhere(text: str) -> dict[str, Any]:
    """Return values with ``text`` wherever a text goes."""
    texts = {"key": text}
    return {
        "auth": {"adminUsers": [text]},
        "hub": {
            "config": {"Class": {"trait": text, text: [text]}},
            "extraEnv": {"TEXT": text, "FROM": {"value": text}},
            "annotations": texts,
            "serviceAccount": {"annotations": texts},
            "loadRoles": {text: {"description": text, "scopes": [text]}},
            "db": {"pvc": {"annotations": texts}},
            "extraVolumes": [{"name": "x", "configMap": {"name": text}}],
        },
        "proxy": {
            "service": {"annotations": texts},
            "annotations": texts,
            "chp": {"extraCommandLineFlags": [text], "extraEnv": {"TEXT": text}},
        },
        "gateway": {
            "model": text or "x",
            "apiKey": text,
            "annotations": texts,
            "extraEnv": {"TEXT": text},
            "nodeSelector": texts,
        },
        "singleuser": {
            "extraEnv": {"TEXT": text},
            "extraAnnotations": {text: text},
            "extraPodConfig": {text: text},
            "profileList": [{"display_name": text or "x", "description": text}],
        },
        "ingress": {"enabled": True, "annotations": texts, "hosts": [text]},
        "httpRoute": {"enabled": True, "hostnames": [text], "parentRefs": [{"name": text}]},
    }


def check_everywhere(text: str) -> None:
    values = everywhere(text)
    manifests = render(values)
    texts = {"key": text}
    hub = manifests.one("Deployment", "caesarion-hub")["spec"]["template"]
    proxy = manifests.one("Deployment", "caesarion-proxy")["spec"]["template"]
    gateway = manifests.one("Deployment", "caesarion-gateway")["spec"]["template"]
    assert texts.items() <= hub["metadata"]["annotations"].items()
    assert texts.items() <= proxy["metadata"]["annotations"].items()
    assert texts.items() <= gateway["metadata"]["annotations"].items()
    assert gateway["spec"]["nodeSelector"] == texts
    assert {"name": "x", "configMap": {"name": text}} in hub["spec"]["volumes"]
    assert variables(hub) >= {("TEXT", text), ("FROM", text)}
    assert variables(proxy) >= {("TEXT", text)}
    assert variables(gateway) >= {("TEXT", text)}
    own = yaml.safe_load(manifests.secret("caesarion-gateway-values")["gateway.yaml"])
    assert own["model"] == (text or "x")
    assert proxy["spec"]["containers"][0]["command"][-1] == text
    for kind in ("ServiceAccount", "PersistentVolumeClaim"):
        assert manifests.one(kind, "caesarion-hub")["metadata"]["annotations"] == texts
    assert manifests.one("Service", "caesarion-proxy")["metadata"]["annotations"] == texts
    ingress = manifests.one("Ingress", "caesarion")
    assert ingress["metadata"]["annotations"] == texts
    assert ingress["spec"]["rules"][0]["host"] == text
    route = manifests.one("HTTPRoute", "caesarion")["spec"]
    assert (route["hostnames"], route["parentRefs"]) == ([text], [{"name": text}])
    if text:
        assert manifests.secret("caesarion-gateway") == {"api_key": text}
    table = manifests.hub_values()
    for section in ("auth", "hub", "singleuser"):
        for name, value in values[section].items():
            if name in table[section]:
                assert value == table[section][name] or name == "db", (section, name)


def variables(template: dict[str, Any]) -> set[tuple[str, str]]:
    (container,) = template["spec"]["containers"]
    return {(entry["name"], entry.get("value", "")) for entry in container["env"]}


@pytest.mark.parametrize("text", NASTY)
def test_a_nasty_text_arrives_as_it_is(text: str) -> None:
    check_everywhere(text)


@settings(max_examples=10)
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40))
def test_any_text_arrives_as_it_is(text: str) -> None:
    check_everywhere(text)


def test_a_text_that_yaml_cannot_hold_is_refused() -> None:
    with pytest.raises(RefusedError, match="control characters are not allowed"):
        render({"gateway": {"model": "\u007f"}}, {"hub": {"extraEnv": {"A": "\u007f"}}})


@pytest.mark.parametrize(
    "release",
    [
        *("1lab", "a.b.c", "true", "null", "0", "1e3", "x" * 53, "caesarion-" + "y" * 43),
        *("9" * 53, "a-" * 26 + "b", "caesarion.1"),
    ],
)
def test_a_release_of_any_name_has_names_that_kubernetes_takes(release: str) -> None:
    manifests = render(release=release)
    services = {service["metadata"]["name"] for service in manifests.of("Service")}
    assert len(services) == 5
    assert [name for name in services if not LABEL.fullmatch(name)] == []
    for manifest in manifests:
        validate(manifest, "1.33")
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == release


def test_two_long_names_stay_apart() -> None:
    names = {
        render(release="x" * 52 + end).of("Service")[0]["metadata"]["name"] for end in ("a", "b")
    }
    assert len(names) == 2


@pytest.mark.parametrize("namespace", ["123", "null", "true", "1e3", "n" * 63])
def test_a_namespace_of_any_name_is_a_text(namespace: str) -> None:
    apart = {"singleuser": {"namespace": {"name": namespace, "create": True}}}
    hook = {"prePuller": {"hook": {"enabled": True}}}
    for manifests in (render(hook, namespace=namespace), render(apart)):
        assert namespace in {m["metadata"].get("namespace") for m in manifests}
        for manifest in manifests:
            validate(manifest, "1.33")
    assert render(hook, namespace=namespace).container("Job", "caesarion-pull-hook")["args"][3] == (
        namespace
    )


@pytest.mark.parametrize("name", ["123", "null", "true", "1e3"])
def test_what_the_operator_has_made_may_have_any_name(name: str) -> None:
    manifests = render(
        {
            "imagePullSecrets": [name],
            "hub": {
                "existingSecret": name,
                "serviceAccount": {"create": False, "name": name},
                "db": {
                    "type": "postgres",
                    "url": "postgresql://db/hub",
                    "passwordSecret": {"name": name, "key": name},
                },
            },
            "gateway": {"existingSecret": name},
            "singleuser": {"image": {"pullSecrets": [name]}},
            "prePuller": {"continuous": {"enabled": True}},
        }
    )
    for manifest in manifests:
        validate(manifest, "1.33")
    assert manifests.hub_values()["singleuser"]["image"]["pullSecrets"] == [name]
    pod = manifests.one("Deployment", "caesarion-hub")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == name


@pytest.mark.parametrize(
    "values",
    [
        {"fullnameOverride": "Upper"},
        {"fullnameOverride": "x" * 54},
        {"fullnameOverride": "a\nb"},
        {"fullnameOverride": "{{ x }}"},
        {"hub": {"baseUrl": "/a b/"}},
        {"hub": {"baseUrl": '/"/'}},
        {"hub": {"baseUrl": "/{{ x }}/"}},
        {"hub": {"baseUrl": "/a\n/"}},
        {"hub": {"image": {"name": "a b"}}},
        {"hub": {"image": {"tag": "a:b"}}},
        {"hub": {"image": {"tag": "x\ny"}}},
        {"hub": {"existingSecret": "a: b"}},
        {"hub": {"extraEnv": {"A B": "x"}}},
        {"hub": {"serviceAccount": {"name": "{{ x }}"}}},
        {"hub": {"db": {"pvc": {"storage": "1Gi\nx"}}}},
        {"singleuser": {"namespace": {"name": "a.b"}}},
        {"singleuser": {"namespace": {"name": "x" * 64}}},
        {"imagePullSecrets": ["a b"]},
        {"proxy": {"service": {"type": "x"}}},
        {"gateway": {"existingSecret": "a\n"}},
    ],
    ids=str,
)
def test_what_can_be_no_name_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match=r"does not match pattern|value must be one of"):
        render(values)


def test_large_numbers_stay_whole() -> None:
    million = 1_000_000
    manifests = render(
        {
            "gateway": {
                "replicas": million,
                "silence": million,
                "grace": million,
                "database": {"url": "postgresql://db/gateway"},
            },
            "hub": {"livenessProbe": {"failureThreshold": million}},
            "scheduling": {"podPriority": {"enabled": True, "userPlaceholderPriority": -million}},
            "prePuller": {"hook": {"enabled": True, "timeout": million}},
        }
    )
    gateway = manifests.one("Deployment", "caesarion-gateway")["spec"]
    assert gateway["replicas"] == million
    assert gateway["template"]["spec"]["terminationGracePeriodSeconds"] == million + 20
    assert variables(gateway["template"]) >= {
        ("CAESARION_GATEWAY_SILENCE", "1000000"),
        ("CAESARION_GATEWAY_GRACE", "1000000"),
    }
    hub = manifests.container("Deployment", "caesarion-hub")
    assert hub["livenessProbe"]["failureThreshold"] == million
    placeholder = manifests.one("PriorityClass", "hub-caesarion-user-placeholder")
    assert placeholder["value"] == -million
    assert manifests.container("Job", "caesarion-pull-hook")["args"][-1] == "1000000"


def test_an_image_is_named_as_docker_does() -> None:
    image = {"name": "registry.example.org:5000/team/hub", "tag": "1.0_b-2"}
    manifests: Manifests = render({"hub": {"image": image}})
    assert manifests.container("Deployment", "caesarion-hub")["image"] == (
        "registry.example.org:5000/team/hub:1.0_b-2"
    )
