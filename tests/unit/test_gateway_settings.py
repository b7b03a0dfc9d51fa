"""The gateway's settings, from variables and from its section of the values."""

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from caesarion_hub.gateway.config import Config, ConfigError, from_environment
from caesarion_hub.gateway.upstream.settings import Upstream

HUB = {"JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api"}
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def set_options(upstream: Upstream) -> dict[str, Any]:
    where = {"name", "base_url", "key_file"}
    return upstream.options.model_dump(exclude_unset=True, exclude=where)


def only_upstream(settings: Mapping[str, str]) -> Upstream:
    (upstream,) = from_environment(settings).upstreams
    return upstream


def test_without_key_and_base_url_it_is_the_demo() -> None:
    assert from_environment(HUB) == Config(
        hub_api_url="http://127.0.0.1:8081/hub/api",
        service_name="gateway",
        prefix="/services/gateway/",
        host="127.0.0.1",
        port=8005,
        upstreams=(),
    )


def test_the_hubs_variables_say_where_to_listen() -> None:
    config = from_environment(
        HUB
        | {
            "JUPYTERHUB_SERVICE_URL": "http://gateway.hub:8080",
            "JUPYTERHUB_SERVICE_PREFIX": "/base/services/model",
            "JUPYTERHUB_SERVICE_NAME": "model",
            "CAESARION_GATEWAY_HOST": "0.0.0.0",
        }
    )
    assert (config.host, config.port, config.prefix, config.service_name) == (
        *("0.0.0.0", 8080),
        *("/base/services/model/", "model"),
    )


def test_a_key_alone_means_openai() -> None:
    upstream = only_upstream(HUB | {"OPENAI_API_KEY": KEY})
    assert upstream == Upstream("https://api.openai.com/v1", KEY, name="api.openai.com")


def test_a_base_url_alone_needs_no_key_and_no_slash() -> None:
    upstream = only_upstream(HUB | {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1/"})
    assert upstream == Upstream("http://127.0.0.1:11434/v1", None, name="127.0.0.1:11434")


def test_the_key_comes_from_its_file_first(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    settings = HUB | {"CAESARION_GATEWAY_KEY_FILE": str(file), "OPENAI_API_KEY": "sk-other"}
    config = from_environment(settings)
    assert (config.upstreams[0].key, config.warning) == (KEY, "")
    assert KEY not in repr(config)
    file.chmod(0o604)
    assert from_environment(settings).warning == (
        f"Every user of this machine can open the key file {file}: chmod 600 it."
    )


def test_a_file_holds_the_section_and_variables_win_over_it(tmp_path: Path) -> None:
    key, file = tmp_path / "key", tmp_path / "gateway.yaml"
    key.write_text(KEY)
    file.write_text(
        f"{{model: m, baseUrl: 'http://model.test/v1', keyFile: {key}, "
        "prices: {m: {prompt: 2.50, completion: 10}}}"
    )
    told = HUB | {"CAESARION_GATEWAY_CONFIG": str(file)}
    config = from_environment(told)
    assert config.upstreams == (Upstream("http://model.test/v1", KEY, name="model.test"),)
    assert config.values.model == "m"
    assert config.values.prices["m"].prompt == Decimal("2.50")
    other = only_upstream(told | {"OPENAI_BASE_URL": "http://other.test/v1"})
    assert other == Upstream("http://other.test/v1", KEY, name="other.test")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", r"gateway\.yaml is not YAML"),
        ("[a]", r"gateway\.yaml is not a table of keys"),
        ("{banana: 1}", r"gateway\.banana: Extra inputs are not permitted"),
        ("{budgets: [{scope: user, window: day}]}", r"gateway\.budgets\.0: neither tokens nor"),
    ],
)
def test_an_unusable_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        from_environment(HUB | {"CAESARION_GATEWAY_CONFIG": str(file)})


def test_the_values_name_upstreams_and_where_their_keys_lie(tmp_path: Path) -> None:
    key, file = tmp_path / "key", tmp_path / "gateway.yaml"
    key.write_text(KEY)
    key.chmod(0o600)
    file.write_text(
        f"""
        upstreams:
          - name: azure
            baseUrl: https://me.openai.azure.com/openai/deployments/{{model}}?api-version=1
            kind: azure
            keyFile: {key}
            aliases: {{gpt-4.1: my-gpt}}
            timeouts: {{firstByte: 60}}
          - name: ollama
            baseUrl: http://ollama:11434/v1/
            models: [llama*]
            breaker: {{failures: 1}}
            retries: 0
            priority: 1
            weight: 2
        """
    )
    config = from_environment(HUB | {"CAESARION_GATEWAY_CONFIG": str(file)})
    azure, ollama = config.upstreams
    assert (azure.base_url, azure.key, azure.name) == (
        *("https://me.openai.azure.com/openai/deployments/{model}?api-version=1", KEY),
        "azure",
    )
    assert azure.settings == ("baseUrl of the upstream 'azure'", "keyFile of the upstream 'azure'")
    assert (ollama.base_url, ollama.key) == ("http://ollama:11434/v1", None)
    assert set_options(azure) == {
        "kind": "azure",
        "aliases": {"gpt-4.1": "my-gpt"},
        "timeouts": {"first_byte": 60},
    }
    assert set_options(ollama) == {
        "models": ("llama*",),
        "breaker": {"failures": 1},
        "retries": 0,
        "priority": 1,
        "weight": 2,
    }
    assert KEY not in repr(config)
    assert config.warning == ""


@pytest.mark.parametrize(
    ("upstream", "sentence"),
    [
        ("name: a b, baseUrl: 'http://a/v1'", "gateway.upstreams.0.name"),
        ("name: a, baseUrl: a", "gateway.upstreams.0.baseUrl: not a web address"),
        ("name: a, baseUrl: 'http://a/v1', key: sk-1", "gateway.upstreams.0.key: Extra inputs"),
        ("name: a, baseUrl: 'http://a/v1', kind: aws", "gateway.upstreams.0.kind"),
        ("name: a, baseUrl: 'http://a/v1', retries: 11", "gateway.upstreams.0.retries"),
        (
            "name: a, baseUrl: 'http://me:secret@a/v1'",
            "baseUrl of the upstream 'a' is not the web address of an endpoint",
        ),
        (
            "name: a, baseUrl: 'http://a/v1', keyFile: /missing",
            "keyFile of the upstream 'a' must name a file that the gateway's user can open",
        ),
        (
            "name: a, baseUrl: 'http://a/v1'}, {name: a, baseUrl: 'http://b/v1'",
            "gateway.upstreams: two of them have the same name",
        ),
    ],
)
def test_an_unusable_upstream_is_a_sentence(tmp_path: Path, upstream: str, sentence: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"upstreams: [{{{upstream}}}]")
    with pytest.raises(ConfigError) as raised:
        from_environment(HUB | {"CAESARION_GATEWAY_CONFIG": str(file)})
    assert sentence in str(raised.value)
    assert "secret" not in str(raised.value)


def test_proxies_are_the_usual_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    outside = only_upstream(HUB | {"OPENAI_BASE_URL": "http://model.test/v1"})
    inside = only_upstream(HUB | {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"})
    assert (outside.proxy, inside.proxy) == ("http://proxy.test:3128", None)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"JUPYTERHUB_API_URL": ""}, "JUPYTERHUB_API_URL is not set."),
        ({"JUPYTERHUB_SERVICE_URL": "gateway"}, "JUPYTERHUB_SERVICE_URL is 'gateway', which names"),
        ({"JUPYTERHUB_SERVICE_URL": "http://a:b"}, "JUPYTERHUB_SERVICE_URL is 'http://a:b'"),
        ({"OPENAI_BASE_URL": "model.test"}, "OPENAI_BASE_URL is not the web address"),
        ({"OPENAI_BASE_URL": "http://me:secret@model.test"}, "without a name or a password in it"),
        ({"OPENAI_API_KEY": "two words"}, "OPENAI_API_KEY is no key: a key is one word"),
        ({"CAESARION_GATEWAY_KEY_FILE": "missing"}, "missing cannot be read: No such file"),
        ({"CAESARION_GATEWAY_CONFIG": "missing"}, "missing cannot be read: No such file"),
        (
            {"OPENAI_BASE_URL": "http://model.test", "CAESARION_GATEWAY_SILENCE": "soon"},
            "CAESARION_GATEWAY_SILENCE is 'soon'",
        ),
        (
            {"CAESARION_GATEWAY_GRACE": "0"},
            "CAESARION_GATEWAY_GRACE is '0'. It must be a number of seconds above 0.",
        ),
    ],
)
def test_an_unusable_setting_is_one_sentence(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        from_environment(HUB | settings)
    assert sentence in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_answers_under_way_get_the_seconds_that_the_operator_gives_them() -> None:
    assert from_environment(HUB).grace == 3.0
    assert from_environment(HUB | {"CAESARION_GATEWAY_GRACE": "120"}).grace == 120.0


@pytest.mark.parametrize(("content", "why"), [(b" \n", "is empty"), (b"\xff", "it is not text")])
def test_a_key_file_without_a_key_is_one_sentence(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=why):
        from_environment(HUB | {"CAESARION_GATEWAY_KEY_FILE": str(file)})
