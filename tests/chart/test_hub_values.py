"""
One source of values: the schema, the chart's values.yaml and what the hub reads agree.

What the schema lets through, the hub takes: an upgrade that helm accepts never
leaves a hub that refuses to start.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, get_args

import pytest
import yaml
from caesarion_hub import values
from caesarion_hub.values import Section, Values
from jsonschema import Draft7Validator

from tests.helm import CHART, EXAMPLES, ROOT, render
from tests.values import ADMIN_PASSWORD, GATEWAY_TOKEN, USER_PASSWORD

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

SECTIONS = ("auth", "hub", "singleuser", "agent", "gateway", "api", "cull", "monitoring")

OF_THE_CHART = {
    "hub": {
        *("image", "existingSecret", "extraEnv", "extraVolumes", "extraVolumeMounts"),
        *("resources", "nodeSelector", "tolerations", "affinity", "annotations"),
        *("serviceAccount", "startupProbe", "livenessProbe", "readinessProbe", "pdb"),
        "networkPolicy",
    },
    "hub.db": {"type", "passwordSecret", "pvc"},
    "gateway.database": {"pvc"},
    "singleuser": {"namespace", "networkPolicy", "resourceQuota", "limitRange"},
    "monitoring": {"serviceMonitor", "prometheusRule", "dashboards"},
    "monitoring.traces": {"collectorNamespace"},
    "gateway": {
        *("apiKey", "existingSecret", "silence", "grace", "replicas", "autoscaling"),
        *("extraEnv", "extraVolumes", "extraVolumeMounts"),
        *("resources", "nodeSelector", "tolerations", "affinity", "annotations"),
        *("startupProbe", "livenessProbe", "readinessProbe", "pdb", "networkPolicy"),
    },
    "api": {
        *("grace", "replicas", "autoscaling", "extraEnv"),
        *("resources", "nodeSelector", "tolerations", "affinity", "annotations"),
        *("startupProbe", "livenessProbe", "readinessProbe", "pdb", "networkPolicy"),
    },
}
"""The keys of the sections that never reach the hub."""

OF_ONE_MACHINE = {"gateway": {"keyFile"}, "gateway.audit": {"keyFile"}}
"""What the hub reads from `make up` only."""

OTHERWISE_IN_A_CLUSTER = {
    "auth.userPassword": "",  # made, and handed over in a file
    "auth.adminPassword": "",
    "hub.db.url": "",  # the chart names the volume's file
    "singleuser.image.tag": "",  # the chart's own version
    "singleuser.startTimeout": 300,  # a node may have to come first
    "monitoring.logs.format": "json",  # for a collector; `make up` is read by a person
}
"""The defaults that are the chart's own."""

SPECIMENS: list[Any] = [
    *(None, True, False, 0, 1, -1, 65536, 0.5, -0.5, 10**7, 10**15),
    *("", "x", "text", "0", "0.5", "500m", "2Gi", "2G", "1K", "-1", "yes", "1e3", "ReadWriteOnce"),
    *("/", "/x", "/x/", "//", "x/", "http://x", "http://x/v1", "ftp://x", "http://", "https:///x"),
    *("http://:80", "http://a@x", "http://@", "https://?x", "x" * 40, "0.0", "00m", "0.5G", "5m"),
    *(
        "Always",
        "IfNotPresent",
        "none",
        "dynamic",
        "auto",
        "ask",
        "refuse",
        "restricted",
        "{{ .Values }}",
        "a\nb",
        "'\"\\",
    ),
    *([], [""], ["x"], [1], [None], ["ReadWriteOnce"], [{}], [{"key": "x"}], [{"name": "x"}]),
    *([{"key": "x", "operator": "Exists", "effect": "NoSchedule"}], [{"operator": "Is"}]),
    *([{"display_name": "x"}], [{"display_name": ""}], [{"display_name": "x", "slug": "y"}]),
    *({}, {"x": "y"}, {"x": 1}, {"x": None}, {"x": {}}, {"x": {"y": 1}}, {"x": {"scopes": ["z"]}}),
    *({"x": {"url": "http://y"}}, {"x": {"url": "y"}}, {"x": {"apiToken": 1}}, {"x": []}),
]


def in_schema(path: str) -> dict[str, Any]:
    """Return what the schema says of a key, references followed."""
    place: dict[str, Any] = SCHEMA
    for key in path.split("."):
        place = resolved(place["properties"][key])
    return place


def resolved(place: dict[str, Any]) -> dict[str, Any]:
    for part in [place, *place.get("allOf", [])]:
        if "$ref" in part:
            found: dict[str, Any] = SCHEMA["definitions"][part["$ref"].rpartition("/")[2]]
            return found
    return place


def sections(section: type[Section], path: str = "") -> Iterator[tuple[str, type[Section]]]:
    """Yield each table that the hub knows by name, and its class."""
    if path:
        yield path, section
    for name, field in section.model_fields.items():
        alias = field.alias or name
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section) and (path or alias in SECTIONS):
            yield from sections(inner, f"{path}.{alias}" if path else alias)


def leaves() -> Iterator[str]:
    """Yield each key that the hub reads and that is no table of known keys."""
    tables = dict(sections(Values))
    for path, section in tables.items():
        for name, field in section.model_fields.items():
            key = field.alias or name
            if f"{path}.{key}" not in tables and key not in OF_ONE_MACHINE.get(path, ()):
                yield f"{path}.{key}"


def at(table: dict[str, Any], path: str) -> Any:
    for key in path.split("."):
        table = table[key]
    return table


def with_secrets(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table as the hub has it once the mounted secrets are laid on top."""
    passwords = {"userPassword": USER_PASSWORD, "adminPassword": ADMIN_PASSWORD}
    return values.merge([table, {"auth": passwords, "cluster": {"gatewayToken": GATEWAY_TOKEN}}])


def hub_takes(path: str, value: Any) -> bool:
    table = deepcopy(with_secrets(render().hub_values()))
    *way, last = path.split(".")
    place = table
    for key in way:
        place = place.setdefault(key, {})
    place[last] = value
    if path == "singleuser.warm.profile":
        table["singleuser"]["profileList"] = [{"display_name": "x", "slug": value}]
    try:
        values.check(table)
    except values.ValuesError:
        return False
    return True


@pytest.mark.parametrize(("path", "section"), list(sections(Values)))
def test_the_schema_knows_the_hubs_keys_and_the_charts_and_no_other(
    path: str, section: type[Section]
) -> None:
    hubs = {field.alias or name for name, field in section.model_fields.items()}
    expected = hubs - OF_ONE_MACHINE.get(path, set()) | OF_THE_CHART.get(path, set())
    assert set(in_schema(path)["properties"]) == expected


@pytest.mark.parametrize(
    ("definition", "section", "entry"),
    [
        ("profile", "singleuser.profileList", 0),
        ("toleration", "singleuser.extraTolerations", 0),
        ("role", "hub.loadRoles", 1),
        ("service", "hub.services", 1),
        ("upstream", "gateway.upstreams", 0),
        ("budget", "gateway.budgets", 0),
        ("price", "gateway.prices", 1),
        ("limits", "gateway.groups", 1),
    ],
)
def test_the_schema_knows_the_keys_of_entries_too(
    definition: str, section: str, entry: int
) -> None:
    *way, last = section.split(".")
    table = dict(sections(Values))[".".join(way)]
    field = next(f for name, f in table.model_fields.items() if (f.alias or name) == last)
    kind = get_args(field.annotation)[entry]
    known = {inner.alias or name for name, inner in kind.model_fields.items()}
    assert set(SCHEMA["definitions"][definition]["properties"]) == known


@pytest.mark.parametrize("path", list(leaves()))
def test_the_charts_default_is_the_hubs_own(path: str) -> None:
    *way, last = path.split(".")
    section = dict(sections(Values))[".".join(way)]
    field = next(f for name, f in section.model_fields.items() if (f.alias or name) == last)
    chart = at(DEFAULTS, ".".join(way)).get(last, "")
    if path in OTHERWISE_IN_A_CLUSTER:
        assert chart == OTHERWISE_IN_A_CLUSTER[path]
    else:
        hub = json.loads(section.model_validate_json("{}").model_dump_json(by_alias=True))[last]
        given = section.model_validate_json(json.dumps({last: chart}))
        assert json.loads(given.model_dump_json(by_alias=True))[last] == hub, field.description


@pytest.mark.parametrize("path", list(leaves()))
def test_what_the_schema_lets_through_the_hub_takes(path: str) -> None:
    place = in_schema(path)
    validator = Draft7Validator({**place, "definitions": SCHEMA["definitions"]})
    let_through = [
        specimen
        for specimen in SPECIMENS
        if validator.is_valid(specimen) and specimen != OTHERWISE_IN_A_CLUSTER.get(path, ...)
    ]
    assert let_through
    assert [specimen for specimen in let_through if not hub_takes(path, specimen)] == []


@pytest.mark.parametrize(
    "example",
    sorted([*EXAMPLES.glob("*.yaml"), *(ROOT / "deploy/values").glob("*.yaml")]),
    ids=lambda path: f"{path.parent.stem}-{path.stem}",
)
def test_the_hub_takes_what_each_example_renders(example: Any) -> None:
    table = render(yaml.safe_load(example.read_text("utf-8"))).hub_values()
    checked = values.check(with_secrets(table))
    assert checked.cluster is not None
    assert checked.cluster.hub_url == "http://caesarion-hub.hub:8081"


def test_the_hub_reads_what_the_operator_sets_and_what_the_chart_finds_out() -> None:
    table = render(
        {
            "auth": {"adminUsers": ["ada"], "userPassword": "the users' password"},
            "hub": {"baseUrl": "/lab/", "config": {"Spawner": {"http_timeout": 60}}},
            "imagePullSecrets": ["registry"],
            "singleuser": {
                "namespace": {"name": "people"},
                "image": {"name": "example.org/lab", "tag": "7", "pullSecrets": ["other"]},
            },
            "gateway": {"baseUrl": "http://x/v1", "apiKey": "sk-secret"},
            "scheduling": {"podPriority": {"enabled": True}},
        }
    ).hub_values()
    assert table["auth"] == {"adminUsers": ["ada"]}
    assert table["hub"] == {
        "baseUrl": "/lab/",
        "config": {"Spawner": {"http_timeout": 60}},
        "db": {"url": "sqlite:////srv/jupyterhub/jupyterhub.sqlite"},
        "allowNamedServers": False,
        "namedServerLimitPerUser": 0,
        "concurrentSpawnLimit": 64,
        "activeServerLimit": 0,
        "consecutiveFailureLimit": 0,
        "loadRoles": {},
        "services": {},
    }
    assert table["singleuser"]["image"] == {
        "name": "example.org/lab",
        "tag": "7",
        "pullPolicy": "IfNotPresent",
        "pullSecrets": ["registry", "other"],
    }
    assert table["gateway"] == {"model": "gpt-4.1", "baseUrl": "http://x/v1"}
    assert table["cluster"] == {
        "name": "caesarion",
        "release": "caesarion",
        "namespace": "hub",
        "userNamespace": "people",
        "hubUrl": "http://caesarion-hub.hub:8081",
        "proxyApiUrl": "http://caesarion-proxy-api:8001",
        "gatewayUrl": "http://caesarion-gateway.hub",
        "apiUrl": "http://caesarion-api.hub",
        "labels": {
            "app.kubernetes.io/name": "caesarion",
            "app.kubernetes.io/instance": "caesarion",
        },
    }
    assert table["singleuser"]["priorityClassName"] == "hub-caesarion-default"


def test_no_secret_but_the_operators_own_config_is_among_the_hubs_values() -> None:
    secrets = {
        "auth": {"userPassword": USER_PASSWORD, "adminPassword": ADMIN_PASSWORD},
        "gateway": {"apiKey": "sk-secret"},
    }
    text = render(secrets).secret("caesarion-hub")["values.yaml"]
    assert [word for word in (USER_PASSWORD, ADMIN_PASSWORD, "sk-secret") if word in text] == []


@pytest.mark.parametrize("key", ["limit", "guarantee", "startLimit"])
def test_null_takes_a_bound_on_cores_away(key: str) -> None:
    table = render({"singleuser": {"cpu": {key: None}}}).hub_values()
    checked = values.check(with_secrets(table)).singleuser.cpu
    assert checked.model_dump(by_alias=True)[key] is None


@pytest.mark.parametrize("key", ["limit", "guarantee"])
def test_null_takes_a_bound_on_memory_away(key: str) -> None:
    table = render({"singleuser": {"memory": {key: None}}}).hub_values()
    checked = values.check(with_secrets(table)).singleuser.memory
    assert checked.model_dump(by_alias=True)[key] is None


def test_large_numbers_reach_the_hub_as_they_are() -> None:
    table = render({"cull": {"timeout": 10_000_000}, "hub": {"config": {"A": {"b": 12345678}}}})
    assert table.hub_values()["cull"]["timeout"] == 10_000_000
    assert table.hub_values()["hub"]["config"] == {"A": {"b": 12345678}}


def test_postgres_is_reached_by_its_address_and_its_password_stays_in_a_secret() -> None:
    manifests = render(
        {
            "hub": {
                "db": {
                    "type": "postgres",
                    "url": "postgresql+psycopg2://hub@db:5432/hub",
                    "passwordSecret": {"name": "db", "key": "word"},
                }
            }
        }
    )
    assert manifests.hub_values()["hub"]["db"] == {"url": "postgresql+psycopg2://hub@db:5432/hub"}
    variables = manifests.container("Deployment", "caesarion-hub")["env"]
    assert {
        "name": "PGPASSWORD",
        "valueFrom": {"secretKeyRef": {"name": "db", "key": "word"}},
    } in variables
    claims = [claim["metadata"]["name"] for claim in manifests.of("PersistentVolumeClaim")]
    assert claims == ["caesarion-gateway"]
