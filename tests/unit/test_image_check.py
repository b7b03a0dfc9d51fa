"""The check of built images: a layout like buildah's, with one fault at a time."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy import image_check

SITE = "opt/caesarion/lib/python3.12/site-packages"
GOOD = [
    f"{SITE}/jupyterhub-6.1.1.dist-info/METADATA",
    f"{SITE}/pip-26.0.dist-info/METADATA",
    f"{SITE}/pip/_vendor/x.whl",
    "usr/local/bin/node",
]
CONFIG: dict[str, Any] = {
    "User": "1000:100",
    "Entrypoint": ["tini", "-g", "--"],
    "Labels": {f"org.opencontainers.image.{name}": "x" for name in image_check.LABELS},
}


def write_blob(folder: Path, content: bytes) -> str:
    """Write a blob and return its digest."""
    digest = hashlib.sha256(content).hexdigest()
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / digest).write_bytes(content)
    return f"sha256:{digest}"


def write_layer(folder: Path, files: list[str]) -> dict[str, str]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in files:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return {"digest": write_blob(folder, gzip.compress(packed.getvalue()))}


def write_layout(folder: Path, layers: list[list[str]], config: dict[str, Any] = CONFIG) -> Path:
    """Write a layout of one platform, in an index of its own as of a manifest list."""
    whole = {"os": "linux", "architecture": "arm64", "config": config}
    manifest = {
        "config": {"digest": write_blob(folder, json.dumps(whole).encode())},
        "layers": [write_layer(folder, files) for files in layers],
    }
    inner = {"manifests": [{"digest": write_blob(folder, json.dumps(manifest).encode())}]}
    index = {"manifests": [{"digest": write_blob(folder, json.dumps(inner).encode())}]}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_a_good_image_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert image_check.main("hub", str(write_layout(tmp_path, [GOOD]))) == 0
    assert capsys.readouterr().out == "hub for linux/arm64: as it should be, 4 files.\n"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"User": ""}, "It runs as 'root', not as 1000:100."),
        ({"Entrypoint": None}, "Its entry point is None, not ['tini', '-g', '--']."),
        ({"Labels": {}}, "The label org.opencontainers.image.version is missing."),
    ],
    ids=str,
)
def test_a_wrong_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: dict[str, Any], sentence: str
) -> None:
    assert image_check.main("hub", str(write_layout(tmp_path, [GOOD], CONFIG | config))) == 1
    assert f"hub for linux/arm64: {sentence}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("usr/bin/x86_64-linux-gnu-gcc-12", "It has a compiler: usr/bin/x86_64-linux-gnu-gcc-12."),
        ("usr/local/bin/npm", "It has a package manager of Node: usr/local/bin/npm."),
        ("root/.cache/pip/http/a", "It has a cache: root/.cache/pip/http/a."),
        ("dist/caesarion.whl", "It has what only the build needs: dist/caesarion.whl."),
        ("src/.git/config", "It has a repository or a secret: src/.git/config."),
        (
            f"{SITE}/pandas-3.0.0.dist-info/METADATA",
            "It has packages that are not in hub_config/requirements.txt: pandas.",
        ),
    ],
    ids=lambda text: text.rpartition("/")[2],
)
def test_what_an_image_does_not_need_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, sentence: str
) -> None:
    assert image_check.main("hub", str(write_layout(tmp_path, [GOOD, [file]]))) == 1
    assert f"hub for linux/arm64: {sentence}\n" in capsys.readouterr().err


def test_what_an_upper_layer_deletes_is_not_there(tmp_path: Path) -> None:
    upper = ["usr/bin/.wh.make", "root/.cache/.wh..wh..opq"]
    layers = [[*GOOD, "usr/bin/make", "root/.cache/pip/a"], upper]
    assert image_check.main("hub", str(write_layout(tmp_path, layers))) == 0


def test_a_folder_without_an_image_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert image_check.main("hub", str(tmp_path)) == 2
    assert capsys.readouterr().err.endswith("is no OCI layout: No such file or directory.\n")
