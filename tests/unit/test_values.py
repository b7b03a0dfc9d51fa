"""The operator's values: what is refused, in which words, and what is read."""

from pathlib import Path
from typing import Any

import pytest
from caesarion_hub import values

from tests.values import ADMIN_PASSWORD, USER_PASSWORD, make_table, make_values

NO_LIMITS = {
    "models": None,
    "default_model": None,
    "max_output_tokens": None,
    "requests_per_minute": None,
    "concurrent_streams": None,
}


def refusal(**changes: Any) -> list[str]:
    with pytest.raises(values.ValuesError) as caught:
        make_values(**changes)
    return str(caught.value).splitlines()


def test_without_a_file_of_their_own_the_defaults_hold() -> None:
    made = make_values()
    assert made.auth.admin_users == ()
    assert made.singleuser.model_dump() == {
        "default_url": "/lab",
        "start_timeout": 60,
        "extra_env": {},
    }
    assert made.gateway.model_dump() == {
        "model": "gpt-4.1",
        "base_url": None,
        "key_file": None,
        "upstreams": (),
        "database": {"url": None},
        "prices": {},
        "budgets": (),
        "limits": NO_LIMITS,
        "groups": {},
        "aliases": {},
        "audit": {"text": False, "retention_days": 0},
        "retention_days": 400,
    }
    assert made.cull.model_dump() == {
        "enabled": True,
        "timeout": 3600,
        "every": 600,
        "max_age": 0,
    }


def test_camel_case_in_the_file_is_snake_case_in_python() -> None:
    made = make_values(cull={"maxAge": 5}, gateway={"baseUrl": "http://[::1]:1/v1"})
    assert made.cull.max_age == 5
    assert made.gateway.base_url == "http://[::1]:1/v1"
    assert made.local.folder == Path("/state")
    assert made.local.proxy_command == ("node", "proxy")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"singleuser": {"defaultUrll": "/lab"}},
            "Unknown key 'singleuser.defaultUrll'. Did you mean 'singleuser.defaultUrl'?",
        ),
        (
            {"cull": {"max_age": 1}},
            "Unknown key 'cull.max_age'. Did you mean 'cull.maxAge'?",
        ),
        (
            {"timeout": 1},
            "Unknown key 'timeout'. Did you mean 'cull.timeout'?",
        ),
        (
            {"cull": {"banana": 1}},
            "Unknown key 'cull.banana'. The keys there are: enabled, every, maxAge, timeout.",
        ),
        (
            {"banana": 1},
            "Unknown key 'banana'. "
            "The keys there are: agent, auth, cull, gateway, local, singleuser.",
        ),
        (
            {"cull": {"enabled": "yes"}},
            'cull.enabled is "yes"; it must be true or false.',
        ),
        (
            {"cull": {"timeout": "1h"}},
            'cull.timeout is "1h"; it must be whole seconds, 1 or more.',
        ),
        (
            {"cull": {"every": 0}},
            "cull.every is 0; it must be whole seconds, 1 or more.",
        ),
        (
            {"cull": {"maxAge": 1.5}},
            "cull.maxAge is 1.5; it must be whole seconds, or 0 for no limit.",
        ),
        (
            {"cull": None},
            "cull is null; it must be a table of keys.",
        ),
        (
            {"gateway": {"baseUrl": "localhost:11434"}},
            'gateway.baseUrl is "localhost:11434"; '
            "it must be a web address such as http://127.0.0.1:11434/v1.",
        ),
        (
            {"gateway": {"model": "m" * 99, "keyFile": ["k" * 99]}},
            f'gateway.keyFile is ["{"k" * 55}...; '
            "it must be the path of a file that holds the key.",
        ),
        (
            {"singleuser": {"extraEnv": {"DEPTH": 3}}},
            'singleuser.extraEnv.DEPTH is 3; it must be texts by variable, numbers quoted: "600".',
        ),
        (
            {"local": {"port": 70000}},
            "local.port is 70000; it must be a port, a whole number from 1 to 65535.",
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    assert refusal(**changes) == [sentence]


@pytest.mark.parametrize(
    ("auth", "sentence"),
    [
        ({"userPassword": "secret!"}, "auth.userPassword must be a text of 8 or more characters."),
        ({"userPassword": 12345678}, "auth.userPassword must be a text of 8 or more characters."),
        (
            {"adminPassword": "s" * 31},
            "auth.adminPassword must be a text of 32 or more characters.",
        ),
        (
            {"userPassword": ADMIN_PASSWORD},
            "auth.adminPassword must differ from auth.userPassword.",
        ),
    ],
)
def test_a_refused_password_is_not_repeated(auth: dict[str, Any], sentence: str) -> None:
    assert refusal(auth=auth) == [sentence]


def test_every_problem_has_a_line() -> None:
    table = make_table(cull={"timeout": 0, "tmeout": 1})
    del table["auth"]["userPassword"], table["local"]["run"]
    with pytest.raises(values.ValuesError) as caught:
        values.check(table)
    assert str(caught.value).splitlines() == [
        "auth.userPassword is missing; it must be a text of 8 or more characters.",
        "cull.timeout is 0; it must be whole seconds, 1 or more.",
        "Unknown key 'cull.tmeout'. Did you mean 'cull.timeout'?",
        "local.run is missing; it must be a word that marks the processes of this start.",
    ]


def test_a_problem_is_named_as_its_reader_knows_it() -> None:
    table = make_table(local={"port": "abc"}, auth={"userPassword": ADMIN_PASSWORD})
    names = {"local.port": "PORT", "auth.userPassword": "CAESARION_PASSWORD"}
    with pytest.raises(values.ValuesError) as caught:
        values.check(table, names)
    assert str(caught.value).splitlines() == [
        "auth.adminPassword must differ from CAESARION_PASSWORD.",
        'PORT is "abc"; it must be a port, a whole number from 1 to 65535.',
    ]


def test_passwords_do_not_show_when_values_are_printed() -> None:
    shown = repr(make_values())
    assert USER_PASSWORD not in shown
    assert ADMIN_PASSWORD not in shown


def test_every_key_says_what_it_must_be() -> None:
    silent = [
        f"{section.__name__}.{name}"
        for section in values.Section.__subclasses__()
        for name, field in section.model_fields.items()
        if section is not values.Values and not field.description
    ]
    assert silent == []


def test_a_later_file_lies_on_top_key_by_key(tmp_path: Path) -> None:
    below, above = tmp_path / "below.yaml", tmp_path / "above.yaml"
    below.write_text("cull: {timeout: 5, every: 6}\nauth: {adminUsers: [ada, bob]}\n")
    above.write_text("cull: {timeout: 7}\nauth: {adminUsers: [eve]}\n")
    assert values.merge([values.read(below), values.read(above)]) == {
        "cull": {"timeout": 7, "every": 6},
        "auth": {"adminUsers": ["eve"]},
    }


def test_the_files_are_named_by_the_environment(tmp_path: Path) -> None:
    whole, mine = tmp_path / "whole.yaml", tmp_path / "mine.yaml"
    whole.write_text(str(make_table()))
    mine.write_text("cull: {enabled: false}")
    made = values.from_environment({"CAESARION_VALUES": f"{whole}:{mine}"})
    assert made == make_values(cull={"enabled": False})


def test_no_file_is_one_sentence() -> None:
    with pytest.raises(values.ValuesError, match=r"^CAESARION_VALUES is not set\. It names the"):
        values.from_environment({})


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing yet\n")
    assert values.read(file) == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"a: 1\nb: [", "The values file {file} is not YAML, line 2."),
        (b"\xff\xfe\xff", "The values file {file} is not YAML."),
        (b"- a\n- b\n", "The values file {file} holds no table of keys."),
        (None, "The values file {file} cannot be read: No such file or directory."),
    ],
)
def test_an_unreadable_file_is_one_sentence(
    tmp_path: Path, text: bytes | None, sentence: str
) -> None:
    file = tmp_path / "broken.yaml"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(values.ValuesError) as caught:
        values.read(file)
    assert str(caught.value) == sentence.format(file=file)
