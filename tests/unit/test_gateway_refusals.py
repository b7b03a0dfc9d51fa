"""What becomes of a provider's errors: whose words, which status, what may be tried again."""

import json
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from caesarion_hub.gateway.upstream.connection_errors import connection_error, garbled
from caesarion_hub.gateway.upstream.errors import UpstreamError
from caesarion_hub.gateway.upstream.refusals import answer_error, status_error
from caesarion_hub.gateway.upstream.settings import Upstream
from hypothesis import given
from hypothesis import strategies as st

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"
UPSTREAM = Upstream("http://model.test:8/v1", KEY)


def told(status: int, body: Any, headers: Mapping[str, str] | None = None) -> UpstreamError:
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
    assert (error.status, error.code, error.kind) == (becomes, code, "upstream_error")
    assert message in error.message
    assert set(json.loads(error.body())["error"]) == {"message", "type", "param", "code"}
    assert KEY not in error.body().decode()


def test_a_missing_key_is_told_apart_from_a_wrong_one() -> None:
    error = status_error(401, b"", {}, Upstream("http://model.test/v1"))
    assert "wants a key, and none is set" in error.message


def test_a_rate_limit_keeps_its_waiting_time() -> None:
    error = told(429, {}, {"Retry-After": "7", "Set-Cookie": "a=b"})
    assert error.headers == {"Retry-After": "7"}
    assert error.message.endswith("Ask again in 7 seconds.")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"error": {"code": "insufficient_quota"}}),
        (402, {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}),
        (402, b""),
    ],
)
def test_a_used_up_quota_is_not_asked_again(status: int, body: Any) -> None:
    error = told(status, body)
    assert (error.status, error.code) == (429, "insufficient_quota")
    assert error.headers == {"X-Should-Retry": "false"}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, [{"error": {"message": "API key not valid."}}], "answered 400: API key not valid."),
        (
            422,
            {"detail": [{"loc": ["body", "n"], "msg": f"not {KEY}"}]},
            "answered 422: body.n: not [key]",
        ),
        (400, {"object": "error", "message": "Too long."}, "answered 400: Too long."),
        (400, {"error": "no such model"}, "answered 400: no such model"),
        (400, {"error": {"message": '{"error": {"message": "inner"}}'}}, "inner"),
        (400, b"plain words", "answered 400: plain words"),
        (400, b"<title>Blocked</title>", "answered 400: Blocked"),
        (400, b"", "answered 400."),
        (500, {"error": {"message": "out of memory"}}, "failed (500): out of memory. Ask again"),
        (503, b"<h1>No upstream</h1>", "failed (503): No upstream. Ask again in a moment."),
    ],
)
def test_an_error_of_any_shape_ends_in_the_providers_words(
    status: int, body: Any, words: str
) -> None:
    message = json.loads(told(status, body).body())["error"]["message"]
    assert words in message
    assert "OPENAI_BASE_URL" not in message


def test_an_error_within_an_answer_keeps_its_words() -> None:
    for said in ({"message": f"Not {KEY}."}, "Not [key].", {"error": {"message": "Not [key]."}}):
        error = answer_error(said, UPSTREAM)
        assert (error.status, error.retryable) == (502, True)
        assert json.loads(error.body())["error"]["message"].endswith("Not [key].")
        assert "Not" not in error.message


def test_the_words_of_a_page_are_for_the_user_and_not_for_the_log() -> None:
    error = garbled(UPSTREAM, "Log in")
    assert (
        'no answer of the OpenAI protocol ("Log in"). Ask again'
        in error.body().decode().replace("\\", "")
    )
    assert "Log in" not in error.message


def test_a_request_id_is_passed_on_without_the_key() -> None:
    error = told(400, {"error": {"message": "No."}}, {"X-Request-Id": f"req-{KEY}"})
    assert error.headers == {"X-Request-Id": "req-[key]"}


def test_what_the_user_can_mend_is_passed_on_in_the_providers_words() -> None:
    error = {"message": "Unknown parameter: 'x'.", "type": "a", "param": "x", "code": "b"}
    refusal = told(400, {"error": error}, {"X-Request-Id": "req_1", "Set-Cookie": "a=b"})
    assert json.loads(refusal.body()) == {"error": error}
    assert refusal.headers == {"X-Request-Id": "req_1"}
    assert refusal.message == "The model provider at model.test:8 answered 400."


def test_what_is_passed_on_has_openais_shape_and_no_key() -> None:
    error = {"message": f"Not {KEY}.", "code": 400, "param": [KEY], KEY: 1, "innererror": {}}
    assert json.loads(told(400, {"error": error}).body()) == {
        "error": {
            "message": "Not [key].",
            "type": "upstream_error",
            "param": None,
            "code": "400",
        }
    }


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": "model 'x' not found"}, "answered 404: model 'x' not found"),
        ({"detail": f"Not {KEY}"}, "answered 404: Not [key]"),
        (
            b"<html>Not Found</html>",
            "answered 404: Not Found. Check OPENAI_BASE_URL or gateway.baseUrl.",
        ),
        (b"", "answered 404. Check OPENAI_BASE_URL or gateway.baseUrl."),
        (b"[" * 100_000, f"answered 404: {'[' * 499}…"),
    ],
)
def test_an_error_of_another_shape_gets_openais(body: Any, reason: str) -> None:
    error = told(404, body)
    assert error.status == 404
    message = json.loads(error.body())["error"]["message"]
    assert message == f"The model provider at model.test:8 {reason}"


def test_the_providers_words_are_for_the_user_and_not_for_the_log() -> None:
    for body in ({"error": {"message": "Not 'my secret'."}}, {"detail": "Not 'my secret'."}):
        refusal = told(422, body)
        assert "my secret" in refusal.body().decode()
        assert "my secret" not in refusal.message


HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Retry-After-Ms", "X-Should-Retry", "X-Request-Id"]), st.text()
)
BODIES = st.one_of(
    st.binary(),
    st.recursive(
        st.one_of(st.none(), st.integers(), st.just(KEY), st.text()),
        lambda inner: st.dictionaries(
            st.sampled_from(["error", "message", "detail", "code", "type", "param"]), inner
        ),
    ).map(lambda said: json.dumps(said).encode()),
)


@given(st.integers(300, 599), BODIES, HEADERS)
def test_whatever_a_provider_answers_is_an_error_of_openais_shape_without_the_key(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    error = told(status, body, headers)
    said = json.loads(error.body())["error"]
    assert set(said) == {"message", "type", "param", "code"}
    assert isinstance(said["message"], str)
    assert 400 <= error.status <= 599
    assert KEY not in error.body().decode() + error.message
    assert error.retry_after >= 0
    assert all(value.isascii() and value.isprintable() for value in error.headers.values())


CONNECTION: Any = ConnectionKey("model.test", 8, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (
            aiohttp.ConnectionTimeoutError(),
            *(504, "upstream_timeout"),
            "did not accept a connection within 10 seconds",
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
