"""Servers that wait for a user: claimed by users and sandboxes, kept over hubs and upgrades."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest

from tests.cluster.harness import AnyCluster, Installation, Json, eventually
from tests.cluster.test_spawner_death import ask, kill_hub, server_of
from tests.fakes.kubernetes.cluster import Cluster
from tests.hub import Session

pytestmark = pytest.mark.usefixtures("forked_pods")

ON: Json = {"singleuser": {"storage": {"type": "none"}, "warm": {"replicas": 1}}}
STATE = "caesarion.org/state"


def warm_pods(caesarion: Installation) -> dict[str, Json]:
    """Return the pods that wait, by name."""
    return {
        pod["metadata"]["name"]: pod
        for pod in caesarion.pods("singleuser-server")
        if pod["metadata"]["labels"].get(STATE) == "warm"
        and "deletionTimestamp" not in pod["metadata"]
    }


def metric(caesarion: Installation, name: str) -> float:
    """Return one of the hub's metrics; 0 while it is away."""
    [admin] = [each for each in caesarion.sessions if each.user == "admin"][-1:]
    try:
        text = admin.get("/hub/metrics").text
    except httpx.HTTPError:
        return 0
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def wait_for_one(caesarion: Installation, *others: str) -> Json:
    """Return the pod that waits, as soon as one can be claimed that is none of ``others``."""

    def is_ready() -> bool:
        if metric(caesarion, 'caesarion_warm_pods{state="ready"}') != 1:
            return False
        return len(warm_pods(caesarion).keys() - set(others)) == 1

    eventually(is_ready, 180)
    [pod] = warm_pods(caesarion).values()
    return pod


def run(caesarion: Installation, session: Session, code: str) -> str:
    """Run code in a session's kernel, and return what it printed."""
    server = caesarion.server_of(session)
    api = f"{server.url}caesarion/api/execute"
    body = {"code": code, "session_id": "warm"}
    answer = httpx.post(api, json=body, headers=server.headers, timeout=60)
    return str(json.loads(answer.text.splitlines()[0])["text"])


@pytest.fixture(scope="module")
def warm(caesarion: Installation) -> Iterator[Installation]:
    """The installation with one server that waits; in the end the orphan reaper deletes it."""
    caesarion.login("admin")
    caesarion.upgrade(values=(ON,))
    yield caesarion
    caesarion.upgrade()


def test_a_user_gets_the_server_that_waits_and_another_takes_its_place(warm: Installation) -> None:
    waiting = wait_for_one(warm)
    name = waiting["metadata"]["name"]
    session = warm.login("hypatia")
    assert session.start_server() == "/user/hypatia/"
    code = "import os; print(os.environ['JUPYTERHUB_USER'], os.uname().nodename, os.getcwd())"
    assert run(warm, session, code) == f"hypatia {name} /home/jovyan\n"
    assert "hypatia" not in json.dumps(waiting)
    pod = warm.pod_of("hypatia")
    assert pod
    assert pod["metadata"]["uid"] == waiting["metadata"]["uid"]
    assert STATE not in pod["metadata"]["labels"]
    assert metric(warm, 'caesarion_server_start_seconds_count{kind="warm"}') == 1
    wait_for_one(warm, name)


def test_a_sandbox_gets_one_too_with_its_own_variables(warm: Installation) -> None:
    name = wait_for_one(warm)["metadata"]["name"]
    headers = {"Authorization": f"Bearer {warm.login('sappho').token()}"}
    api = f"{warm.url}/services/api/sandboxes"

    def call(method: str, path: str, body: Any = None) -> httpx.Response:
        answer = httpx.request(method, f"{api}{path}", json=body, headers=headers, timeout=300)
        assert answer.is_success, answer.text
        return answer

    made = call("POST", "", {"timeout": 600, "env": {"TOWN": "Mytilene"}}).json()
    code = "import os; print(os.environ['TOWN'], os.uname().nodename)"
    done = call("POST", f"/{made['id']}/execute", {"code": code})
    assert f"Mytilene {name}\\n" in done.text
    call("DELETE", f"/{made['id']}")


def test_a_hub_that_is_killed_in_a_claim_leaves_each_pod_with_one_user_at_most(
    warm: Installation, cluster: AnyCluster
) -> None:
    if not isinstance(cluster, Cluster):
        pytest.skip("The processes of a real cluster's pods are not this machine's.")
    before = warm.pod_of("hypatia")
    assert before
    waiting = wait_for_one(warm)
    session, process = warm.login("theano"), process_of(waiting)
    process.send_signal(signal.SIGSTOP)  # so that the claim gets no answer
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(ask, session)
        eventually(lambda: warm.pod_of("theano") is not None)
        kill_hub(warm)
        process.send_signal(signal.SIGCONT)
        asked.result(120)

    def is_settled() -> bool:
        server, pod = server_of(session), warm.pod_of("theano")
        is_pending = server == "away" or (server and server["pending"])
        return not is_pending and bool(server) == bool(pod)

    eventually(is_settled, 180)
    assert session.start_server() == "/user/theano/"
    for each in ("theano", "hypatia"):
        code = "import os; print(os.environ['JUPYTERHUB_USER'])"
        assert run(warm, warm.login(each), code) == f"{each}\n"
    after = warm.pod_of("hypatia")
    assert after
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    session.stop_server()


def process_of(pod: Json) -> psutil.Process:
    """Return the process of a warm pod on the fake cluster's node."""
    [container] = pod["spec"]["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    for process in psutil.process_iter():
        try:
            if process.environ().get("CAESARION_CLAIM_NONCE") == env["CAESARION_CLAIM_NONCE"]:
                return process
        except psutil.Error:
            continue
    raise AssertionError("the pod has no process")


def test_an_upgrade_replaces_the_servers_that_wait_and_no_other(warm: Installation) -> None:
    old = wait_for_one(warm)["metadata"]["name"]
    used = warm.pod_of("hypatia")
    warm.upgrade(values=(ON, {"singleuser": {"extraEnv": {"TOWN": "Alexandria"}}}))
    new = wait_for_one(warm, old)
    [container] = new["spec"]["containers"]
    assert {"name": "TOWN", "value": "Alexandria"} in container["env"]
    assert used
    still = warm.pod_of("hypatia")
    assert still
    assert still["metadata"]["uid"] == used["metadata"]["uid"]
    warm.login("hypatia").stop_server()
    eventually(lambda: warm.pod_of("hypatia") is None)
