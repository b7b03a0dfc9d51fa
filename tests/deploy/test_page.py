"""
docs/deploy.md: its commands run from the first to the last, in a copy of deploy/ and helm/.

Terraform and helm are real: the one has a fake Google and its state in a file, the other renders
what it would install. gcloud, kubectl, docker, make and Ansible are written down only.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests import terraform
from tests.helm import ROOT, path_of
from tests.validation import validate

RECORDED = ("gcloud", "docker", "make", "kubectl")
TERRAFORM = """#!/bin/bash
arguments=()
for argument; do [[ $argument = -backend-config=* ]] || arguments+=("$argument"); done
[[ $* != *" destroy "* ]] || cp deploy/terraform/examples/small/terraform.tfstate before.tfstate
exec "$TERRAFORM_PYTHON" -c "$TERRAFORM_COMMAND" "${arguments[@]}"
"""
HELM = """#!/bin/bash
echo "helm $*" >> "$CALLS"
[ "$1" = upgrade ] || exit 0
arguments=$*
arguments=${arguments/upgrade --install/template}
arguments=${arguments/--wait --timeout 15m/--kube-version 1.33.0}
exec "$HELM" $arguments > rendered.yaml
"""


@dataclass(frozen=True)
class Run:
    """What came of the page's commands."""

    folder: Path
    printed: str
    calls: list[str]


def commands() -> str:
    """Return the page's commands as one script."""
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    return "\n".join(re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def run(google: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The page's commands, run."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("deploy", "helm"):
        shutil.copytree(ROOT / name, folder / name)
    example = folder / "deploy" / "terraform" / "examples" / "small"
    (example / "backend_override.tf").write_text(terraform.LOCAL_STATE)
    (folder / "the-key").write_text("sk-none")
    programs = folder / "programs"
    programs.mkdir()
    ansible = folder / ".venv" / "deploy" / "bin"
    ansible.mkdir(parents=True)
    for fake in [*(programs / name for name in RECORDED), ansible / "ansible-playbook"]:
        fake.symlink_to(ROOT / "tests" / "fakes" / "recorder.sh")
    for name, text in (("terraform", TERRAFORM), ("helm", HELM)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands()],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
            **google,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CALLS": str(folder / "calls"),
            "HELM": path_of("helm"),
            "TERRAFORM_PYTHON": str(terraform.TOOLS / "python"),
            "TERRAFORM_COMMAND": terraform.COMMAND,
            "TF_CLI_ARGS_apply": "-auto-approve",
            "TF_CLI_ARGS_destroy": "-auto-approve",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        raise RuntimeError("The page's commands failed.")
    return Run(folder, done.stdout, (folder / "calls").read_text("utf-8").splitlines())


def test_the_page_leads_from_nothing_to_a_password(run: Run) -> None:
    assert "the password" in run.printed
    assert "caesarion.example.org." in run.printed
    assert "docker push europe-west1-docker.pkg.dev/my-project/caesarion/hub:0.1.0" in run.calls


def test_what_the_page_installs_uses_what_terraform_made(run: Run) -> None:
    rendered = list(yaml.safe_load_all((run.folder / "rendered.yaml").read_text("utf-8")))
    hub = next(
        one
        for one in rendered
        if one["kind"] == "Deployment" and one["metadata"]["name"] == "caesarion-hub"
    )
    spec = hub["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"pool": "core"}
    pushed = {call.removeprefix("docker push ") for call in run.calls if call.startswith("docker")}
    assert spec["containers"][0]["image"] in pushed
    route = next(one for one in rendered if one["kind"] == "HTTPRoute")
    assert route["spec"]["hostnames"] == ["caesarion.example.org", "*.caesarion.example.org"]


def test_secrets_that_the_chart_names_are_created_before_it_is_installed(run: Run) -> None:
    installed = next(
        place for place, call in enumerate(run.calls) if call.startswith("helm upgrade")
    )
    before = "\n".join(run.calls[:installed])
    text = (run.folder / "rendered.yaml").read_text("utf-8")
    for secret in ("caesarion-db", "openai"):
        assert secret in text
        assert f"create secret generic {secret} " in before
    password = re.search(r"users create caesarion .*--password=(\w{48})$", before, re.MULTILINE)
    assert password is not None
    assert f"--from-literal=password={password[1]}" in before


def test_homes_outlive_claims_and_have_the_class_that_the_values_name(run: Run) -> None:
    storage_class = yaml.safe_load((ROOT / "deploy" / "gke" / "homes.yaml").read_text("utf-8"))
    validate(storage_class, "1.33")
    assert storage_class["reclaimPolicy"] == "Retain"
    values = json.loads((run.folder / "values.json").read_text("utf-8"))
    assert values["singleuser"]["storage"]["storageClass"] == storage_class["metadata"]["name"]
    applied = run.calls.index("kubectl apply -f deploy/gke/homes.yaml")
    assert run.calls[applied + 2].startswith("helm upgrade --install")


def test_the_pages_destroy_ends_what_computes_and_keeps_what_holds_data(run: Run) -> None:
    example = run.folder / "deploy" / "terraform" / "examples" / "small"
    left = terraform.resources(example / "terraform.tfstate").keys()
    gone = terraform.resources(run.folder / "before.tfstate").keys() - left
    assert {
        "module.bastion.google_compute_instance.this",
        "module.cluster.google_container_cluster.this",
        "module.cluster.google_container_node_pool.this",
        "module.https.google_compute_global_address.this",
        "module.network.google_compute_router_nat.this",
    } <= gone
    kept = ("module.backups.", "module.database.", "module.registry.")
    assert not [address for address in gone if address.startswith(kept)]
    assert {
        "module.backups.google_storage_bucket.this",
        "module.database.google_sql_database.this",
        "module.database.google_sql_database_instance.this",
        "module.network.google_compute_network.this",
        "module.registry.google_artifact_registry_repository.this",
    } <= left
