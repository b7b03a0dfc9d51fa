"""The gateway's pure parts: settings, scrubbing, what becomes of the provider's errors."""

import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from caesarion_hub.gateway.config import Config, ConfigError, Upstream, from_environment
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.handlers import checked_body
from caesarion_hub.gateway.scrub import scrub
from caesarion_hub.gateway.translate import connection_error, status_error

HUB = {"JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api"}
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"
UPSTREAM = Upstream("http://model.test:8/v1", KEY)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_without_key_and_base_url_it_is_the_demo() -> None:
    assert from_environment(HUB) == Config(
        hub_api_url="http://127.0.0.1:8081/hub/api",
        service_name="gateway",
        prefix="/services/gateway/",
        host="127.0.0.1",
        port=8005,
        default_model="gpt-4.1",
        upstream=None,
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
    upstream = from_environment(HUB | {"OPENAI_API_KEY": KEY}).upstream
    assert upstream == Upstream("https://api.openai.com/v1", KEY)


def test_a_base_url_alone_needs_no_key_and_no_slash() -> None:
    upstream = from_environment(HUB | {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1/"}).upstream
    assert upstream == Upstream("http://127.0.0.1:11434/v1", None)


def test_the_key_comes_from_its_file_first(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    settings = HUB | {"CAESARION_GATEWAY_KEY_FILE": str(file), "OPENAI_API_KEY": "sk-other"}
    config = from_environment(settings)
    assert config.upstream is not None
    assert (config.upstream.key, config.warning) == (KEY, "")
    assert KEY not in repr(config)
    file.chmod(0o604)
    assert from_environment(settings).warning == (
        f"Every user of this machine can open the key file {file}: chmod 600 it."
    )


def test_proxies_are_the_usual_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    outside = from_environment(HUB | {"OPENAI_BASE_URL": "http://model.test/v1"}).upstream
    inside = from_environment(HUB | {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}).upstream
    assert outside is not None
    assert inside is not None
    assert (outside.proxy, inside.proxy) == ("http://proxy.test:3128", None)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"JUPYTERHUB_API_URL": ""}, "JUPYTERHUB_API_URL is not set."),
        ({"JUPYTERHUB_SERVICE_URL": "gateway"}, "JUPYTERHUB_SERVICE_URL is 'gateway', which names"),
        ({"JUPYTERHUB_SERVICE_URL": "http://a:b"}, "JUPYTERHUB_SERVICE_URL is 'http://a:b'"),
        ({"OPENAI_BASE_URL": "model.test"}, "OPENAI_BASE_URL is not the web address"),
        ({"OPENAI_BASE_URL": "http://me:secret@model.test"}, "without a name or a password in it"),
        ({"OPENAI_API_KEY": "two words"}, "OPENAI_API_KEY holds more than one word"),
        ({"CAESARION_GATEWAY_KEY_FILE": "missing"}, "missing cannot be read: No such file"),
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


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"Incorrect API key provided: {KEY}.", "Incorrect API key provided: [key]."),
        ("Incorrect API key provided: sk-pr***************0123.", "provided: [key]"),
        ("Your key 'sk-...0123' is wrong", "Your key '[key]' is wrong"),
        ("Your key (ending in …0123)", "Your key (ending in [key])"),
        ("key=****0123, retry", "[key], retry"),
        ("starts with sk-proj-abcdef", "starts with [key]"),
        (f"Bearer {KEY}x", "Bearer [key]x"),
    ],
)
def test_the_key_and_its_ends_are_scrubbed(text: str, clean: str) -> None:
    assert scrub(text, KEY).endswith(clean)


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-9` does not exist...",
        "messages.[3].role: expected **kwargs, got 'tool'",
        "see https://platform.openai.com/account/api-keys.",
        "10..20 and a*b and xxxx",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert scrub(text, KEY) == text
    assert scrub(text, None) == text


def test_a_short_key_is_scrubbed_as_a_word_only() -> None:
    assert scrub("none of the keys: none.", "none") == "[key] of the keys: [key]"
    assert scrub("nonentity", "none") == "nonentity"


def told(status: int, body: Any, headers: Mapping[str, str] | None = None) -> GatewayError | bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status_error(status, raw, headers or {}, UPSTREAM)


@pytest.mark.parametrize(
    ("status", "becomes", "code", "message"),
    [
        (301, 502, "upstream_redirect", "redirects to another address"),
        (401, 502, "upstream_unauthorized", "does not accept this deployment's key"),
        (403, 502, "upstream_forbidden", "which models and regions the key is for"),
        (429, 429, "rate_limit_exceeded", "Ask again in a moment."),
        (500, 500, "upstream_error", "model.test:8 failed (500). Ask again in a moment."),
        (503, 503, "upstream_error", "failed (503)"),
        (529, 502, "upstream_error", "failed (529)"),
    ],
)
def test_what_the_operator_must_mend_is_said_in_our_words(
    status: int, becomes: int, code: str, message: str
) -> None:
    error = told(status, {"error": {"message": f"The key {KEY} ...", "code": "x"}})
    assert isinstance(error, GatewayError)
    assert (error.status, error.code, error.kind) == (becomes, code, "upstream_error")
    assert message in error.message
    assert set(json.loads(error.body())["error"]) == {"message", "type", "param", "code"}
    assert KEY not in error.body().decode()


def test_a_missing_key_is_told_apart_from_a_wrong_one() -> None:
    error = status_error(401, b"", {}, Upstream("http://model.test/v1"))
    assert isinstance(error, GatewayError)
    assert "wants a key, and none is set" in error.message


def test_a_rate_limit_keeps_its_waiting_time() -> None:
    error = told(429, {}, {"Retry-After": "7", "Set-Cookie": "a=b"})
    assert isinstance(error, GatewayError)
    assert error.headers == {"Retry-After": "7"}
    assert error.message.endswith("Ask again in 7 seconds.")


def test_a_used_up_quota_is_not_asked_again() -> None:
    error = told(429, {"error": {"code": "insufficient_quota"}})
    assert isinstance(error, GatewayError)
    assert error.code == "insufficient_quota"
    assert error.headers == {"X-Should-Retry": "false"}


def test_what_the_user_can_mend_is_passed_on_byte_for_byte() -> None:
    body = b'{"error":  {"message": "Unknown parameter: \'x\'.", "code": "unknown_parameter"}}'
    assert told(400, body) == body


def test_a_key_in_what_is_passed_on_is_scrubbed() -> None:
    body = told(400, {"error": {"message": "No.", "param": [f"Bearer {KEY}"], KEY: 1}})
    assert isinstance(body, bytes)
    assert json.loads(body) == {"error": {"message": "No.", "param": ["Bearer [key]"], "[key]": 1}}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": "model 'x' not found"}, "answered 404: model 'x' not found"),
        ({"detail": f"Not {KEY}"}, "answered 404: Not [key]"),
        (b"<html>Not Found</html>", "answered 404. Check OPENAI_BASE_URL."),
        (b"[" * 100_000, "answered 404. Check OPENAI_BASE_URL."),
    ],
)
def test_an_error_of_another_shape_gets_openais(body: Any, reason: str) -> None:
    error = told(404, body)
    assert isinstance(error, GatewayError)
    assert error.status == 404
    assert error.message == f"The model provider at model.test:8 {reason}"


CONNECTION: Any = ConnectionKey("model.test", 8, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (
            aiohttp.ConnectionTimeoutError(),
            *(504, "upstream_timeout"),
            "took no connection within 10 seconds",
        ),
        (aiohttp.SocketTimeoutError(), 504, "upstream_timeout", "was silent for 300 seconds"),
        (
            aiohttp.ClientConnectorDNSError(CONNECTION, OSError(-2, "unknown")),
            *(502, "upstream_unreachable"),
            "name model.test:8 is not known on this network",
        ),
        (
            aiohttp.ClientConnectorCertificateError(CONNECTION, ssl.SSLError()),
            *(502, "upstream_untrusted"),
            "has no certificate that this deployment trusts",
        ),
        (
            aiohttp.ClientProxyConnectionError(CONNECTION, OSError(111, "refused")),
            *(502, "upstream_unreachable"),
            "The HTTP proxy on the way to the model provider at model.test:8 does not let",
        ),
        (
            aiohttp.ClientConnectorError(CONNECTION, OSError(111, "refused")),
            *(502, "upstream_unreachable"),
            "model.test:8 cannot be reached",
        ),
        (
            aiohttp.ServerDisconnectedError(),
            *(502, "upstream_disconnected"),
            "closed the connection without an answer",
        ),
    ],
)
def test_each_way_to_get_no_answer_has_its_sentence(
    error: Exception, status: int, code: str, message: str
) -> None:
    told = connection_error(error, UPSTREAM, 10.0)
    assert (told.status, told.code) == (status, code)
    assert message in told.message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "The request is not JSON."),
        (b"\xff", "The request is not JSON."),
        (b"[" * 100_000, "The request is not JSON."),
        (b"[]", "The request is not a JSON object."),
        (b'{"messages": [{}]}', "The request names no model: 'model' must be a text."),
        (b'{"model": 1, "messages": [{}]}', "The request names no model: 'model' must be a text."),
        (b'{"model": "m"}', "The request holds no messages: 'messages' must be a list."),
        (b'{"model": "m", "messages": []}', "The request holds no messages: 'messages' must be"),
    ],
)
def test_what_is_no_request_is_one_sentence(raw: bytes, message: str) -> None:
    with pytest.raises(GatewayError) as raised:
        checked_body(raw)
    assert raised.value.status == 400
    assert raised.value.message.startswith(message)
