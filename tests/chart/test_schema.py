"""What helm refuses, and what it says: the schema knows every key of every table."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.helm import CHART, RefusedError, render

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

FREE = {
    "global",  # helm's
    "hub.config.*",  # traits, which JupyterHub checks
    "definitions.override",
    "definitions.nativeObject",  # pieces of Kubernetes objects, which that checks
    "definitions.nativeList[]",
    "definitions.rules[]",
}
"""The tables whose keys the schema leaves to others."""

UNSET = (
    "global",
    *("userPassword", "adminPassword"),  # made
    "initialDelaySeconds",  # there are startup probes
    *("userPlaceholder.resources.requests", "userPlaceholder.resources.limits"),  # a user pod's
)
"""The ends of the keys that values.yaml leaves out."""


def tables(place: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each part of the schema that is about a table, with its place."""
    if "object" in (place.get("type") or []):
        yield path, place
    for key, inner in place.get("properties", {}).items():
        yield from tables(inner, f"{path}.{key}" if path else key)
    extra = place.get("additionalProperties")
    if isinstance(extra, dict):
        yield from tables(extra, f"{path}.*")
    if "items" in place:
        yield from tables(place["items"], f"{path}[]")
    for part in place.get("anyOf", []):
        yield from tables(part, path)


def every_table() -> list[tuple[str, dict[str, Any]]]:
    found = list(tables(SCHEMA, ""))
    for name, definition in SCHEMA["definitions"].items():
        found += tables(definition, f"definitions.{name}")
    return found


def test_no_table_takes_keys_that_the_schema_does_not_know() -> None:
    open_tables = {
        path for path, table in every_table() if table.get("additionalProperties", True) is True
    }
    assert open_tables == FREE


def test_every_key_says_what_it_is() -> None:
    def silent(place: dict[str, Any], path: str) -> Iterator[str]:
        for key, inner in place.get("properties", {}).items():
            reference = inner.get("$ref", "").rpartition("/")[2]
            described = {**SCHEMA["definitions"].get(reference, {}), **inner}
            if "description" not in described:
                yield f"{path}{key}"
            yield from silent(inner, f"{path}{key}.")

    assert list(silent(SCHEMA, "")) == []
    for name, definition in SCHEMA["definitions"].items():
        assert list(silent(definition, f"{name}.")) == []


def test_the_values_file_shows_every_key() -> None:
    def unset(place: dict[str, Any], values: Any, path: str) -> Iterator[str]:
        reference = place.get("$ref", "").rpartition("/")[2]
        place = {**place, **SCHEMA["definitions"].get(reference, {})}
        for key, inner in place.get("properties", {}).items():
            if key not in values:
                yield f"{path}{key}"
            elif isinstance(values[key], dict):
                yield from unset(inner, values[key], f"{path}{key}.")

    assert [key for key in unset(SCHEMA, DEFAULTS, "") if not key.endswith(UNSET)] == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"singleuser": {"memmory": {}}},
            "at '/singleuser': additional properties 'memmory' not allowed",
        ),
        ({"sngleuser": {}}, "additional properties 'sngleuser' not allowed"),
        (
            {"gateway": {"autoscaling": {"enabled": "yes"}}},
            "at '/gateway/autoscaling/enabled': got string, want boolean",
        ),
        (
            {"hub": {"db": {"type": "postgres"}}},
            "at '/hub/db/url': '' does not match pattern",
        ),
        (
            {"singleuser": {"storage": {"type": "static"}}},
            "at '/singleuser/storage/type': value must be one of 'dynamic', 'none'",
        ),
        (
            {"auth": {"userPassword": "short"}},
            "at '/auth/userPassword': minLength: got 5, want 8",
        ),
        (
            {"singleuser": {"profileList": [{"slug": "x"}]}},
            "at '/singleuser/profileList/0': missing property 'display_name'",
        ),
        (
            {"singleuser": {"networkPolicy": {"egressAllowRules": {"privateIPs": True}}}},
            "additional properties 'privateIPs' not allowed",
        ),
        (
            {"singleuser": {"extraEnv": {"OMP_NUM_THREADS": 4}}},
            "at '/singleuser/extraEnv/OMP_NUM_THREADS': got number, want string",
        ),
        (
            {"agent": {"approval": "never"}},
            "value must be one of 'read-only', 'plan', 'ask', 'accept-edits', 'auto'",
        ),
        ({"hub": {"image": {"tag": 1.0}}}, "got number, want string"),
        ({"gateway": {"baseUrl": "localhost:11434"}}, "does not match pattern"),
        ({"cull": {"timeout": 0}}, "at '/cull/timeout': minimum: got 0, want 1"),
        ({"hub": {"resources": {"request": {}}}}, "additional properties 'request' not allowed"),
        ({"ingress": {"tls": [{"host": []}]}}, "additional properties 'host' not allowed"),
        (
            {"prePuller": {"extraImages": {"r": {"name": "x"}}}},
            "missing property 'tag'",
        ),
    ],
    ids=str,
)
def test_helm_refuses_and_says_where(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        render(values)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"auth": {"userPassword": "x" * 40, "adminPassword": "x" * 40}},
            "auth.adminPassword must differ from auth.userPassword.",
        ),
        (
            {"auth": {"userPassword": "x" * 40}, "hub": {"existingSecret": "theirs"}},
            "hub.existingSecret holds the passwords: leave auth.userPassword and "
            "auth.adminPassword out, or put them there.",
        ),
        (
            {"gateway": {"apiKey": "sk-1", "existingSecret": "theirs"}},
            "gateway.existingSecret holds the provider's key: leave gateway.apiKey out, "
            "or put it there.",
        ),
        (
            {"hub": {"serviceAccount": {"create": False}}},
            "hub.serviceAccount.name is empty: name an account, or let the chart create one.",
        ),
        (
            {"singleuser": {"namespace": {"create": True}}},
            "singleuser.namespace.create needs singleuser.namespace.name, "
            "another than the release's.",
        ),
        (
            {"singleuser": {"namespace": {"create": True, "name": "hub"}}},
            "singleuser.namespace.create needs singleuser.namespace.name, "
            "another than the release's.",
        ),
        (
            {"scheduling": {"userPlaceholder": {"enabled": True}}},
            "scheduling.userPlaceholder gives way to users only with "
            "scheduling.podPriority.enabled.",
        ),
        (
            {"httpRoute": {"enabled": True}},
            "httpRoute.parentRefs is empty: name the Gateway that the route hangs on.",
        ),
        (
            {
                "singleuser": {
                    "profileList": [{"display_name": "Small One", "slug": "one"}],
                    "warm": {"profile": "small"},
                }
            },
            'singleuser.warm.profile: no profile of singleuser.profileList has the slug "small".',
        ),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_in_a_sentence(
    values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RefusedError) as refusal:
        render(values)
    assert sentence in str(refusal.value).splitlines()


def test_all_that_does_not_go_together_is_said_at_once() -> None:
    with pytest.raises(RefusedError) as refusal:
        render({"httpRoute": {"enabled": True}, "hub": {"serviceAccount": {"create": False}}})
    assert "httpRoute.parentRefs" in str(refusal.value)
    assert "hub.serviceAccount.name" in str(refusal.value)


def test_a_users_pod_keeps_the_labels_that_policies_find_it_by() -> None:
    labels = {"app.kubernetes.io/component": "hub"}
    with pytest.raises(RefusedError, match=r"invalid propertyName 'app\.kubernetes\.io/component'"):
        render({"singleuser": {"extraLabels": labels}})


def test_a_refusal_quotes_no_password() -> None:
    with pytest.raises(RefusedError) as refusal:
        render({"auth": {"userPassword": "s3cret", "adminPassword": "an0ther"}})
    assert "s3cret" not in str(refusal.value)
    assert "an0ther" not in str(refusal.value)


def test_the_chart_may_be_part_of_another() -> None:
    own_keys = {"hub": {"existingSecret": "keys"}}
    assert render(own_keys, {"global": {"anything": 1}}) == render(own_keys)
