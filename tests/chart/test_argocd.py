"""Argo CD: what deploy/argocd says is an Application, renders, and takes no user's pod or home."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import helm
from tests.helm import CHART, ROOT, Manifest, Manifests
from tests.tools import need_tools

ARGOCD = ROOT / "deploy/argocd"
TSC = ROOT / "extension/labextension/node_modules/typescript/bin/tsc"
OURS = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
}
KEEP = ("argocd.argoproj.io/sync-options", OURS["argocd.argoproj.io/sync-options"])


def read(name: str) -> Manifest:
    """Return one of the manifests."""
    found: Manifest = yaml.safe_load((ARGOCD / f"{name}.yaml").read_text("utf-8"))
    return found


def applications() -> list[tuple[str, dict[str, Any]]]:
    """Return name and source of every Application, those of the set filled in as Argo CD does."""
    one, many = read("application"), read("applicationset")
    found = [(one["metadata"]["name"], one["spec"]["source"])]
    (generator,) = many["spec"]["generators"]
    for element in generator["list"]["elements"]:
        text = json.dumps(many["spec"]["template"])
        for key, value in element.items():
            text = text.replace(f"{{{{ .{key} }}}}", value)
        assert "{{" not in text
        template = json.loads(text)
        found.append((template["metadata"]["name"], template["spec"]["source"]))
    return found


def rendered(source: dict[str, Any]) -> Manifests:
    """Return what the chart that a source names makes of the values that it gives."""
    chart = ROOT / source["path"]
    assert chart == CHART
    files = [(chart / name).resolve() for name in source["helm"]["valueFiles"]]
    options = [f"--values={file}" for file in files]
    name = source["helm"]["releaseName"]
    text = helm.run(["template", name, str(chart), "--namespace", "caesarion", *options])
    return Manifests(one for one in yaml.safe_load_all(text) if one)


def test_every_field_is_one_that_argo_cd_defines(tmp_path: Path) -> None:
    lines = ['import * as argo from "@kubernetes-models/argo-cd/argoproj.io/v1alpha1";']
    for name, kind in (
        ("project", "IAppProject"),
        ("application", "IApplication"),
        ("applicationset", "IApplicationSet"),
    ):
        lines.append(f"export const {name}: argo.{kind} = {json.dumps(read(name))};")
    lines += ["// @ts-expect-error", 'argo; application.spec.project = { not: "a name" };']
    (tmp_path / "check.ts").write_text("\n".join(lines))
    # The types are generated from Argo CD's CustomResourceDefinitions, by somebody else.
    (tmp_path / "node_modules").symlink_to(need_tools() / "share/argocd/node_modules")
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "node16", "--target", "es2022"]
    command = ["node", str(TSC), *options, "check.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize(("name", "source"), applications(), ids=str)
def test_an_application_renders_the_same_each_time(name: str, source: dict[str, Any]) -> None:
    """Argo CD renders without the cluster: generated keys would change at each look."""
    first = rendered(source)
    assert first == rendered(source)
    assert first.one("Deployment", "caesarion-hub")
    assert name != source["helm"]["releaseName"]


@pytest.mark.parametrize(("name", "source"), applications(), ids=str)
def test_what_the_hub_makes_says_that_argo_cd_leaves_it_alone(
    name: str, source: dict[str, Any]
) -> None:
    manifests = rendered(source)
    values = manifests.hub_values()
    assert values["singleuser"]["extraAnnotations"] == OURS
    assert values["hub"]["config"]["KubeSpawner"]["storage_extra_annotations"] == OURS
    kept = [*manifests.of("PersistentVolumeClaim"), *manifests.of("Namespace")]
    assert kept
    assert [one["metadata"]["name"] for one in kept if KEEP not in annotations(one).items()] == []


def annotations(manifest: Manifest) -> dict[str, str]:
    found: dict[str, str] = manifest["metadata"].get("annotations") or {}
    return found


def test_the_project_allows_every_kind_of_the_chart_and_no_pod() -> None:
    spec = read("project")["spec"]
    lists = spec["clusterResourceWhitelist"] + spec["namespaceResourceWhitelist"]
    allowed = {one["kind"] for one in lists}
    templates = "\n".join(file.read_text("utf-8") for file in CHART.glob("templates/**/*.*"))
    charts = set(re.findall(r"^ {0,4}kind: (\w+)$", templates, re.MULTILINE))
    assert charts - allowed == set()
    assert "Deployment" in charts
    assert "Pod" not in allowed


def test_production_is_synced_by_hand_and_deleting_the_set_deletes_nothing() -> None:
    many = read("applicationset")["spec"]
    assert many["syncPolicy"] == {
        "preserveResourcesOnDeletion": True,
        "applicationsSync": "create-update",
    }
    (generator,) = many["generators"]
    automated = {one["environment"]: one["automated"] for one in generator["list"]["elements"]}
    assert automated == {"staging": "true", "production": "false"}
    assert "automated" not in many["template"]["spec"]["syncPolicy"]
