"""Bodies of requests: parsed within bounds, and reduced to known fields of their types."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from caesarion_hub.gateway.api import request
from caesarion_hub.gateway.api.body import Body, BodyMemory
from caesarion_hub.gateway.api.request import MAX_DEPTH, MAX_PARTS, parse, parse_object
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.fields import MAX_TOKENS, check_types, only_allowed
from hypothesis import given
from hypothesis import strategies as st

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


# Parsing.


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "The request is not JSON."),
        (b"\xff", "The request is not JSON."),
        ('{"model": "m"}'.encode("utf-16"), "The request is not JSON."),
        (b"[]", "The request is not a JSON object."),
        (b'{"model": "a", "model": "b"}', "The request says 'model' twice in one object."),
        (b'{"mod\\u0065l": "a", "model": "b"}', "The request says 'model' twice in one object."),
        (b'{"messages": [{"a": 1, "a": 1}]}', "The request says 'a' twice in one object."),
        (b'{"a": NaN}', "The request holds NaN, which is no number of JSON."),
        (b'{"a": -Infinity}', "The request holds -Infinity, which is no number of JSON."),
        (b'{"a": 1e999}', "The request holds 1e999, which is no number of JSON."),
        (b'{"a": %s}' % (b"9" * 5000), "The request holds a number of 5000 digits."),
        (b"[" * (MAX_DEPTH + 1), "The request holds more than 100 lists and objects within"),
        (b'{"a":' * (MAX_DEPTH + 1), "The request holds more than 100 lists and objects within"),
        (b'[{"a":' * 51 + b"0" + b"}]" * 51, "The request holds more than 100 lists and objects"),
        (b"[" + b"0," * MAX_PARTS, "The request holds too many values. Send less at once."),
        (b"[" + b'"",' * MAX_PARTS, "The request holds too many values. Send less at once."),
    ],
)
def test_a_body_that_is_no_object_of_json_is_refused_in_a_sentence(
    raw: bytes, message: str
) -> None:
    with pytest.raises(GatewayError) as raised:
        parse_object(raw)
    assert raised.value.status == 400
    assert raised.value.message.startswith(message)


def test_depth_and_number_are_of_values_and_not_of_what_texts_say() -> None:
    text = '[{"\\"' * MAX_PARTS
    assert parse_object(json.dumps({"a": text}).encode()) == {"a": text}
    deepest = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert parse_object(b'{"a": %s, "b": %s}' % (deepest, deepest)).keys() == {"a", "b"}
    both = b'{"a":[' * (MAX_DEPTH // 2) + b"0" + b"]}" * (MAX_DEPTH // 2)
    assert parse_object(both).keys() == {"a"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON))
def test_an_object_is_read_as_it_was_written(written: dict[str, Any]) -> None:
    assert parse_object(json.dumps(written).encode()) == written
    assert (
        parse_object(json.dumps(written, ensure_ascii=False).encode("utf-8", "replace")) is not None
    )


@given(st.binary() | st.text().map(str.encode))
def test_whatever_comes_is_an_object_or_a_refusal(raw: bytes) -> None:
    with suppress(GatewayError):
        assert isinstance(parse_object(raw), dict)


def seconds(raw: bytes) -> float:
    """Return the processor time of the quickest of three tries to parse ``raw``."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        with pytest.raises(GatewayError):
            parse_object(raw)
        times.append(time.thread_time() - began)
    return min(times)


@pytest.mark.parametrize(
    "hostile",
    [
        lambda size: b"{" + b",".join(b'"k%d":0' % (n % (size - 1)) for n in range(size)) + b"}",
        lambda size: b"{" + b",".join(b'"k":0' for _ in range(size)) + b"}",
        lambda size: b'["' + b'\\"' * 8 * size,
        lambda size: b'"' + b"\\" * 8 * size,
        lambda size: b"[" + b"9" * 8 * size,
    ],
)
def test_time_grows_with_the_length_and_not_with_its_square(hostile: Any) -> None:
    few, many = hostile(5_000), hostile(40_000)
    # Eight times as much takes 64 times as long where it is quadratic.
    assert seconds(many) < 24 * max(seconds(few), 0.0005)


async def test_a_long_body_is_parsed_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[Any] = []

    async def to_thread(function: Any, *arguments: Any) -> Any:
        threads.append(function)
        return function(*arguments)

    monkeypatch.setattr("asyncio.to_thread", to_thread)
    assert await parse(b'{"a": 1}') == {"a": 1}
    assert threads == []
    assert await parse(b'{"a": 1}' + b" " * request.THREAD_THRESHOLD) == {"a": 1}
    assert threads == [parse_object]


# Fields.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": None}, "The request has no 'model': it must be a name of at most 256"),
        ({"model": ""}, "'model' is an empty text; it must be a name of at most 256"),
        ({"model": ["m"]}, "'model' is a list; it must be a name of at most 256 characters"),
        (
            {"model": "m" * 257},
            "'model' is a text of 257 characters; it must be a name of at most 256 characters, "
            "as v1/models lists it.",
        ),
        ({"messages": None}, "The request has no 'messages': it must be a list of objects."),
        ({"messages": []}, "'messages' is an empty list; it must be a list of objects."),
        ({"messages": ["hello"]}, "'messages' is a list; it must be a list of objects."),
        ({"max_tokens": True}, "'max_tokens' is true; it must be a whole number from 1 to 2147"),
        ({"max_tokens": 100.0}, "'max_tokens' is 100.0; it must be a whole number from 1 to"),
        ({"max_tokens": "100"}, "'max_tokens' is a text; it must be a whole number from 1 to"),
        ({"max_tokens": 0}, "'max_tokens' is 0; it must be a whole number from 1 to"),
        ({"max_tokens": -1}, "'max_tokens' is -1; it must be a whole number from 1 to"),
        ({"max_completion_tokens": 2**63}, "'max_completion_tokens' is 9223372036854775808; it"),
        ({"n_predict": -1}, "'n_predict' is -1; it must be a whole number from 1 to"),
        ({"n": 1000}, "'n' is 1000; it must be a whole number from 1 to 128."),
        ({"n": True}, "'n' is true; it must be a whole number from 1 to 128."),
        ({"stream": "true"}, "'stream' is a text; it must be true or false."),
        ({"stream": 1}, "'stream' is 1; it must be true or false."),
        ({"stream_options": []}, "'stream_options' is an empty list; it must be an object."),
        ({"temperature": True}, "'temperature' is true; it must be a number."),
        ({"tools": {}}, "'tools' is an object; it must be a list."),
    ],
)
def test_a_field_of_another_type_is_refused_with_its_value(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(GatewayError) as raised:
        check_types(BODY | fields)
    assert raised.value.message.startswith(message)


def test_a_field_that_is_null_is_a_field_that_is_not_there() -> None:
    check_types(BODY | {"max_tokens": None, "n": None, "stream": None, "tools": None})
    check_types(BODY | {"max_tokens": MAX_TOKENS, "functions": [], "function_call": {"name": "f"}})


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("Model", "Did you mean 'model'?"),
        ("MAX_TOKENS", "Did you mean 'max_tokens'?"),
        *(
            (name, "Leave it out, or ask the operator to add it to gateway.requests.extraFields.")
            for name in (
                *("models", "route", "provider", "api_base", "extra_body", "fallbacks"),
                *("n_predict", "max_output_tokens", "num_predict", "best_of", "model "),
                *("service_tier", "store", "web_search_options", "\ud800"),
            )
        ),
    ],
)
def test_an_unknown_field_is_refused_or_dropped(name: str, remedy: str) -> None:
    body = BODY | {name: "x"}
    with pytest.raises(GatewayError) as raised:
        only_allowed(body, (), drop=False)
    assert raised.value.message == f"This gateway does not pass on the field '{name}'. {remedy}"
    assert only_allowed(body, (), drop=True) == BODY
    assert only_allowed(body, [name], drop=False) == body


class Counted(str):
    """A name that counts how often it is compared, and put into lower case."""

    compared = lowered = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__

    def lower(self) -> str:
        Counted.lowered += 1
        return super().lower()


def test_names_of_fields_are_read_once_however_many_and_long_they_are() -> None:
    body = BODY | {Counted(number): "x" for number in range(1000)}
    assert only_allowed(body, (), drop=True) == BODY
    with pytest.raises(GatewayError):
        only_allowed(body, (), drop=False)
    assert Counted.compared < len(body)
    assert Counted.lowered == 1


@given(st.dictionaries(st.text() | st.sampled_from(["Model", "models", "stream"]), JSON))
def test_what_is_left_has_known_fields_of_their_types(extra: dict[str, Any]) -> None:
    allowed = only_allowed(BODY | extra, {"top_k"}, drop=True)
    assert "Model" not in allowed
    assert "models" not in allowed
    with suppress(GatewayError):
        check_types(allowed)
        assert type(allowed.get("stream")) in (bool, type(None))


# Memory.


def test_all_bodies_together_and_those_of_a_user_are_bounded() -> None:
    memory = BodyMemory(total := 10 * 2**20, of_user := 6 * 2**20)
    mebibyte = bytes(2**20)
    first, second = Body(memory, "ada", of_user), Body(memory, "ada", of_user)
    for body in (first, second) * 3:
        body.add(mebibyte)
    with pytest.raises(GatewayError, match=r"^Your requests in progress hold 6 MiB, which") as own:
        first.add(b"x")
    other = Body(memory, "bob", total)
    for _ in range(4):
        other.add(mebibyte)
    with pytest.raises(GatewayError, match=r"^The requests in progress hold 10 MiB, which") as all_:
        other.add(b"x")
    assert (own.value.status, all_.value.status) == (429, 503)
    assert len(first.read()) == 3 * 2**20
    with pytest.raises(GatewayError):
        first.add(b"x")  # what was read is still in memory
    first.close()
    first.close()
    other.add(mebibyte)
    second.close()
    other.close()
    Body(memory, "eve", total).add(bytes(6 * 2**20))


def test_a_body_that_is_too_long_is_refused_at_its_first_byte_too_many() -> None:
    body = Body(BodyMemory(2**30, 2**30), "ada", 10 * 2**20)
    body.add(bytes(10 * 2**20))
    with pytest.raises(GatewayError, match=r"^The request is longer than 10 MiB\.") as caught:
        body.add(b"x")
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")
