"""What a forked pod runs is where an executed one would be: user, root, rights, network."""

import functools
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.cluster.harness import AnyCluster, Json, eventually
from tests.cluster.test_node import image, make_pod
from tests.fakes.kubernetes.cluster import Cluster
from tests.fakes.kubernetes.node import images

NAMESPACE = "forked-pods"

LOOK = """
import os, socket, sys
def rights(name):
    return open("/proc/self/status").read().split(name + ":")[1].split()[0]
print(os.getuid(), os.getgid(), os.getgroups(), os.getcwd(), socket.gethostname(), sys.argv)
print([rights(name) for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "SigIgn", "SigBlk")])
print(sorted(os.environ.items()), os.getppid(), os.getpgid(0) == os.getpid())
print([os.access(path, os.W_OK) for path in ("/", "/tmp", "/look", "/proc/self/environ")])
print(sorted(os.listdir("/")), sorted(os.listdir("/proc/self/fd"))[:3], os.umask(0))
print([line.rpartition("/")[2] for line in open("/proc/self/cgroup").read().splitlines()])
print(open("/proc/net/dev").read().count(":"), not sys.flags.safe_path, sys.path[0])
sys.exit(7)
"""


@pytest.fixture
def forked_image(cluster: AnyCluster) -> Iterator[str]:
    """The name of an image of the hub whose programs are forked."""
    if not isinstance(cluster, Cluster):
        pytest.skip("A real cluster forks nothing.")
    name = "caesarion/hub:forked"
    cluster.set_image(name, replace(images.make_default()[images.HUB], forked=True))
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield name
    cluster.kubectl("delete", "namespace", NAMESPACE)
    cluster.set_image(name, None)


def make_looking_pod(name: str, image: str) -> Json:
    """Return a pod that runs the code of the Secret ``look`` as the configuration of a hub."""
    volume = {"name": "look", "secret": {"secretName": "look"}}
    container = {
        "image": image,
        "command": None,
        "args": ["python", "-m", "caesarion_hub", "--config", "/look/config.py"],
        "env": [],
        "volumeMounts": [{"name": "look", "mountPath": "/look", "readOnly": True}],
    }
    pod = make_pod(name, container=container, hostname="same", volumes=[volume])
    pod["metadata"]["namespace"] = NAMESPACE
    return pod


def test_a_forked_pod_differs_in_nothing_that_it_can_see(
    cluster: AnyCluster, forked_image: str
) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "look", "namespace": NAMESPACE},
        "stringData": {"config.py": LOOK},
    }
    for thing in (
        secret,
        make_looking_pod("executed", image()),
        make_looking_pod("forked", forked_image),
    ):
        cluster.kubectl("create", "--filename=-", text=json.dumps(thing))

    def end_of(name: str) -> Json:
        found = cluster.get(NAMESPACE, "pod", name)["status"].get("containerStatuses") or [{}]
        ended: Json = found[0].get("state", {}).get("terminated", {})
        return ended

    def has_ended(name: str) -> bool:
        return bool(end_of(name))

    logs = []
    for name in ("executed", "forked"):
        eventually(functools.partial(has_ended, name))
        assert end_of(name)["exitCode"] == 7
        logs.append(cluster.kubectl("logs", "--namespace", NAMESPACE, name))
    executed, forked = logs
    assert executed.startswith("1000 100 [100, 2000] /srv/jupyterhub same")
    assert forked == executed
