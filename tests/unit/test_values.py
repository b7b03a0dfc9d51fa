"""The operator's values: what is refused, in which words, and what is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from caesarion_hub import values
from caesarion_hub.values.fields import bytes_of, cores_of
from pydantic.fields import FieldInfo

from tests.values import (
    ADMIN_PASSWORD,
    AUTH,
    CLUSTER,
    GATEWAY_TOKEN,
    LOCAL,
    USER_PASSWORD,
    make_cluster_table,
    make_cluster_values,
    make_table,
    make_values,
)

NO_LIMITS = {
    "models": None,
    "default_model": None,
    "max_output_tokens": None,
    "max_choices": None,
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
    assert made.singleuser == values.Singleuser()
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
        "requests": {
            "unknown_fields": "refuse",
            "extra_fields": (),
            "timeout": 60,
            "memory": 64 * 2**20,
            "user_memory": 20 * 2**20,
        },
        "reservations": {"output": 4096, "longest_answers": {}, "max": 200_000},
        "audit": {"text": False, "retention_days": 0, "key_file": None},
        "open_metrics": False,
        "retention_days": 400,
    }
    assert made.cull.model_dump() == {
        "enabled": True,
        "timeout": 3600,
        "every": 600,
        "max_age": 0,
        "users": False,
    }


def test_camel_case_in_the_file_is_snake_case_in_python() -> None:
    made = make_values(cull={"maxAge": 5}, gateway={"baseUrl": "http://[::1]:1/v1"})
    assert made.cull.max_age == 5
    assert made.gateway.base_url == "http://[::1]:1/v1"
    assert made.local_deployment.folder == Path("/state")
    assert made.local_deployment.proxy_command == ("node", "proxy")


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
            "Unknown key 'cull.banana'. "
            "The keys there are: enabled, every, maxAge, timeout, users.",
        ),
        (
            {"banana": 1},
            "Unknown key 'banana'. "
            "The keys there are: agent, api, auth, cluster, cull, gateway, hub, local, "
            "monitoring, singleuser.",
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
    assert [key for key, field in keys(values.Values) if not field.description] == []


def keys(section: type[values.Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the keys that are no tables of keys themselves, those of lists' entries too."""
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, values.Section)]
        if not inner or get_origin(field.annotation) in (dict, tuple):
            yield f"{prefix}{name}", field
        for kind in inner:
            yield from keys(kind, f"{prefix}{name}.")


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
    with pytest.raises(values.ValuesError, match=r"^CAESARION_VALUES is not set\. Set it to"):
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
        (b"- a\n- b\n", "The values file {file} does not hold a table of keys."),
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


def test_a_hub_runs_in_one_place() -> None:
    neither = "local and cluster are both missing; one of them must be a table of keys."
    both = "local and cluster are both there; only one of them may be."
    for table, sentence in (({}, neither), ({"local": LOCAL, "cluster": CLUSTER}, both)):
        with pytest.raises(values.ValuesError) as caught:
            values.check({"auth": AUTH, **table})
        assert str(caught.value) == sentence


def test_who_names_an_authenticator_needs_no_passwords() -> None:
    config = {"JupyterHub": {"authenticator_class": "github"}}
    made = values.check({"hub": {"config": config}, "cluster": CLUSTER})
    assert made.auth.user_password is None
    assert made.authenticator == "github"


def test_a_refused_token_is_not_repeated() -> None:
    with pytest.raises(values.ValuesError) as caught:
        make_cluster_values(cluster={"gatewayToken": "short"})
    assert str(caught.value) == "cluster.gatewayToken must be a text of 16 or more characters."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"singleuser": {"memory": {"limit": "5 GB"}}},
            'singleuser.memory.limit is "5 GB"; it must be an amount such as 2Gi, 512Mi or a '
            "whole number of bytes.",
        ),
        (
            {"singleuser": {"cpu": {"startLimit": "fast"}}},
            'singleuser.cpu.startLimit is "fast"; it must be a number of cores such as 0.5, 2 or '
            "500m.",
        ),
        (
            {"singleuser": {"memmory": {"limit": "5Gi"}}},
            "Unknown key 'singleuser.memmory'. Did you mean 'singleuser.memory'?",
        ),
        (
            {"singleuser": {"storage": {"capacity": "10 Gi"}}},
            'singleuser.storage.capacity is "10 Gi"; it must be an amount such as 10Gi.',
        ),
        (
            {"singleuser": {"extraResource": {"limits": {"nvidia.com/gpu": True}}}},
            "singleuser.extraResource.limits.nvidia.com/gpu is true; it must be amounts by name "
            "of the resource.",
        ),
        (
            {"singleuser": {"extraTolerations": [{"key": "a"}, {"kye": "b"}]}},
            "Unknown key 'singleuser.extraTolerations[1].kye'. "
            "Did you mean 'singleuser.extraTolerations[1].key'?",
        ),
        (
            {"singleuser": {"extraTolerations": [{"effect": "NoWay"}]}},
            'singleuser.extraTolerations[0].effect is "NoWay"; '
            "it must be NoSchedule, PreferNoSchedule or NoExecute.",
        ),
        (
            {"singleuser": {"profileList": [{"displayName": "Small"}]}},
            "singleuser.profileList[0].display_name is missing; it must be a text for the spawn "
            "page.\n"
            "Unknown key 'singleuser.profileList[0].displayName'. "
            "Did you mean 'singleuser.profileList[0].display_name'?",
        ),
        (
            {"singleuser": {"profileList": {"display_name": "Small"}}},
            'singleuser.profileList is {"display_name": "Small"}; it must be a list of profiles.',
        ),
        (
            {"singleuser": {"warm": {"profile": "big"}}},
            'singleuser.warm.profile is "big"; it must be null, without profiles.',
        ),
        (
            {
                "singleuser": {
                    "profileList": [{"display_name": "Small One"}, {"display_name": "x"}],
                    "warm": {"replicas": 1, "profile": "small"},
                }
            },
            'singleuser.warm.profile is "small"; it must be one of small-one, x.',
        ),
        (
            {"singleuser": {"warm": {"replicas": -1}}},
            "singleuser.warm.replicas is -1; it must be a whole number, 0 or more.",
        ),
        (
            {"hub": {"loadRoles": {"grader": {"scope": ["list:users"]}}}},
            "Unknown key 'hub.loadRoles.grader.scope'. Did you mean 'hub.loadRoles.grader.scopes'?",
        ),
        (
            {"hub": {"services": {"grader": "http://grader"}}},
            'hub.services.grader is "http://grader"; it must be a table of keys.',
        ),
        (
            {"hub": {"config": {"GitHubOAuthenticator": "a secret"}}},
            "hub.config.GitHubOAuthenticator must be tables of traits by class.",
        ),
        (
            {"hub": {"baseUrl": "/lab"}},
            'hub.baseUrl is "/lab"; it must be a path such as / or /lab/.',
        ),
    ],
)
def test_what_a_cluster_cannot_use_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(values.ValuesError) as caught:
        make_cluster_values(**changes)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2Gi", 2**31), ("2G", 2**31), ("1.5Gi", 3 * 2**29), ("512Mi", 2**29), ("1K", 1024), (7, 7)],
)
def test_memory_is_an_amount_in_units_of_1024(text: str | int, amount: int) -> None:
    assert bytes_of(text) == amount


@pytest.mark.parametrize(("text", "amount"), [("500m", 0.5), (0.5, 0.5), ("2", 2.0), (2, 2.0)])
def test_cores_are_counted_whole_or_in_thousandths(text: str | float, amount: float) -> None:
    assert cores_of(text) == amount


def test_a_mounted_secret_lies_on_top(tmp_path: Path) -> None:
    file, secrets = tmp_path / "values.yaml", tmp_path / "secrets"
    table = make_cluster_table(auth={"userPassword": "of the file"})
    del table["auth"]["adminPassword"], table["cluster"]["gatewayToken"]
    file.write_text(str(table))
    secrets.mkdir()
    for name, text in (
        ("user_password", USER_PASSWORD),
        ("admin_password", f"{ADMIN_PASSWORD}\n"),
        ("gateway_token", GATEWAY_TOKEN),
        ("cookie_secret", "not for us"),
    ):
        (secrets / name).write_text(text)
    made = values.from_environment(
        {"CAESARION_VALUES": str(file), "CAESARION_SECRETS": str(secrets)}
    )
    assert made == make_cluster_values()


def test_a_folder_without_secrets_sets_nothing(tmp_path: Path) -> None:
    assert values.read_secrets(tmp_path) == {}


def test_a_secret_that_is_not_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "user_password").write_bytes(b"\xff\xfe")
    with pytest.raises(values.ValuesError) as caught:
        values.read_secrets(tmp_path)
    assert str(caught.value) == (
        f"The secret {tmp_path}/user_password cannot be read: it is not UTF-8 text."
    )
