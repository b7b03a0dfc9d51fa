"""
Installs Groovy for the runner of Jenkinsfiles: ``install_groovy.py FOLDER``.

Called by the Makefile. Two jars are extracted from an npm package that contains them, of
which npm installs nothing else; the package's hash is checked.
"""

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "npm-groovy-lint@16.2.0"
SHA512 = "VSUg+KDWUf62rLGLzcXQefpVmSMjM+l+lsjbnEnBqeJW+Cn7NZanpzZFJ7AoWd3aNHQU8o4BvnfjGxAa+Ro8tw=="
"""Of the package's archive, as npm's locks have it."""

FOLDER = "package/lib/java/groovy/lib"
JARS = ("groovy-4.0.26.jar", "groovy-json-4.0.26.jar")


def main(folder: Path) -> int:
    """Write the jars into ``folder``; raise ValueError if the package has another hash."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", "--pack-destination", scratch, PACKAGE]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        archive = next(Path(scratch).glob("*.tgz"))
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != SHA512:
            raise ValueError(f"{PACKAGE} has the SHA-512 {found}, not {SHA512}.")
        with tarfile.open(archive) as package:
            for name in JARS:
                jar = package.extractfile(f"{FOLDER}/{name}")
                if jar is None:
                    raise FileNotFoundError(f"{PACKAGE} holds no {name}")
                (folder / name).write_bytes(jar.read())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
