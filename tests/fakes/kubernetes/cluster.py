"""
The fake cluster as a thing that starts and stops: API server, controllers and node.

    with running_cluster(folder) as cluster:
        cluster.helm("install", "caesarion", "helm/caesarion", "--wait")
        httpx.get(cluster.url_of("default", "caesarion-proxy"))

Each is a process of its own, so that one can be away while the others go on.
When the block ends, or this process does, no process, mount or cgroup is left.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from tests import helm
from tests.fakes.kubernetes.apiserver.control import Control
from tests.fakes.kubernetes.controllers import volumes
from tests.fakes.kubernetes.node import ability, images
from tests.fakes.kubernetes.node.images import Image
from tests.fakes.kubernetes.node.kubelet import Machine
from tests.fakes.kubernetes.node.sandbox import die_with_parent
from tests.forks import forked
from tests.hub import REPOSITORY, clean_environment

PROGRAMS = ("apiserver", "controllers", "node")
READY_WITHIN = 180.0
STOPPED_WITHIN = 90.0

_clusters = itertools.count()


@dataclass
class Cluster:
    """A cluster that can be talked to."""

    folder: Path
    outside: int
    """Services are reached from this process at 127.<outside>."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """Of a user who may do everything."""
        return self.folder / "kubeconfig"

    @property
    def control(self) -> Control:
        """What goes wrong on purpose in the API server, and what RBAC has denied."""
        return Control(self.kubeconfig)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Return what kubectl prints; raises :class:`tests.helm.RefusedError`."""
        return helm.run(["--kubeconfig", str(self.kubeconfig), *arguments], text, "kubectl")

    def helm(self, *arguments: str, text: str | None = None) -> str:
        """Return what helm prints; raises :class:`tests.helm.RefusedError`."""
        return helm.run(["--kubeconfig", str(self.kubeconfig), *arguments], text)

    def get(self, namespace: str, *what: str) -> Any:
        """Return what ``kubectl get`` finds, as JSON."""
        return json.loads(self.kubectl("get", "--namespace", namespace, "-o", "json", *what))

    def url_of(self, namespace: str, service: str) -> str:
        """Return where the first port of a Service is, without a slash at the end."""
        spec = self.get(namespace, "service", service)["spec"]
        _, _, rest = spec["clusterIP"].split(".", maxsplit=2)
        return f"http://127.{self.outside}.{rest}:{spec['ports'][0]['port']}"

    def denials(self) -> list[dict[str, str]]:
        """Return the calls that RBAC has refused so far."""
        with self.control as control:
            return control.denials()

    def set_image(self, name: str, image: Image | None) -> None:
        """Say what stands for an image; nothing does for None."""
        file = self.folder / "images.json"
        registry = images.Registry(file).catalogue()
        registry.pop(name, None)
        images.write(file, {**({name: image} if image else {}), **registry})

    def report(self) -> str:
        """Return what somebody wants to see whose test has failed."""
        parts = []
        for file in sorted(self.folder.glob("*.log")):
            parts += [f"--- {file.name}", _end(file)]
        for file in sorted(self.folder.glob("logs/*/*/*.log")):
            parts += [f"--- {file.relative_to(self.folder)}", _end(file)]
        return "\n".join(parts)

    def start(self, program: str) -> None:
        """Start one of the cluster's programs."""
        arguments = [f"--outside={self.outside}"] if program == "node" else []
        with (self.folder / f"{program}.log").open("ab") as log, forked():
            self.processes[program] = _start(program, self.folder, arguments, log)

    def stop(self, program: str) -> None:
        """Stop one of the cluster's programs; with the node its pods end."""
        process = self.processes.pop(program)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOPPED_WITHIN)
        finally:
            process.kill()
        assert code == 0, f"{program} ended with {code}\n{_end(self.folder / f'{program}.log')}"


@contextmanager
def running_cluster(
    folder: Path,
    *,
    machines: Sequence[Machine] = (Machine("node-1"),),
    catalogue: Mapping[str, Image] | None = None,
) -> Iterator[Cluster]:
    """
    Run a cluster whose state lies in ``folder`` until the block ends.

    ``machines`` are its nodes; ``catalogue`` adds images to those that it knows
    (see ``node.images``). Yields when the API server answers; raises
    :class:`tests.fakes.kubernetes.node.ability.UnableError` where pods cannot run.
    """
    ability.check()
    folder.mkdir(parents=True, exist_ok=True)
    images.write(folder / "images.json", images.make_default() | dict(catalogue or {}))
    (folder / "machines.json").write_text(json.dumps([asdict(one) for one in machines]))
    cluster = Cluster(folder, 100 + (os.getpid() + next(_clusters)) % 150)
    try:
        cluster.start("apiserver")
        _wait_for_api(cluster)
        cluster.kubectl("create", "--filename=-", text=json.dumps(volumes.CLASS))
        cluster.start("controllers")
        cluster.start("node")
        yield cluster
    finally:
        for program in reversed(PROGRAMS):
            if program in cluster.processes:
                cluster.stop(program)


def _start(
    program: str, folder: Path, arguments: Sequence[str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.fakes.kubernetes.{program}", str(folder), *arguments],
        cwd=REPOSITORY,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


def _wait_for_api(cluster: Cluster) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not cluster.kubeconfig.exists():
        if cluster.processes["apiserver"].poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the API server did not start\n{cluster.report()}")
        time.sleep(0.02)


def _end(file: Path, lines: int = 60) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
