"""
Checks images that were built: ``python3 -m deploy.image_check hub dist/images/hub``.

Reads an OCI layout, as buildah and skopeo write it, and looks at every platform in it: the
configuration (labels, user, entry point) and the files of all layers. An image holds the
packages of its lock and no others, no tool that builds, and no cache. Prints what is wrong.
Called by ``deploy/pipeline.sh images``; Python's standard library.
"""

import fnmatch
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {"hub": "hub_config/requirements.txt", "singleuser": "singleuser_image/requirements.txt"}
OF_PYTHON = {"pip", "setuptools"}
"""What Python puts into an environment, the latter before 3.12: for images built on ours."""

OUR_OWN = {"hub": OF_PYTHON, "singleuser": OF_PYTHON | {"caesarion"}}
"""Distributions that are in no lock."""

LABELS = ("title", "description", "licenses", "version", "revision", "created")
ENTRYPOINT = ["tini", "-g", "--"]
USER = "1000:100"

NOT_THERE = {
    "a compiler": ("usr/bin/*gcc*", "usr/bin/*g++*", "usr/bin/cc", "usr/bin/make", "usr/bin/ld"),
    "a package manager of Node": ("*/bin/npm", "*/bin/npx", "*/node_modules/npm/*"),
    "a cache": (
        *("*/.cache/*", "*/.npm/*", "var/lib/apt/lists/*_*", "var/cache/apt/*.bin"),
        "var/cache/apt/archives/*.deb",
    ),
    "what only the build needs": ("build/*", "src/*", "dist/*", "*.whl"),
    "a repository or a secret": ("*/.git/*", "*/.env", "*/id_rsa", "*/.netrc", "*/.npmrc"),
}
"""Patterns of paths, without a slash at the beginning."""

EXCEPT = ("*/site-packages/*", "*/ensurepip/_bundled/*", "usr/share/*", "usr/lib/python3*/*")
"""Where packages bring files that look the same: pip's own wheel, examples."""

Json = dict[str, Any]


class LayoutError(Exception):
    """The folder is no OCI layout that can be read; the message is a sentence."""


class Layout:
    """An OCI layout in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def images(self) -> Iterator[tuple[str, Json, set[str]]]:
        """Yield platform, configuration and files of each image."""
        try:
            index = json.loads((self._folder / "index.json").read_text())
        except OSError as error:
            raise LayoutError(f"{self._folder} is no OCI layout: {error.strerror}.") from error
        yield from self._of(index)

    def _of(self, index: Json) -> Iterator[tuple[str, Json, set[str]]]:
        for entry in index["manifests"]:
            inner = self._json(entry["digest"])
            if "manifests" in inner:
                yield from self._of(inner)
                continue
            config = self._json(inner["config"]["digest"])
            platform = f"{config['os']}/{config['architecture']}"
            yield platform, config["config"], self._files(inner["layers"])

    def _files(self, layers: list[Json]) -> set[str]:
        """Return the paths of all files, after what upper layers delete."""
        found: set[str] = set()
        for layer in layers:
            with tarfile.open(self._blob(layer["digest"])) as archive:
                names = {str(PurePosixPath(one.name)): one.isdir() for one in archive}
            for name in names:
                path = PurePosixPath(name)
                if path.name == ".wh..wh..opq":
                    found = {one for one in found if not one.startswith(f"{path.parent}/")}
                elif path.name.startswith(".wh."):
                    gone = str(path.with_name(path.name.removeprefix(".wh.")))
                    found = {o for o in found if o != gone and not o.startswith(f"{gone}/")}
            found |= {
                name
                for name, is_folder in names.items()
                if not is_folder and not PurePosixPath(name).name.startswith(".wh.")
            }
        return found

    def _json(self, digest: str) -> Json:
        read: Json = json.loads(self._blob(digest).read_text())
        return read

    def _blob(self, digest: str) -> Path:
        return self._folder / "blobs" / digest.replace(":", "/")


def locked(name: str) -> set[str]:
    """Return the distributions that an image's lock names."""
    text = (ROOT / LOCKS[name]).read_text("utf-8")
    return set(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==", text, re.MULTILINE))


def installed(files: set[str]) -> set[str]:
    """Return the distributions in the image's Python environment."""
    pattern = re.compile(r"opt/caesarion/lib/python3\.\d+/site-packages/([^/]+)-[^/-]+\.dist-info/")
    found = {match[1] for path in files if (match := pattern.match(path))}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def problems(name: str, config: Json, files: set[str]) -> Iterator[str]:
    """Yield what is wrong with an image, a sentence each."""
    labels = config.get("Labels") or {}
    for label in LABELS:
        if not labels.get(f"org.opencontainers.image.{label}"):
            yield f"The label org.opencontainers.image.{label} is missing."
    if config.get("User") != USER:
        yield f"It runs as {config.get('User') or 'root'!r}, not as {USER}."
    if config.get("Entrypoint") != ENTRYPOINT:
        yield f"Its entry point is {config.get('Entrypoint')}, not {ENTRYPOINT}."
    if odd := installed(files) - locked(name) - OUR_OWN[name]:
        yield f"It has packages that are not in {LOCKS[name]}: {', '.join(sorted(odd))}."
    for what, patterns in NOT_THERE.items():
        found = sorted(
            path
            for path in files
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
            and not any(fnmatch.fnmatchcase(path, pattern) for pattern in EXCEPT)
        )
        if found:
            yield f"It has {what}: {', '.join(found[:3])}."


def main(name: str, folder: str) -> int:
    """Check every platform of an image; return the exit status."""
    failed = 0
    try:
        for platform, config, files in Layout(Path(folder)).images():
            found = list(problems(name, config, files))
            failed |= bool(found)
            for one in found:
                print(f"{name} for {platform}: {one}", file=sys.stderr)
            if not found:
                print(f"{name} for {platform}: as it should be, {len(files)} files.")
    except LayoutError as error:
        print(error, file=sys.stderr)
        return 2
    return failed


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in LOCKS:
        print("python3 -m deploy.image_check hub|singleuser FOLDER", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
