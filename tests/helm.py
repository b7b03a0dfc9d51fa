"""
Real helm for tests: what the chart makes of values, and how it refuses them.

Rendering takes a fifth of a second, so equal questions are answered once.
"""

import base64
import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "caesarion"
EXAMPLES = ROOT / "helm" / "examples"

Manifest = dict[str, Any]


class RefusedError(Exception):
    """Helm, or kubectl, failed; ``str`` of it is what it said."""


def run(arguments: Sequence[str], text: str | None = None, program: str = "helm") -> str:
    """Return what helm, or kubectl, prints."""
    command = [path_of(program), *arguments]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise RefusedError(done.stderr + done.stdout)
    return done.stdout


def path_of(program: str) -> str:
    """Return where helm or kubectl is: beside this Python, else where the system has it."""
    beside = Path(sys.executable).with_name(program)
    return str(beside) if beside.exists() else shutil.which(program) or program


def render(
    *tables: dict[str, Any],
    release: str = "caesarion",
    namespace: str = "hub",
    kubernetes: str = "1.33.0",
) -> "Manifests":
    """Return what the chart makes of values, a later table on top."""
    text = _template(tuple(json.dumps(table) for table in tables), release, namespace, kubernetes)
    return Manifests(deepcopy(_parsed(text)))


@functools.cache
def _template(tables: tuple[str, ...], release: str, namespace: str, kubernetes: str) -> str:
    arguments = ["template", release, str(CHART), "--namespace", namespace]
    arguments += ["--kube-version", kubernetes]
    if not tables:
        return run(arguments)
    merged: dict[str, Any] = {}
    for table in tables:
        merged = merge(merged, json.loads(table))
    return run([*arguments, "--values", "-"], as_yaml(merged))


def as_yaml(table: dict[str, Any]) -> str:
    """Return JSON that is YAML too: no pairs of surrogates, and no break that only YAML knows."""
    text = json.dumps(table, ensure_ascii=False)
    return re.sub("[\x7f-\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text)


@functools.cache
def _parsed(text: str) -> list[Manifest]:
    # The loader in C is ten times as fast; a PyYAML without it has the other.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(text, loader) if document]


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay ``over`` on ``under``, as helm does with its values files."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = merge(below, value)
        merged[key] = value
    return merged


class Manifests(list[Manifest]):
    """What helm rendered."""

    def of(self, kind: str) -> list[Manifest]:
        """Return the objects of a kind."""
        return [manifest for manifest in self if manifest["kind"] == kind]

    def one(self, kind: str, name: str) -> Manifest:
        """Return the object of that kind and name."""
        found = [manifest for manifest in self.of(kind) if manifest["metadata"]["name"] == name]
        if len(found) != 1:
            names = [manifest["metadata"]["name"] for manifest in self.of(kind)]
            raise LookupError(f"There are {len(found)} objects {kind} {name!r}; of {names}.")
        return found[0]

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Yield the spec of every pod that would come of these, with a name to call it."""
        for manifest in self:
            template = manifest.get("spec", {}).get("template")
            if template:
                yield f"{manifest['kind']} {manifest['metadata']['name']}", template["spec"]

    def container(self, kind: str, name: str) -> Manifest:
        """Return the one container of a workload."""
        (container,) = self.one(kind, name)["spec"]["template"]["spec"]["containers"]
        found: Manifest = container
        return found

    def secret(self, name: str) -> dict[str, str]:
        """Return what a Secret holds, decoded."""
        data = self.one("Secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def hub_values(self, name: str = "caesarion-hub") -> dict[str, Any]:
        """Return the table of values that the hub will read."""
        table: dict[str, Any] = yaml.safe_load(self.secret(name)["values.yaml"])
        return table
