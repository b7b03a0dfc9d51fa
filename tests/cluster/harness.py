"""
Our chart on a cluster, fake or real, and the people who use it.

    caesarion = Installation.install(cluster, "caesarion", values)
    ada = caesarion.login("ada")
    ada.start_server()
    async with open_chat(caesarion.server_of(ada), "a.chat") as chat:
        await chat.ask("hello")

The cluster is the fake one, or with ``CAESARION_TEST_CLUSTER=1`` the one that
``KUBECONFIG`` names. On the fake one our images are this checkout, unless
``CAESARION_TEST_IMAGES`` names a folder with ``hub`` and ``singleuser`` unpacked
in it. The images of a real cluster are named by ``CAESARION_TEST_HUB_IMAGE`` and
``CAESARION_TEST_SINGLEUSER_IMAGE``, as ``name:tag``.
"""

import base64
import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests import helm
from tests.cluster.real import RealCluster, is_asked_for
from tests.fakes.kubernetes.cluster import Cluster, running_cluster
from tests.fakes.kubernetes.node import images
from tests.fakes.kubernetes.node.images import Image
from tests.hub import Session

AnyCluster = Cluster | RealCluster
Json = dict[str, Any]

RELEASE = "caesarion"
READY_WITHIN = 180
"""Seconds; on a real cluster the images are pulled first."""

# A gateway that answers late because the machine is busy stays in service.
PATIENT: Json = {"timeoutSeconds": 30}

VALUES: Json = {
    "auth": {"adminUsers": ["admin"]},
    "gateway": {"livenessProbe": PATIENT, "readinessProbe": PATIENT},
    "hub": {
        "config": {
            # Our own default, said where the fake node can put the pod's address instead.
            "JupyterHub": {"hub_bind_url": "http://0.0.0.0:8081"},
            # The fake cluster's pods share 127.0.0.1, where a hundred ports of twenty kernels,
            # each chosen some time before it is taken, would meet now and then.
            "KubeSpawner": {"args": ["--KernelManager.transport=ipc"]},
        }
    },
}


@contextlib.contextmanager
def open_any_cluster(folder: Path) -> Iterator[AnyCluster]:
    """Provide the cluster that the environment names, or a fake one that lives in ``folder``."""
    if is_asked_for():
        with contextlib.ExitStack() as closing:
            yield RealCluster(closing)
    else:
        with running_cluster(folder, catalogue=built_images()) as cluster:
            yield cluster


def built_images() -> dict[str, Image]:
    """Return our images as they were really built, if the environment says where."""
    where = os.environ.get("CAESARION_TEST_IMAGES")
    if not where:
        return {}
    folders = {images.HUB: "hub", images.SINGLEUSER: "singleuser"}
    return {name: Image.built(Path(where, folder)) for name, folder in folders.items()}


def image_values() -> Json:
    """Return which images to install, as the environment says."""
    found: Json = {}
    for section in ("hub", "singleuser"):
        if whole := os.environ.get(f"CAESARION_TEST_{section.upper()}_IMAGE"):
            name, _, tag = whole.rpartition(":")
            found[section] = {"image": {"name": name, "tag": tag}}
    return found


@dataclass(frozen=True)
class UserServer:
    """A user's Jupyter server behind the proxy, for ``tests.chat``."""

    url: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What lets a request in."""
        return {"Authorization": f"token {self.token}"}

    def client(self) -> httpx.AsyncClient:
        """Return a client that is let in; its paths are relative to the server's address."""
        return httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=60)

    async def touch(self, path: str) -> None:
        """Make an empty file, unless there is one."""
        folder, _, _ = path.rpartition("/")
        async with self.client() as http:
            if folder:
                made = await http.put(f"api/contents/{quote(folder)}", json={"type": "directory"})
                made.raise_for_status()
            file = f"api/contents/{quote(path)}"
            if (await http.get(file, params={"content": 0})).status_code == 404:
                empty = {"type": "file", "format": "text", "content": ""}
                (await http.put(file, json=empty)).raise_for_status()


@dataclass
class Installation:
    """One release of our chart."""

    cluster: AnyCluster
    namespace: str
    values: tuple[Json, ...]
    url: str = ""
    """Where the proxy is, without a slash at the end."""
    sessions: list[Session] = field(default_factory=list)

    @classmethod
    def install(cls, cluster: AnyCluster, namespace: str, *values: Json) -> "Installation":
        """Install the chart and wait until everything is ready."""
        installation = cls(cluster, namespace, (VALUES, image_values(), *values))
        installation.upgrade("--install", "--create-namespace")
        installation.url = cluster.url_of(namespace, f"{RELEASE}-proxy")
        return installation

    @classmethod
    @contextlib.contextmanager
    def installed(
        cls, cluster: AnyCluster, namespace: str, *values: Json, others: Sequence[str] = ()
    ) -> Iterator["Installation"]:
        """Have the chart installed while the block runs; ``others`` are the chart's namespaces."""
        installation = cls.install(cluster, namespace, *values)
        try:
            yield installation
        finally:
            installation.close()
            if isinstance(cluster, RealCluster):  # the other one goes, with all that is in it
                installation.uninstall()
                for other in others:
                    cluster.kubectl("delete", "namespace", other)

    def upgrade(self, *options: str, values: tuple[Json, ...] = ()) -> None:
        """Upgrade the release, with ``values`` on top of those it was installed with."""
        table = functools.reduce(helm.merge, (*self.values, *values))
        self.cluster.helm(
            *("upgrade", RELEASE, str(helm.CHART), "--namespace", self.namespace),
            *("--values=-", "--wait", f"--timeout={READY_WITHIN}s", *options),
            text=helm.as_yaml(table),
        )

    def close(self) -> None:
        """Let go of all who have logged in."""
        for session in self.sessions:
            session.close()

    def uninstall(self) -> None:
        """Remove the release and its namespace, with everything in it."""
        self.cluster.helm("uninstall", RELEASE, "--namespace", self.namespace, "--wait")
        self.cluster.kubectl("delete", "namespace", self.namespace)

    def key(self, name: str) -> str:
        """Return one of the keys that the chart has made."""
        secret = self.cluster.get(self.namespace, "secret", f"{RELEASE}-keys")
        return base64.b64decode(secret["data"][name]).decode()

    def login(self, user: str, password: str = "") -> Session:
        """Log a user in, with the password that the chart has made unless one is given."""
        session = Session(self.url, user)
        self.sessions.append(session)
        password = password or self.key("admin_password" if user == "admin" else "user_password")
        session.log_in(password).raise_for_status()
        return session

    def server_of(self, session: Session) -> UserServer:
        """Return the running server of a user."""
        return UserServer(f"{self.url}/user/{quote(session.user)}/", session.token())

    def pods(self, component: str) -> list[Json]:
        """Return the pods of one component, such as ``hub`` or ``singleuser-server``."""
        labels = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
        return list(self.cluster.get(self.namespace, "pods", "--selector", labels)["items"])

    def pod_of(self, user: str) -> Json | None:
        """Return the pod of a user's server, None if there is none."""
        marked = [
            pod
            for pod in self.pods("singleuser-server")
            if pod["metadata"]["annotations"].get("hub.jupyter.org/username") == user
        ]
        return marked[0] if marked else None

    def log_of(self, component: str) -> str:
        """Return the log of a component's first pod."""
        name = self.pods(component)[0]["metadata"]["name"]
        return self.cluster.kubectl("logs", "--namespace", self.namespace, name)

    def report(self) -> str:
        """Return what somebody wants to see whose test has failed."""
        parts = [self.cluster.report()]
        parts += [self._said("get", what, "--output=wide") for what in ("pods", "events")]
        for component in ("hub", "proxy", "gateway"):
            labels = f"app.kubernetes.io/component={component}"
            parts += [f"--- {component}", self._said("logs", "--tail=60", "--selector", labels)]
        return "\n".join(parts)

    def _said(self, *arguments: str) -> str:
        try:
            return self.cluster.kubectl("--namespace", self.namespace, *arguments)
        except helm.RefusedError as error:
            return str(error)


def eventually(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until ``condition`` holds, where nobody tells of it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.1)
