"""The dashboards that the chart carries: current, parsed by promtool, and found by Grafana."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helm import ROOT, render
from tests.prometheus import DASHBOARDS, panels, parse, queries, series_of

ON: dict[str, Any] = {"monitoring": {"dashboards": {"enabled": True}}}


def test_the_files_are_what_the_script_writes(tmp_path: Path) -> None:
    script = ROOT / "helm" / "dashboards"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    written = {file.name: file.read_text("utf-8") for file in tmp_path.iterdir()}
    assert written == {file.name: file.read_text("utf-8") for file in DASHBOARDS}
    assert len(written) == 4


def test_promtool_parses_every_query(tmp_path: Path) -> None:
    parse(queries(), tmp_path)


def test_every_panel_has_a_title_of_its_own_a_unit_and_names_for_its_series() -> None:
    for dashboard in DASHBOARDS:
        kinds = [(panel["type"], panel["title"]) for panel in panels(dashboard)]
        assert len(set(kinds)) == len(kinds)
        for panel in panels(dashboard):
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert all(target["legendFormat"] for target in panel["targets"])


def test_rows_of_panels_are_full() -> None:
    for dashboard in DASHBOARDS:
        widths: dict[int, int] = {}
        for panel in panels(dashboard):
            place = panel["gridPos"]
            widths[place["y"]] = widths.get(place["y"], 0) + place["w"]
        assert set(widths.values()) == {24}


def test_series_from_elsewhere_are_in_the_documentation_with_their_exporter() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    (manifest,) = render({"monitoring": {"prometheusRule": {"enabled": True}}}).of("PrometheusRule")
    rules = [rule["expr"] for group in manifest["spec"]["groups"] for rule in group["rules"]]
    hosts = {"hub": {"subdomainHost": "https://hub.example.org"}}
    (manifest,) = render(hosts, {"monitoring": {"prometheusRule": {"enabled": True}}}).of(
        "PrometheusRule"
    )
    rules += [rule["expr"] for group in manifest["spec"]["groups"] for rule in group["rules"]]
    used = set().union(*map(series_of, [*queries(), *rules]))
    ours = ("caesarion_", "jupyterhub_", "nodejs_", "process_", "requests_")
    assert {name for name in used if not name.startswith(ours)} == documented


def test_grafanas_sidecar_finds_each_dashboard() -> None:
    changed = {"labels": {"dashboards": "yes"}, "annotations": {}, "namespace": "monitoring"}
    for values, labels, annotations, namespace in (
        ({}, {"grafana_dashboard": "1"}, {"grafana_folder": "Caesarion"}, "hub"),
        (changed, {"dashboards": "yes"}, {"grafana_folder": "Caesarion"}, "monitoring"),
    ):
        found = render(ON, {"monitoring": {"dashboards": values}}).of("ConfigMap")
        assert [one["metadata"]["name"] for one in found] == [
            f"caesarion-dashboard-{file.stem}" for file in DASHBOARDS
        ]
        for one, file in zip(found, DASHBOARDS, strict=True):
            assert labels.items() <= one["metadata"]["labels"].items()
            assert one["metadata"]["annotations"] == annotations
            assert one["metadata"]["namespace"] == namespace
            assert one["data"] == {f"caesarion-{file.name}": file.read_text("utf-8")}
            assert json.loads(file.read_text("utf-8"))["uid"] == f"caesarion-{file.stem}"


def test_without_the_value_there_is_no_dashboard() -> None:
    assert render().of("ConfigMap") == []
