"""What an operator sets for the gateway in the chart is what the gateway works with."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from caesarion_hub import values as hub_values
from caesarion_hub.gateway.config import Config, from_environment
from caesarion_hub.values.gateway import Gateway, check

from tests.chart.test_hub_values import with_secrets
from tests.helm import CHART, Manifests, render

SETTINGS: dict[str, Any] = {
    "model": "llama3",
    "upstreams": [
        {
            "name": "ollama",
            "baseUrl": "http://ollama:11434/v1",
            "kind": "azure",
            "models": ["llama*"],
            "aliases": {"small": "llama3"},
            "timeouts": {"connect": 1.5, "firstByte": 60, "silence": 30},
            "breaker": {"failures": 3, "seconds": 0.5},
            "retries": 0,
            "priority": 2,
            "weight": 0.5,
            "extraFields": ["num_predict"],
            "parameters": {
                "o*": {
                    "drop": ["temperature"],
                    "outputLimit": "max_completion_tokens",
                    "systemRole": "developer",
                }
            },
        }
    ],
    "database": {"url": "postgresql://gateway:s3cret@db/gateway"},
    "prices": {"llama3": {"prompt": 2.5, "completion": 10, "cached": 1.25}},
    "budgets": [{"scope": "user", "name": "ada", "window": "day", "tokens": 10_000_000}],
    "limits": {
        "models": ["llama3"],
        "defaultModel": "llama3",
        "maxOutputTokens": 500,
        "maxChoices": 2,
        "requestsPerMinute": 30,
        "concurrentStreams": 4,
    },
    "groups": {"students": {"models": ["small"], "requestsPerMinute": 10}},
    "aliases": {"fast": "llama3"},
    "requests": {
        "unknownFields": "drop",
        "extraFields": ["top_k"],
        "timeout": 7,
        "memory": "32Mi",
        "userMemory": "11Mi",
    },
    "reservations": {"output": 1000, "longestAnswers": {"llama*": 8192}, "max": 50_000},
    "audit": {"text": True, "retentionDays": 30},
    "openMetrics": True,
    "retentionDays": 31,
}
"""Every key of the gateway's section, with a value that is not its default."""

VARIABLES = {"baseUrl", "silence", "grace"}
"""The keys that reach the gateway as variables."""

AUDIT_KEY = {"keyFile": "/etc/caesarion/audit/audit_key"}
"""What the chart adds by itself."""

OBJECTS = {
    *("apiKey", "existingSecret", "replicas", "autoscaling", "pdb", "networkPolicy"),
    *("extraEnv", "extraVolumes", "extraVolumeMounts", "resources", "nodeSelector", "tolerations"),
    *("affinity", "annotations", "startupProbe", "livenessProbe", "readinessProbe"),
}
"""The keys that are about the gateway's objects in the cluster."""


def config_of(manifests: Manifests, folder: Path) -> Config:
    """Return the configuration that the gateway of the rendered Deployment reads."""
    (container,) = manifests.one("Deployment", "caesarion-gateway")["spec"]["template"]["spec"][
        "containers"
    ]
    environment = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    file = folder / "gateway.yaml"
    file.write_text(manifests.secret("caesarion-gateway-values")["gateway.yaml"])
    assert environment["CAESARION_GATEWAY_CONFIG"] == "/etc/caesarion/gateway/gateway.yaml"
    return from_environment(environment | {"CAESARION_GATEWAY_CONFIG": str(file)})


def test_every_key_is_the_gateways_or_the_clusters() -> None:
    chart = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))["gateway"]
    known = {field.alias for field in Gateway.model_fields.values()}
    assert set(chart) == SETTINGS.keys() | VARIABLES | OBJECTS
    # make up has the key in a file; in a cluster it is apiKey or existingSecret.
    assert known == SETTINGS.keys() | {"baseUrl", "keyFile"}


@pytest.mark.parametrize("key", SETTINGS)
def test_no_value_of_this_test_is_a_default(key: str) -> None:
    name = next(name for name, field in Gateway.model_fields.items() if field.alias == key)
    assert getattr(check({key: SETTINGS[key]}), name) != getattr(Gateway(), name)


def test_the_gateway_works_with_every_setting_of_the_chart(tmp_path: Path) -> None:
    manifests = render({"gateway": {**SETTINGS, "silence": 12.5, "grace": 45}})
    config = config_of(manifests, tmp_path)
    assert config.values == check({**SETTINGS, "audit": SETTINGS["audit"] | AUDIT_KEY})
    assert config.grace == 45
    (upstream,) = config.upstreams
    assert upstream.options == config.values.upstreams[0]
    assert upstream.extra_fields == {"num_predict", "top_k"}
    naming = [name for name, pod in manifests.pods() if "gateway-values" in str(pod.get("volumes"))]
    assert naming == ["Deployment caesarion-gateway"]
    assert "s3cret" not in str([m for m in manifests if m["kind"] != "Secret"])
    assert "s3cret" not in manifests.secret("caesarion-hub")["values.yaml"]


def test_one_provider_is_asked_as_the_chart_says(tmp_path: Path) -> None:
    manifests = render({"gateway": {"baseUrl": "http://ollama:11434/v1", "silence": 12.5}})
    (upstream,) = config_of(manifests, tmp_path).upstreams
    assert upstream.base_url == "http://ollama:11434/v1"
    assert upstream.options.timeouts.silence == upstream.options.timeouts.first_byte == 12.5


def test_without_settings_the_gateways_are_its_own(tmp_path: Path) -> None:
    manifests = render({"gateway": {"database": {"pvc": {"enabled": False}}}})
    config = config_of(manifests, tmp_path)
    assert (config.values, config.upstreams) == (check({"audit": AUDIT_KEY}), ())
    assert config.grace == 120


def test_the_gateway_and_users_servers_send_traces_alike() -> None:
    traces = {"endpoint": "http://alloy.tracing:4318/", "sampling": 0.25, "content": True}
    rendered = render({"monitoring": {"traces": traces, "logs": {"levelKey": "severity"}}})
    values = hub_values.check(with_secrets(rendered.hub_values()))
    environment = {
        one["name"]: one.get("value")
        for one in rendered.container("Deployment", "caesarion-gateway")["env"]
    }
    sent = {name: text for name, text in environment.items() if name.startswith("OTEL_")}
    servers = values.monitoring.traces.environment("gateway")
    # The gateway never sends what was said.
    assert servers.pop("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT") == "true"
    assert sent == servers
    assert environment["CAESARION_GATEWAY_LOG_LEVEL_KEY"] == "severity"
    assert values.monitoring.logs.level_key == "severity"
