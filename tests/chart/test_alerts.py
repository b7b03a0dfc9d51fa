"""Every alert of the chart: Prometheus takes it, it fires when it should, and has a remedy."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm import ROOT, render, run

ON: dict[str, Any] = {
    "monitoring": {"prometheusRule": {"enabled": True}},
    "hub": {"subdomainHost": "https://hub.example.org"},
    "singleuser": {"namespace": {"name": "people"}},
}

HUB = 'namespace="hub",job="caesarion-hub"'
GATEWAY = 'namespace="hub",job="caesarion-gateway"'
STARTS = f"jupyterhub_server_spawn_duration_seconds_count{{{HUB},"
REQUESTS = f"caesarion_gateway_requests_total{{{GATEWAY},"
FIRST = f"caesarion_gateway_first_token_seconds_bucket{{{GATEWAY},"
CIRCUIT = f'caesarion_gateway_upstream_circuit{{{GATEWAY},upstream="a",'
BUDGET = f"caesarion_gateway_everyones_budget_used_ratio{{{GATEWAY},"
UP = {f'up{{namespace="hub",job="caesarion-{job}"}}' for job in ("hub", "gateway", "proxy-api")}
NEVER = "0x120"
"""Two hours of zeros."""


@dataclass(frozen=True)
class Case:
    """
    Series, a sample each minute, and whether the alert fires after so many ``minutes``.

    In promtool's notation ``1x3`` is four ones, ``_`` no sample, and ``0+2x3`` counts 0 2 4 6.
    """

    alert: str
    series: dict[str, str]
    fires: bool
    minutes: int = 60


def pod(name: str, namespace: str = "hub", **more: str) -> str:
    labels = {"namespace": namespace, "pod": name, **more}
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def volume(claim: str, namespace: str, available: int) -> dict[str, str]:
    labels = f'{{namespace="{namespace}",persistentvolumeclaim="{claim}"}}'
    return {
        f"kubelet_volume_stats_available_bytes{labels}": f"{available}x120",
        f"kubelet_volume_stats_capacity_bytes{labels}": "1000x120",
    }


def answers(bucket: dict[str, str]) -> dict[str, str]:
    return {f'{FIRST}model="m",le="{le}"}}': f"0+{each}x120" for le, each in bucket.items()}


FAILED, ERROR = 'status="failure",reason="quota"}', 'status="error",reason=""}'
HUB_UP = {f"up{{{HUB}}}": "1x120"}
UNTIL = 14 * 86400
"""Seconds; the series of certificates hold moments, and promtool's clock begins at 0."""

CASES = [
    Case("CaesarionNotScraped", dict.fromkeys(UP, "1x120"), False),
    Case("CaesarionNotScraped", {**dict.fromkeys(UP, "1x120"), max(UP): "1x50 0x70"}, True),
    Case("CaesarionNotScraped", {**dict.fromkeys(UP, "1x120"), max(UP): "1x57 0x70"}, False),
    Case("CaesarionNotScraped", dict.fromkeys(sorted(UP)[1:], "1x120"), True),
    # Two failures of one kind that had none before: the series begins with the first.
    Case("CaesarionStartsFail", {**HUB_UP, f"{STARTS}{FAILED}": "_x40 1x5 2x60"}, True),
    Case("CaesarionStartsFail", {**HUB_UP, f"{STARTS}{FAILED}": "_x40 1x80"}, False),
    Case("CaesarionStartsFail", {**HUB_UP, f"{STARTS}{FAILED}": "_x10 1x5 2x60"}, False),
    Case("CaesarionStartsFail", {**HUB_UP, f"{STARTS}{ERROR}": "5x50 6x60"}, False),
    # The hub's process has started anew, at the same address.
    Case(
        "CaesarionStartsFail",
        {
            **HUB_UP,
            f"process_start_time_seconds{{{HUB}}}": "0x45 2700x60",
            f"{STARTS}{ERROR}": "5x45 0x5 2x60",
        },
        True,
    ),
    Case(
        "CaesarionStartsFail",
        {**HUB_UP, f"{STARTS}{FAILED}": "_x40 1x80", f"{STARTS}{ERROR}": "0x50 1x60"},
        True,
    ),
    # A new Prometheus does not know when the failures of an old hub were; of a new hub it does.
    *(
        Case(
            "CaesarionStartsFail",
            {
                f"up{{{HUB}}}": "_x40 1x80",
                f"process_start_time_seconds{{{HUB}}}": f"_x40 {start}x80",
                f"{STARTS}{FAILED}": "_x40 50x80",
            },
            is_new,
        )
        for start, is_new in ((600, False), (2400, True))
    ),
    Case(
        "CaesarionStartsFail",
        {
            **HUB_UP,
            f'{STARTS}status="failure",reason="throttled"}}': "0+5x120",
            f'{STARTS}status="error",reason="exited"}}': "0+5x120",
            f'{STARTS}status="success",reason=""}}': "0+5x120",
        },
        False,
    ),
    Case(
        "CaesarionPodRestarted",
        {f"kube_pod_container_status_restarts_total{pod('caesarion-hub-a')}": "0x50 1x60"},
        True,
    ),
    Case(
        "CaesarionPodRestarted",
        {
            f"kube_pod_container_status_restarts_total{pod('caesarion-hub-a')}": "0x30 1x80",
            f"kube_pod_container_status_restarts_total{pod('other-hub-a')}": "0x50 1x60",
        },
        False,
    ),
    Case(
        "CaesarionPodPending",
        {f"kube_pod_status_phase{pod('jupyter-ada', 'people', phase='Pending')}": "1x120"},
        True,
    ),
    Case(
        "CaesarionPodPending",
        {
            f"kube_pod_status_phase{pod('caesarion-hub-a', phase='Pending')}": "0x35 1x90",
            f"kube_pod_status_phase{pod('caesarion-user-placeholder-0', phase='Pending')}": "1x120",
        },
        False,
    ),
    Case(
        "CaesarionPodTerminating",
        {f"kube_pod_deletion_timestamp{pod('jupyter-ada', 'people')}": "2900x120"},
        True,
    ),
    Case(
        "CaesarionPodTerminating",
        {f"kube_pod_deletion_timestamp{pod('jupyter-ada', 'people')}": "3100x120"},
        False,
    ),
    Case("CaesarionVolumeAlmostFull", volume("caesarion-gateway", "hub", 99), True),
    Case("CaesarionVolumeAlmostFull", volume("caesarion-gateway", "hub", 101), False),
    Case("CaesarionVolumeAlmostFull", volume("claim-ada", "people", 1), False),
    Case("CaesarionHomeAlmostFull", volume("claim-ada", "people", 99), True),
    Case("CaesarionHomeAlmostFull", volume("claim-ada", "people", 101), False),
    Case(
        "CaesarionGatewayErrors",
        {f'{REQUESTS}status="200"}}': "0+97x120", f'{REQUESTS}status="502"}}': "0+2x120"},
        True,
    ),
    Case(
        "CaesarionGatewayErrors",
        {f'{REQUESTS}status="200"}}': "0+100x120", f'{REQUESTS}status="502"}}': "0+1x120"},
        False,
    ),
    Case("CaesarionGatewayErrors", {f'{REQUESTS}status="429"}}': "0+5x120"}, False),
    Case("CaesarionFirstWordSlow", answers({"5": "90", "10": "100", "+Inf": "100"}), True),
    Case("CaesarionFirstWordSlow", answers({"5": "96", "10": "100", "+Inf": "100"}), False),
    Case("CaesarionFirstWordSlow", answers({"5": "0", "10": "0", "+Inf": "0"}), False),
    Case(
        "CaesarionProviderFails",
        # Half-open and open by turns: it is asked once in a while, and fails.
        {
            f'{CIRCUIT}state="closed"}}': "1x50 0x70",
            f'{CIRCUIT}state="open"}}': "0x50 1 0 1 0 1 0 1 0 1 0 1 0 1",
        },
        True,
    ),
    Case("CaesarionProviderFails", {f'{CIRCUIT}state="closed"}}': "1x57 0x70"}, False),
    Case(
        "CaesarionProviderFails",
        {
            f'{CIRCUIT}pod="a",state="closed"}}': NEVER,
            f'{CIRCUIT}pod="b",state="closed"}}': "1x120",
        },
        False,
    ),
    Case("CaesarionBudgetAlmostUsed", {f'{BUDGET}window="month"}}': "0.91x120"}, True),
    Case("CaesarionBudgetAlmostUsed", {f'{BUDGET}window="month"}}': "0.9x120"}, False),
    Case(
        "CaesarionLedgerNotWritable",
        {f"caesarion_gateway_ledger_writable{{{GATEWAY}}}": NEVER},
        True,
    ),
    Case(
        "CaesarionLedgerNotWritable",
        {f"caesarion_gateway_ledger_writable{{{GATEWAY}}}": "1x120"},
        False,
    ),
    Case(
        "CaesarionAuditBroken", {f"caesarion_gateway_audit_whole{{{GATEWAY}}}": "1x50 0x60"}, True
    ),
    # Before the first verification it is no number.
    Case(
        "CaesarionAuditBroken",
        {f"caesarion_gateway_audit_whole{{{GATEWAY}}}": " ".join(["NaN"] * 61)},
        False,
    ),
    *(
        Case("CaesarionCertificateEnds", {f"{series}": f"{3600 + UNTIL + more}x120"}, more < 0)
        for more in (-60, 60)
        for series in (
            'certmanager_certificate_expiration_timestamp_seconds{namespace="hub",name="tls"}',
            'certmanager_certificate_expiration_timestamp_seconds{exported_namespace="hub",name="x"}',
            'probe_ssl_earliest_cert_expiry{instance="https://hub.example.org/hub/health"}',
        )
    ),
    Case(
        "CaesarionCertificateEnds",
        {'probe_ssl_earliest_cert_expiry{instance="https://hubxexample.org"}': "1x120"},
        False,
    ),
]


def groups(*tables: dict[str, Any]) -> list[Any]:
    (manifest,) = render(ON, *tables).of("PrometheusRule")
    found: list[Any] = manifest["spec"]["groups"]
    return found


def rules(*tables: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in groups(*tables) for rule in group["rules"]]


@pytest.fixture
def rule_file(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": groups()}))
    return file


def test_prometheus_takes_every_rule(rule_file: Path) -> None:
    said = run(["check", "rules", str(rule_file)], program="promtool")
    assert f"SUCCESS: {len(rules())} rules found" in said


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    for fires in (True, False):
        assert {case.alert for case in CASES if case.fires is fires} == {
            rule["alert"] for rule in rules()
        }


def test_every_alert_fires_when_it_should_and_only_then(rule_file: Path) -> None:
    tests = []
    for number, case in enumerate(CASES):
        firing = f'count by (alertname) (ALERTS{{alertstate="firing",alertname="{case.alert}"}})'
        sample = {"labels": f'{{alertname="{case.alert}"}}', "value": 1}
        tests.append(
            {
                "name": f"{number}: {case}",
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": values} for series, values in case.series.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": firing,
                        "eval_time": f"{case.minutes}m",
                        "exp_samples": [sample] if case.fires else [],
                    }
                ],
            }
        )
    file = rule_file.with_name("tests.yaml")
    settings = {"rule_files": [str(rule_file)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(json.dumps(settings))
    assert "SUCCESS" in run(["test", "rules", str(file)], program="promtool")


def test_every_alert_leads_to_its_section_of_the_documentation() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    sections = re.findall("^## (Caesarion.+)$", text, re.MULTILINE)
    assert sections == [rule["alert"] for rule in rules()]
    for rule in rules({"monitoring": {"prometheusRule": {"runbookUrl": "https://docs/alerts"}}}):
        # As GitHub and MyST make an anchor of a heading of one word.
        anchor = rule["alert"].lower()
        assert rule["annotations"]["runbook_url"] == f"https://docs/alerts#{anchor}"
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_section_says_what_it_means_how_to_look_and_what_to_do() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    for section in text.split("\n## Caesarion")[1:]:
        assert re.findall(r"^\*\*(.+?)\*\*", section.partition("\n## ")[0], re.MULTILINE) == [
            *("Means", "Look", "Do"),
        ], section


@pytest.mark.parametrize(
    ("threshold", "value", "alert", "found"),
    [
        ("failedStarts", 5, "CaesarionStartsFail", ">= 5\n"),
        ("pendingMinutes", 5, "CaesarionPodPending", "5m"),
        ("terminatingMinutes", 5, "CaesarionPodTerminating", "> 300\n"),
        ("volumeFreePercent", 20.5, "CaesarionVolumeAlmostFull", "< 20.5\n"),
        ("errorPercent", 0.5, "CaesarionGatewayErrors", "> 0.5\n"),
        ("firstTokenSeconds", 2.5, "CaesarionFirstWordSlow", "> 2.5\n"),
        ("circuitMinutes", 1, "CaesarionProviderFails", "1m"),
        ("budgetPercent", 50, "CaesarionBudgetAlmostUsed", "> 50\n"),
        ("certificateDays", 1, "CaesarionCertificateEnds", "< 86400\n"),
    ],
)
def test_an_operator_changes_a_threshold(
    threshold: str, value: float, alert: str, found: str
) -> None:
    changed = {"monitoring": {"prometheusRule": {"thresholds": {threshold: value}}}}
    (rule,) = (rule for rule in rules(changed) if rule["alert"] == alert)
    assert found in (rule["for"] if found.endswith("m") else rule["expr"])


def test_every_threshold_of_the_values_is_used() -> None:
    values = yaml.safe_load((ROOT / "helm" / "caesarion" / "values.yaml").read_text("utf-8"))
    thresholds = values["monitoring"]["prometheusRule"]["thresholds"]
    template = ROOT / "helm" / "caesarion" / "templates" / "monitoring" / "prometheusrule.yaml"
    used = set(re.findall(r"\$limits\.(\w+)", template.read_text("utf-8")))
    assert used == thresholds.keys()
