"""
What is true of every node: mounts, users, limits, probes, restarts, the words for failures.

The pods run Python out of the hub's image. All are made at once, in a namespace
of their own, and each test looks at some of them.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.harness import AnyCluster, eventually, image_values

Json = dict[str, Any]

NAMESPACE = "node-tests"
SECURE: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
SERVER = """
import http.server, os, signal, sys, threading, time
ready = time.monotonic() + 2
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.path == "/" or (self.path == "/late" and time.monotonic() > ready)
        self.send_response(200 if ok else 500)
        self.end_headers()
        self.wfile.write(os.environ["NAME"].encode())
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print("started", flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", 8765), Handler).serve_forever()
"""
LOOK = """
import errno, os, socket
print(os.getuid(), os.getgid(), sorted(os.getgroups()))
for path in ("/tmp/a", "/data/a", "/fixed/a", "/a"):
    try:
        open(path, "w").close()
        print(path, "written")
    except OSError as error:
        print(path, errno.errorcode[error.errno])
print(open("/fixed/word").read(), open("/one").read(), os.environ["WORD"], os.environ["BOTH"])
print(os.path.exists("/var/run/secrets"), os.path.exists("/proc/2"), socket.gethostname())
print(socket.gethostbyname("late.node-tests.svc.cluster.local") != "")
print(open("/proc/self/status").read().split("CapBnd:")[1].split()[0])
"""


def image() -> str:
    """Return an image with Python in it."""
    told = image_values().get("hub", {}).get("image", {"name": "caesarion/hub", "tag": "0.1.0"})
    return f"{told['name']}:{told['tag']}"


def make_pod(name: str, code: str = "pass", *, container: Json | None = None, **spec: Any) -> Json:
    """Return a restricted pod that runs some Python."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsUser": 1000,
                "runAsGroup": 100,
                "fsGroup": 2000,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image(),
                    "command": ["python", "-c", code],
                    "env": [{"name": "NAME", "value": name}],
                    "securityContext": SECURE,
                    **(container or {}),
                }
            ],
            **spec,
        },
    }


def make_service(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8765}]},
    }


def probe(path: str, **settings: Any) -> Json:
    return {"httpGet": {"path": path, "port": 8765}, "periodSeconds": 1, **settings}


def make_things() -> Iterator[Json]:
    """Yield everything that the tests look at."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    text = {"word": "abracadabra"}
    where = {"name": "words", "namespace": NAMESPACE}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": where, "stringData": text}
    yield {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    word = {"secretKeyRef": {"name": "words", "key": "word"}}
    mounts = [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "data", "mountPath": "/data", "subPath": "inner"},
        {"name": "words", "mountPath": "/fixed", "readOnly": True},
        {"name": "words", "mountPath": "/one", "subPath": "word", "readOnly": True},
    ]
    yield make_pod(
        "look",
        LOOK,
        container={
            "env": [
                {"name": "WORD", "valueFrom": word},
                {"name": "BOTH", "value": "$(WORD) $(NONE) $$(WORD)"},
            ],
            "volumeMounts": mounts,
        },
        volumes=[
            {"name": "tmp", "emptyDir": {}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "words", "secret": {"secretName": "words"}},
        ],
    )
    limits = {"limits": {"memory": "64Mi", "cpu": "500m"}}
    hungry = "import time; hoard = bytearray(200 << 20)"
    yield make_pod("hungry", hungry, container={"resources": limits})
    yield make_pod("faulty", "import sys; sys.exit(7)")
    yield make_pod("crashing", "import sys; sys.exit(1)", restartPolicy="Always")
    yield make_pod("unknown", container={"image": "caesarion-tests.invalid/none:1"})
    yield make_pod("rootless", container={"securityContext": {**SECURE, "runAsUser": 0}})
    lost = {"secretKeyRef": {"name": "later", "key": "word"}}
    yield make_pod("waiting", container={"env": [{"name": "WORD", "valueFrom": lost}]})
    yield make_pod("missing", container={"command": ["no-such-program"]})
    yield make_pod("huge", container={"resources": {"requests": {"memory": "900Ti"}}})
    first = {**make_pod("x", "import sys; sys.exit(4)")["spec"]["containers"][0], "name": "first"}
    yield make_pod("unready", initContainers=[first])
    yield make_pod("late", SERVER, container={"readinessProbe": probe("/late")})
    yield make_service("late")
    sick = probe("/", failureThreshold=1, initialDelaySeconds=3) | {
        "httpGet": {"path": "/sick", "port": 8765}
    }
    yield make_pod("sick", SERVER, container={"livenessProbe": sick}, restartPolicy="Always")


@pytest.fixture(scope="module")
def things(cluster: AnyCluster) -> Iterator[Callable[[str], Json]]:
    """Return a pod's status as it is now."""
    text = "\n---\n".join(json.dumps(thing) for thing in make_things())
    cluster.kubectl("apply", "--filename=-", text=text)

    def status(name: str) -> Json:
        found: Json = cluster.get(NAMESPACE, "pod", name)["status"]
        return found

    yield status
    cluster.kubectl("delete", "namespace", NAMESPACE)


def log_of(cluster: AnyCluster, name: str) -> str:
    return cluster.kubectl("logs", "--namespace", NAMESPACE, name)


def state_of(status: Json, kind: str = "containerStatuses") -> tuple[str, str]:
    """Return what a pod's container does, and the reason for it."""
    for one in status.get(kind) or []:
        ((word, detail),) = one["state"].items()
        return word, detail.get("reason", "")
    return "", ""


def events_of(cluster: AnyCluster, name: str) -> str:
    chosen = f"--field-selector=involvedObject.name={name}"
    found = cluster.get(NAMESPACE, "events", chosen)["items"]
    return "\n".join(f"{one['reason']}: {one['message']}" for one in found)


def test_a_container_has_the_user_the_mounts_and_the_root_that_its_pod_says(
    cluster: AnyCluster, things: Callable[[str], Json]
) -> None:
    eventually(lambda: things("look").get("phase") == "Succeeded")
    assert log_of(cluster, "look").splitlines() == [
        "1000 100 [100, 2000]",
        "/tmp/a written",
        "/data/a written",
        "/fixed/a EROFS",
        "/a EROFS",
        "abracadabra abracadabra abracadabra abracadabra $(NONE) $(WORD)",
        "False False look",
        "True",
        "0000000000000000",
    ]


def test_who_takes_more_memory_than_allowed_is_killed(things: Callable[[str], Json]) -> None:
    eventually(lambda: state_of(things("hungry"))[0] == "terminated")
    ended = things("hungry")["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_pod_that_is_not_restarted_keeps_the_status_of_its_end(
    things: Callable[[str], Json],
) -> None:
    eventually(lambda: things("faulty").get("phase") == "Failed")
    ended = things("faulty")["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("Error", 7)


def test_a_container_that_ends_again_and_again_is_restarted_later_and_later(
    things: Callable[[str], Json],
) -> None:
    eventually(lambda: state_of(things("crashing")) == ("waiting", "CrashLoopBackOff"))
    assert things("crashing")["containerStatuses"][0]["restartCount"] >= 1


def test_an_image_that_is_not_there_is_told_in_the_registrys_words(
    cluster: AnyCluster, things: Callable[[str], Json]
) -> None:
    eventually(lambda: state_of(things("unknown")) == ("waiting", "ImagePullBackOff"))
    told = events_of(cluster, "unknown")
    assert 'Failed: Failed to pull image "caesarion-tests.invalid/none:1"' in told
    assert "Failed: Error: ErrImagePull" in told
    assert things("unknown")["phase"] == "Pending"


def test_root_is_refused_where_the_pod_says_so(things: Callable[[str], Json]) -> None:
    eventually(lambda: state_of(things("rootless")) == ("waiting", "CreateContainerConfigError"))


def test_a_container_waits_for_its_secret(
    cluster: AnyCluster, things: Callable[[str], Json]
) -> None:
    eventually(lambda: state_of(things("waiting")) == ("waiting", "CreateContainerConfigError"))
    waiting = things("waiting")["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == 'secret "later" not found'
    arguments = ("create", "secret", "generic", "later", "--from-literal=word=x")
    cluster.kubectl(*arguments, "--namespace", NAMESPACE)
    eventually(lambda: things("waiting").get("phase") == "Succeeded")


def test_a_command_that_is_not_in_the_image_cannot_start(things: Callable[[str], Json]) -> None:
    eventually(lambda: things("missing").get("phase") == "Failed")
    ended = things("missing")["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)


def test_a_pod_that_fits_nowhere_waits_and_says_what_is_missing(
    cluster: AnyCluster, things: Callable[[str], Json]
) -> None:
    eventually(lambda: "FailedScheduling" in events_of(cluster, "huge"))
    assert "Insufficient memory" in events_of(cluster, "huge")
    assert things("huge")["phase"] == "Pending"


def test_nothing_starts_after_an_init_container_has_failed(
    things: Callable[[str], Json],
) -> None:
    eventually(lambda: things("unready").get("phase") == "Failed")
    assert state_of(things("unready"), "initContainerStatuses") == ("terminated", "Error")
    assert state_of(things("unready"))[0] == "waiting"


def test_a_service_has_a_pod_when_that_is_ready(
    cluster: AnyCluster, things: Callable[[str], Json]
) -> None:
    eventually(lambda: state_of(things("late"))[0] == "running")

    def ready() -> bool:
        slices = cluster.get(NAMESPACE, "endpointslices")["items"]
        return any(
            endpoint["conditions"]["ready"]
            for one in slices
            if one["metadata"]["labels"]["kubernetes.io/service-name"] == "late"
            for endpoint in one["endpoints"] or []
        )

    eventually(ready)
    conditions = {one["type"]: one["status"] for one in things("late")["conditions"]}
    assert conditions["Ready"] == "True"


def test_a_pod_that_fails_its_liveness_probe_is_restarted(
    cluster: AnyCluster, things: Callable[[str], Json]
) -> None:
    eventually(lambda: things("sick")["containerStatuses"][0]["restartCount"] >= 1)
    ended = things("sick")["containerStatuses"][0]["lastState"]["terminated"]
    assert ended["exitCode"] == 3
    assert "failed liveness probe, will be restarted" in events_of(cluster, "sick")


def test_limits_of_a_running_pod_can_be_changed(
    cluster: AnyCluster, things: Callable[[str], Json]
) -> None:
    pod = make_pod("resized", SERVER, container={"resources": {"limits": {"cpu": "1"}}})
    cluster.kubectl("create", "--filename=-", text=json.dumps(pod))
    eventually(lambda: state_of(things("resized"))[0] == "running")
    half = {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}}
    smaller = {"containers": [{"name": "main", "resources": half}]}
    cluster.kubectl(
        *("patch", "pod", "resized", "--namespace", NAMESPACE, "--subresource=resize"),
        *("--patch", json.dumps({"spec": smaller})),
    )

    def limit() -> str:
        status = things("resized")["containerStatuses"][0]
        return str(status["resources"]["limits"]["cpu"])

    eventually(lambda: limit() == "500m")
    assert things("resized")["containerStatuses"][0]["restartCount"] == 0


def test_a_pod_is_gone_when_its_deletion_is(
    cluster: AnyCluster, things: Callable[[str], Json]
) -> None:
    eventually(lambda: state_of(things("late"))[0] == "running")
    cluster.kubectl("delete", "pod", "late", "--namespace", NAMESPACE)
    names = [pod["metadata"]["name"] for pod in cluster.get(NAMESPACE, "pods")["items"]]
    assert "late" not in names
