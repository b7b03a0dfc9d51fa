"""
A real Prometheus reads a release by the chart's own monitors, and its alerts fire for real faults.

Instead of the Prometheus operator, ``targets`` reads the ServiceMonitors. The alerts are the
chart's, but do not wait: ``for`` is tested with promtool, in ``tests/chart``.
"""

import base64
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chat import open_chat
from tests.cluster.harness import AnyCluster, Installation, Json, eventually
from tests.fakes.kubernetes.cluster import Cluster
from tests.helm import ROOT
from tests.prometheus import Prometheus, Target, queries, running_prometheus, series_of

pytestmark = pytest.mark.usefixtures("forked_pods")

NAMESPACE = "caesarion-monitored"
GROUP = "monitoring.coreos.com"
KINDS = {"ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"}
ASKED: list[Any] = [{"role": "user", "content": "Hello"}]

REPLIES: list[Json] = [
    {"calls": [{"name": "python_interpreter", "arguments": {"code": "1/0"}}]},
    {"calls": [{"name": "python_interpreter", "arguments": {"code": "1/1"}}]},
    {"text": ["Done."]},
    {"fault": 500},
]
"""What the provider answers: a turn with a repair, and a failure."""

ELSEWHERE = ("kube_", "kubelet_", "container_", "certmanager_", "probe_")
"""Series of exporters that are not here; docs/alerts.md lists them."""


def definition(kind: str, plural: str) -> Json:
    """Return a stand-in for the operator's definition of a kind, which takes anything."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


@contextmanager
def provider_inside(
    cluster: Cluster, script: Path, replies: Sequence[Json], *options: str
) -> Iterator[str]:
    """Run the scripted provider in the network of the fake cluster's pods; yield its base URL."""
    script.write_text(json.dumps(replies))
    process, address = start_inside(cluster, f"--script={script}", *options)
    try:
        yield address
    finally:
        end(process)


def start_inside(cluster: Cluster, *arguments: str) -> tuple["subprocess.Popen[str]", str]:
    """
    Start the provider, and return it with its base URL.

    Again, as long as it is outside: the node makes its network when it starts, and leaves it
    for moments to reach the API server.
    """
    inside = ["nsenter", f"--target={cluster.processes['node'].pid}", "--net"]
    command = [*inside, sys.executable, "-m", "tests.fakes.openai_server", *arguments]
    for _ in range(20):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        address = process.stdout.readline().strip()
        networks = {Path(f"/proc/{pid}/ns/net").readlink() for pid in ("self", process.pid)}
        if len(networks) == 2:
            return process, address
        end(process)
    raise AssertionError("the provider never got into the cluster's network")


def end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.wait(120)
    if process.stdout:
        process.stdout.close()


def values(provider: str) -> Json:
    upstream = {
        "name": "provider",
        "baseUrl": provider,
        "retries": 0,
        "breaker": {"failures": 1, "seconds": 600},
    }
    broken = {"image": "registry.invalid/no/such:1"}
    return {
        "monitoring": {
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        },
        "gateway": {
            "model": "gpt-4.1",
            "upstreams": [upstream],
            "prices": {"gpt-4.1": {"prompt": 2, "completion": 8}},
            "budgets": [{"scope": "everyone", "window": "month", "tokens": 48}],
            "limits": {"models": ["gpt-4.1"]},
            "extraEnv": {
                "CAESARION_GATEWAY_LEASE": "4",
                "CAESARION_GATEWAY_AUDIT_INTERVAL": "1",
            },
        },
        "singleuser": {
            "profileList": [
                {"display_name": "Usual", "default": True},
                {"display_name": "Broken", "kubespawner_override": broken},
            ]
        },
    }


def targets(cluster: Cluster, namespace: str) -> Iterator[Target]:
    """
    Yield what the namespace's ServiceMonitors select, as the operator would.

    Through the Services, because the pods' own addresses are on the fake node only.
    """
    services = cluster.get(namespace, "services")["items"]
    for monitor in cluster.get(namespace, f"servicemonitors.{GROUP}")["items"]:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (endpoint,) = monitor["spec"]["endpoints"]
        for service in services:
            name, spec = service["metadata"]["name"], service["spec"]
            if wanted <= service["metadata"]["labels"].items():
                host = cluster.url_of(namespace, name).rpartition(":")[0].removeprefix("http://")
                for port in spec["ports"]:
                    if port["name"] == endpoint["port"]:
                        address = f"{host}:{port['port']}"
                        access = token(cluster, namespace, endpoint)
                        yield Target(name, address, endpoint["path"], access, namespace)


def token(cluster: Cluster, namespace: str, endpoint: Json) -> str:
    if "authorization" not in endpoint:
        return ""
    named = endpoint["authorization"]["credentials"]
    secret = cluster.get(namespace, "secret", named["name"])
    return base64.b64decode(secret["data"][named["key"]]).decode()


@dataclass(frozen=True)
class Monitored:
    """A release, and the Prometheus that has scraped it from the start."""

    caesarion: Installation
    prometheus: Prometheus
    ledger: Path
    """The gateway's database, as a file of this machine."""

    def ask(self, user: str, model: str = "gpt-4.1") -> int:
        """Ask the gateway, and return the status of its answer."""
        headers = {"Authorization": f"Bearer {self.caesarion.login(user).token()}"}
        url = f"{self.caesarion.url}/services/gateway/v1/chat/completions"
        body = {"model": model, "messages": ASKED}
        return httpx.post(url, json=body, headers=headers, timeout=60).status_code


@pytest.fixture(scope="module")
def monitored(cluster: AnyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    if not isinstance(cluster, Cluster):
        pytest.skip(
            "Prometheus runs on this machine, and reaches the pods of the fake cluster only."
        )
    for kind, plural in KINDS.items():
        cluster.kubectl("create", "--filename=-", text=json.dumps(definition(kind, plural)))
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        provider_inside(cluster, folder / "script.json", REPLIES) as provider,
        Installation.installed(cluster, NAMESPACE, values(provider)) as caesarion,
    ):
        claim = cluster.get(NAMESPACE, "pvc", "caesarion-gateway")
        volume = cluster.get(NAMESPACE, "pv", claim["spec"]["volumeName"])
        ledger = Path(volume["spec"]["csi"]["volumeHandle"], "gateway.sqlite")
        rule = cluster.get(NAMESPACE, f"prometheusrules.{GROUP}", "caesarion")
        groups = rule["spec"]["groups"]
        for alert in (one for group in groups for one in group["rules"]):
            alert.pop("for", None)
        scraped = list(targets(cluster, NAMESPACE))
        with running_prometheus(folder, scraped, groups) as prometheus:
            prometheus.wait_for("sum(up) == 3")
            yield Monitored(caesarion, prometheus, ledger)


def test_prometheus_reads_hub_gateway_and_proxy_by_the_charts_monitors(
    monitored: Monitored,
) -> None:
    scraped = monitored.prometheus.query("up == 1")
    assert {one["metric"]["job"] for one in scraped} == {
        *("caesarion-hub", "caesarion-gateway", "caesarion-proxy-api"),
    }
    monitored.prometheus.wait_for("absent(ALERTS)")


async def test_a_turn_with_a_repair_uses_everyones_budget_up_and_is_counted(
    monitored: Monitored,
) -> None:
    ada = monitored.caesarion.login("ada")
    ada.start_server()
    async with open_chat(monitored.caesarion.server_of(ada), "a.chat") as chat:
        await chat.ask("divide", 90)
    prometheus = monitored.prometheus
    ends = "sum by (tool, outcome, approver) (caesarion_gateway_tool_outcomes_total)"
    prometheus.wait_for(f"count({ends}) == 2")
    assert {
        (*(one["metric"][name] for name in ("tool", "outcome", "approver")), one["value"][1])
        for one in prometheus.query(ends)
    } == {
        ("python_interpreter", "error", "rule", "1"),
        ("python_interpreter", "ok", "rule", "1"),
    }
    for series, number in (("turns", "1"), ("repairs", "1"), ("tool_calls", "2")):
        (one,) = prometheus.query(f"sum(caesarion_gateway_{series}_total)")
        assert one["value"][1] == number, series
    alert = prometheus.alert("CaesarionBudgetAlmostUsed")
    assert "94 % of everyone's budget with the window month" in alert["annotations"]["description"]


def test_a_provider_that_fails_is_told_with_the_errors_that_users_get(
    monitored: Monitored,
) -> None:
    assert monitored.ask("grace") >= 500
    prometheus = monitored.prometheus
    alert = prometheus.alert("CaesarionProviderFails")
    assert alert["labels"]["upstream"] == "provider"
    assert alert["annotations"]["runbook_url"] == "docs/alerts.md#caesarionproviderfails"
    # The circuit is open now: these are refused without asking. A rate needs two samples.
    for _ in range(2):
        assert monitored.ask("grace") == 503
        prometheus.wait_for('caesarion_gateway_requests_total{status="503"}')
    prometheus.alert("CaesarionGatewayErrors")


def test_two_starts_that_fail_are_told(monitored: Monitored) -> None:
    def fail(user: str) -> None:
        session = monitored.caesarion.login(user)
        server = f"/hub/api/users/{user}/server"
        session.post(server, json={"profile": "broken"}).raise_for_status()
        eventually(lambda: not session.get(f"/hub/api/users/{user}").json()["servers"], 180)

    with ThreadPoolExecutor() as people:
        list(people.map(fail, ("unlucky", "hapless")))
    alert = monitored.prometheus.alert("CaesarionStartsFail")
    assert "2 starts have failed" in alert["annotations"]["description"]


def test_every_series_of_the_dashboards_and_alerts_is_in_the_scrape(
    monitored: Monitored,
) -> None:
    assert monitored.ask("grace", "another-model") == 403
    prometheus = monitored.prometheus
    prometheus.wait_for("caesarion_gateway_refusals_total")
    rules = [
        rule["query"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]
    ]
    used = set().union(*map(series_of, [*queries(), *rules]))
    assert {name for name in used if not name.startswith(ELSEWHERE)} - prometheus.names() == set()


def test_a_record_of_the_audit_that_was_changed_is_told(monitored: Monitored) -> None:
    with closing(sqlite3.connect(monitored.ledger, timeout=120)) as database, database:
        database.execute("UPDATE audit SET user = 'eve' WHERE kind = 'call'")
    monitored.prometheus.alert("CaesarionAuditBroken")


def test_a_ledger_that_cannot_be_written_is_told_until_it_can(monitored: Monitored) -> None:
    prometheus = monitored.prometheus
    with closing(sqlite3.connect(monitored.ledger, timeout=120)) as database:
        database.execute("BEGIN IMMEDIATE")
        alert = prometheus.alert("CaesarionLedgerNotWritable")
        assert alert["labels"]["severity"] == "critical"
        database.rollback()
    prometheus.wait_for('absent(ALERTS{alertname="CaesarionLedgerNotWritable"})')
