"""The images: what they install is pinned, hashed and enough; what builds them is small."""

import ast
import fnmatch
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

import caesarion
import pytest
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from traitlets.config import Config

from deploy.image_check import LABELS
from singleuser_image import requirements

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = ("hub_config/Dockerfile", "singleuser_image/Dockerfile")
FILES = tuple(requirements.direct())
PYTHONS = ("3.11", "3.12", "3.13")
#: Bytes; a made-up number, ten times what the context is today.
CONTEXT_MAX = 5 * 2**20


def blocks(name: str) -> list[list[str]]:
    """Return a requirements file's entries, each with its continuation lines."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", "\\")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [[part.strip() for part in line.split("\\")] for line in lines]


def pinned(name: str, python: str) -> dict[str, str]:
    """Return the version of each package that a requirements file installs for a Python."""
    entries = [Requirement(entry[0]) for entry in blocks(name)]
    return {
        canonicalize_name(entry.name): next(iter(entry.specifier)).version
        for entry in entries
        if applies(entry, python)
    }


def applies(requirement: Requirement, python: str) -> bool:
    """Tell whether a requirement is one on Linux with a Python such as 3.12."""
    where = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    return requirement.marker is None or requirement.marker.evaluate(where)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", FILES)
def test_every_direct_requirement_is_pinned_where_pyproject_allows(name: str, python: str) -> None:
    pins = pinned(name, python)
    wanted = [Requirement(line) for line in requirements.direct()[name]]
    wrong = {
        str(one): pins.get(canonicalize_name(one.name))
        for one in wanted
        if not one.specifier.contains(pins.get(canonicalize_name(one.name), "0"))
    }
    assert wrong == {}, "Run: make requirements"


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_one_version_with_hashes_and_names_no_index(name: str) -> None:
    odd = [
        entry[0]
        for entry in blocks(name)
        if not re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==[\w.!]+( ; .+)?", entry[0])
        or not entry[1:]
        or not all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", part) for part in entry[1:])
    ]
    assert odd == []
    assert "://" not in (ROOT / name).read_text("utf-8")


def imported(folder: Path) -> set[str]:
    """Return the top-level names that a package's modules import, the standard library's aside."""
    names = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("dialects/caesarion_dialects", "hub_config/requirements.txt"),
        ("dialects/caesarion_dialects", "singleuser_image/requirements.txt"),
        ("hub_config/caesarion_hub", "hub_config/requirements.txt"),
        ("extension/caesarion", "singleuser_image/requirements.txt"),
    ],
)
def test_an_image_has_every_package_that_ours_imports(package: str, name: str) -> None:
    pins = pinned(name, "3.12")
    ours = {"bundle", "caesarion", "caesarion_dialects", "caesarion_hub"}
    where = metadata.packages_distributions()
    missing = {
        module
        for module in imported(ROOT / package) - ours
        if not any(canonicalize_name(found) in pins for found in where.get(module, []))
    }
    assert missing == set()


def ignored(path: PurePosixPath) -> bool:
    """Tell what .dockerignore says of a path: the last line that matches it or a parent."""
    answer = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        if any(matches(part, pattern) for part in (path, *path.parents[:-1])):
            answer = not line.startswith("!")
    return answer


def matches(path: PurePosixPath, pattern: str) -> bool:
    """Match as Docker does: a star stays within a folder, two at the start go into any."""
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.name, pattern.removeprefix("**/"))
    return path.match(pattern) and len(path.parts) == pattern.count("/") + 1


def context() -> Iterator[PurePosixPath]:
    """Yield the files that a build is sent. No line of ours takes back a part of a folder."""
    for folder, folders, files in os.walk(ROOT):
        here = PurePosixPath(Path(folder).relative_to(ROOT))
        folders[:] = [name for name in folders if not ignored(here / name)]
        yield from (here / name for name in files if not ignored(here / name))


def test_the_context_is_small_and_holds_what_is_built_from_and_nothing_else() -> None:
    files = list(context())
    assert sum((ROOT / file).stat().st_size for file in files) < CONTEXT_MAX
    assert {file.parts[0] for file in files} == {
        "LICENSE",
        "README.md",
        "dialects",
        "extension",
        "hatch_build.py",
        "hub_config",
        "pyproject.toml",
        "singleuser_image",
    }
    left = {".git", ".venv", ".caesarion", "__pycache__", "node_modules", "lib"}
    assert [file for file in files if left & set(file.parts)] == []


@pytest.mark.parametrize("name", DOCKERFILES)
def test_all_that_a_dockerfile_copies_from_the_context_is_in_it(name: str) -> None:
    copies = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    sources = [source for line in copies for source in line.split() if source != "."]
    assert len(sources) > 1
    assert [one for one in sources if not (ROOT / one).exists()] == []
    assert [one for one in sources if ignored(PurePosixPath(one))] == []


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_a_user_under_tini_and_says_whom_each_package_is_for(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    final = text[text.rindex("\nFROM ") :]
    assert "\nUSER 1000:100\n" in final
    assert '\nENTRYPOINT ["tini", "-g", "--"]\n' in final
    install = re.search(r"apt-get install --yes --no-install-recommends ([\w ]+) \\", final)
    assert install is not None
    for package in install[1].split():
        assert f"\n# - {package}: " in final


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_says_the_version_that_it_is_of(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert re.findall(r"^ARG VERSION=(.+)$", text, re.MULTILINE) == [caesarion.__version__]
    assert 'org.opencontainers.image.version="${VERSION}"' in text
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", text))
    # The pipeline adds the other two.
    assert labels | {"revision", "created"} == set(LABELS)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_stage_stands_on_one_base_that_the_builder_may_name(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    (base,) = re.findall(r"^ARG BASE=(.+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.12-slim-bookworm@sha256:[0-9a-f]{64}", base)
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    assert bases - stages == {"${BASE}"}


@pytest.mark.parametrize("name", DOCKERFILES)
@pytest.mark.parametrize(
    ("base", "status"),
    [("python:3.12", 1), (f"python@sha256:{64 * 'a'}", 0), ("localhost/python:3.12", 0)],
)
def test_a_base_without_a_digest_ends_the_build(name: str, base: str, status: int) -> None:
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    (check,) = re.findall(r"^ARG BASE\nRUN (.+)$", text, re.MULTILINE)
    done = subprocess.run(["sh", "-c", check], env={"BASE": base}, capture_output=True, text=True)
    assert done.returncode == status
    assert ("BASE must name an image by its digest" in done.stderr) is (status == 1)


def test_make_installs_nothing_from_pypi_without_a_hash() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (as_locked,) = re.findall(r"^AS_LOCKED := (.+)$", makefile, re.MULTILINE)
    text = makefile.replace("$(AS_LOCKED)", as_locked)
    installs = re.findall(r"\bpip(?: --python \S+)? install (.+)", text)
    assert len(installs) == 4
    assert [one for one in installs if "--require-hashes" not in one] == [
        "--no-deps --no-build-isolation -e ."
    ]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    "name", sorted({*FILES} - {requirements.TESTED, requirements.LITELLM, requirements.TOOLS})
)
def test_what_is_used_has_the_versions_that_are_tested(name: str, python: str) -> None:
    tested, used = pinned(requirements.TESTED, python), pinned(name, python)
    assert {one: used[one] for one in used.keys() & tested.keys() if used[one] != tested[one]} == {}


@pytest.mark.parametrize("name", FILES)
def test_what_slows_every_start_is_left_out(name: str) -> None:
    assert pinned(name, "3.12").keys() & set(requirements.LEFT_OUT) == set()


def test_what_is_deleted_in_a_pod_is_gone_and_fills_no_hidden_folder_of_the_home() -> None:
    assert AsyncLargeFileManager(config=settings()).delete_to_trash is False
    assert AsyncLargeFileManager().delete_to_trash is True


def test_the_page_offers_no_installation_into_an_image_that_nobody_can_write_to() -> None:
    name = settings().LabApp.extension_manager
    [manager] = metadata.entry_points(group="jupyterlab.extension_manager_v1", name=name)
    assert manager.load()().metadata.can_install is False


def settings() -> Config:
    """Return the configuration of a user's server in its image."""
    file = ROOT / "singleuser_image/jupyter_server_config.json"
    return Config(json.loads(file.read_text("utf-8")))
