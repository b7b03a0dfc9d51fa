"""
The registry of the fake cluster: which image names there are and what stands for them.

The catalogue is a JSON file that tests may change at any time. An image is
either this checkout, ``"rootfs": null``: what the image would have installed is
taken from the environment that the tests run in; or the folder of a root file
system, as buildah has built it. Pulling takes as long as the catalogue says and
fails as often as it says.
"""

import asyncio
import fnmatch
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

HUB = "caesarion/hub:*"
SINGLEUSER = "caesarion/singleuser:*"
PAUSE = "registry.k8s.io/pause:*"


class PullError(Exception):
    """An image could not be pulled; the message is what a container runtime says."""


@dataclass
class Image:
    """What stands for an image, and how pulling it goes."""

    rootfs: str | None = None
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0"
    """A number, or a number and a group's: ``1000:100``."""
    folder: str = "/"
    forked: bool = False
    """Whether programs of ours are forked where they would be executed: see ``node.forked``."""
    pull_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    """What the next pulls fail with, one each."""

    @classmethod
    def built(cls, folder: Path) -> "Image":
        """
        Return an image that was really built, unpacked in a folder.

        It holds ``rootfs/`` and ``config.json``, which is the table ``config`` of
        the image's configuration: what ``buildah inspect`` shows as OCIv1.config.
        """
        config = json.loads((folder / "config.json").read_text())
        return cls(
            rootfs=str(folder / "rootfs"),
            entrypoint=config.get("Entrypoint") or [],
            command=config.get("Cmd") or [],
            environment=dict(one.split("=", 1) for one in config.get("Env") or []),
            user=config.get("User") or "0",
            folder=config.get("WorkingDir") or "/",
        )

    @property
    def uid(self) -> int:
        return int(self.user.partition(":")[0] or 0)

    @property
    def gid(self) -> int:
        return int(self.user.partition(":")[2] or 0)


def make_default() -> dict[str, Image]:
    """Return the images that every fake cluster knows: ours, and the pause image."""
    entrypoint = ["tini", "-g", "--"]
    return {
        HUB: Image(
            entrypoint=entrypoint,
            command=[
                "python",
                "-m",
                "caesarion_hub",
                "--config",
                "/usr/local/etc/caesarion/jupyterhub_config.py",
            ],
            user="1000:100",
            folder="/srv/jupyterhub",
        ),
        SINGLEUSER: Image(
            entrypoint=entrypoint,
            command=["caesarion-singleuser"],
            user="1000:100",
            folder="/home/jovyan",
        ),
        PAUSE: Image(entrypoint=[*entrypoint, "sleep", "infinity"], user="65535:65535"),
    }


class Registry:
    """The catalogue in a file, and which of its images the node has pulled."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._present: set[str] = set()

    def catalogue(self) -> dict[str, Image]:
        return {name: Image(**image) for name, image in json.loads(self._file.read_text()).items()}

    def present(self, name: str) -> bool:
        return name in self._present

    async def pull(self, name: str) -> None:
        """Fetch an image; raises :class:`PullError`."""
        catalogue = self.catalogue()
        pattern = self._match(catalogue, name)
        image = catalogue[pattern]
        await asyncio.sleep(image.pull_seconds)
        if image.failures:
            failure, *image.failures = image.failures
            write(self._file, catalogue)
            raise PullError(f'failed to pull and unpack image "{reference(name)}": {failure}')
        self._present.add(name)

    def find(self, name: str) -> Image:
        """Return what stands for an image; raises :class:`PullError` if there is none."""
        catalogue = self.catalogue()
        return catalogue[self._match(catalogue, name)]

    def _match(self, catalogue: dict[str, Image], name: str) -> str:
        for pattern in catalogue:
            if fnmatch.fnmatchcase(name if ":" in name else f"{name}:latest", pattern):
                return pattern
        whole = reference(name)
        raise PullError(
            f'failed to pull and unpack image "{whole}": failed to resolve reference "{whole}": '
            f"{whole}: not found"
        )


def write(file: Path, catalogue: dict[str, Image]) -> None:
    """Write a catalogue whole, for a registry that may read at this moment."""
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps({name: asdict(image) for name, image in catalogue.items()}))
    scratch.rename(file)


def reference(name: str) -> str:
    """Return an image's name in full, as container runtimes print it."""
    host, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not ("." in host or ":" in host or host == "localhost"):
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
