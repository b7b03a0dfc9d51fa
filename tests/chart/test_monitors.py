"""The monitors of the chart: what Prometheus scrapes, with which token, and nothing by default."""

from typing import Any

from tests.chart.test_manifests import metadata, names
from tests.helm import Manifests, render

ON: dict[str, Any] = {"monitoring": {"serviceMonitor": {"enabled": True}}}
OWN_KEYS = {"hub": {"existingSecret": "keys"}}
TOKEN = {"credentials": {"name": "keys", "key": "metrics_token"}}


def metrics_port(manifests: Manifests) -> list[dict[str, Any]]:
    ports = manifests.container("Deployment", "caesarion-proxy")["ports"]
    return [port for port in ports if port["name"] == "metrics"]


def test_each_component_has_a_monitor() -> None:
    more = {"monitoring": {"serviceMonitor": {"labels": {"release": "stack"}, "interval": "1m"}}}
    manifests = render(ON, OWN_KEYS, more, {"hub": {"baseUrl": "/lab/"}})
    expected: dict[str, dict[str, Any]] = {
        "gateway": {
            "port": "http",
            "path": "/lab/services/gateway/metrics",
            "authorization": TOKEN,
        },
        "hub": {"port": "http", "path": "/lab/hub/metrics", "authorization": TOKEN},
        "proxy": {"port": "metrics", "path": "/metrics"},
    }
    assert manifests.of("ServiceMonitor") == [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": labelled(component, {"release": "stack"}),
            "spec": {
                "selector": {"matchLabels": names(component)},
                "endpoints": [{**endpoint, "interval": "1m"}],
            },
        }
        for component, endpoint in expected.items()
    ]


def labelled(component: str, labels: dict[str, Any]) -> dict[str, Any]:
    made = metadata(component, f"caesarion-{component}")
    made["labels"] |= labels
    return made


def test_the_proxy_serves_its_metrics_on_a_port_of_their_own() -> None:
    manifests = render(ON)
    assert metrics_port(manifests) == [{"name": "metrics", "containerPort": 8002}]
    command = manifests.container("Deployment", "caesarion-proxy")["command"]
    assert [word for word in command if "metrics" in word] == [
        *("--metrics-ip=", "--metrics-port=8002"),
    ]
    ports = manifests.one("Service", "caesarion-proxy-api")["spec"]["ports"]
    assert ports[1:] == [{"name": "metrics", "port": 8002, "targetPort": "metrics"}]
    assert len(manifests.one("Service", "caesarion-proxy")["spec"]["ports"]) == 1


def test_the_hub_learns_the_token_that_the_chart_makes_for_prometheus() -> None:
    manifests = render(ON)
    assert len(manifests.secret("caesarion-keys")["metrics_token"]) == 64
    pod = manifests.one("Deployment", "caesarion-hub")["spec"]["template"]["spec"]
    (secrets,) = (volume for volume in pod["volumes"] if volume["name"] == "secrets")
    assert {"key": "metrics_token", "path": "metrics_token"} in secrets["secret"]["items"]
    (monitor, *_) = manifests.of("ServiceMonitor")
    credentials = monitor["spec"]["endpoints"][0]["authorization"]["credentials"]
    assert credentials == {"name": "caesarion-keys", "key": "metrics_token"}


def test_without_the_values_nothing_is_there_of_it() -> None:
    manifests = render()
    assert manifests.of("ServiceMonitor") == manifests.of("PrometheusRule") == []
    assert "metrics_token" not in manifests.secret("caesarion-keys")
    assert metrics_port(manifests) == []
    assert "metrics" not in str(manifests.of("Deployment"))
