"""A hub that is killed in the middle of spawns leaves nothing behind that nobody owns."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.browser.lab import chromium
from tests.cluster.harness import RELEASE, Installation, eventually
from tests.hub import Session

pytestmark = pytest.mark.usefixtures("forked_pods")

PEOPLE = [f"midway-{number}" for number in range(6)]

LOST = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "jupyter-lost",
        "labels": {
            "app.kubernetes.io/instance": RELEASE,
            "component": "singleuser-server",
        },
    },
    "spec": {
        "containers": [
            {
                "name": "notebook",
                "image": "registry.k8s.io/pause:3.10",
                "resources": {
                    "requests": {"cpu": "10m", "memory": "16Mi"},
                    "limits": {"cpu": "10m", "memory": "16Mi"},
                },
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65535,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
            }
        ]
    },
}
"""A pod of ours as a request that was given up, and heard too late, would leave it."""


def ask(session: Session) -> None:
    """Ask for a server; the hub may die before it answers."""
    with contextlib.suppress(httpx.HTTPError):
        session.post(f"/hub/api/users/{session.user}/server")


def server_of(session: Session) -> Any:
    """Return what the hub says of a user's server; None if there is none, "away" if no hub."""
    try:
        answer = session.get(f"/hub/api/users/{session.user}")
    except httpx.HTTPError:
        return "away"
    return answer.json()["servers"].get("") if answer.status_code == 200 else "away"


def kill_hub(caesarion: Installation) -> None:
    [hub] = caesarion.pods("hub")
    caesarion.cluster.kubectl(
        *("delete", "pod", hub["metadata"]["name"], "--namespace", caesarion.namespace),
        *("--force", "--grace-period=0"),
    )


def test_every_pod_is_adopted_or_deleted(caesarion: Installation) -> None:
    people = [caesarion.login(name) for name in PEOPLE]
    with ThreadPoolExecutor(len(people)) as threads:
        for session in people:
            threads.submit(ask, session)
        # Some have a pod by now, some are about to get one, some are not heard.
        eventually(lambda: any(caesarion.pod_of(name) for name in PEOPLE))
        kill_hub(caesarion)

    def is_settled() -> bool:
        servers = [server_of(session) for session in people]
        if any(server == "away" or (server and server["pending"]) for server in servers):
            return False
        pods = {session.user: caesarion.pod_of(session.user) for session in people}
        return all(
            bool(server) == bool(pods[session.user])
            for session, server in zip(people, servers, strict=True)
        )

    eventually(is_settled, 180)
    adopted = [session for session in people if server_of(session)]
    assert adopted
    for session in adopted:
        session.get(f"/user/{session.user}/lab").raise_for_status()
    with ThreadPoolExecutor(len(people)) as threads:
        # Whoever was not heard, or has no pod, asks again.
        paths = list(threads.map(Session.start_server, people))
        list(threads.map(Session.stop_server, people))
    assert paths == [f"/user/{name}/" for name in PEOPLE]
    eventually(lambda: not any(caesarion.pod_of(name) for name in PEOPLE), 180)


def test_a_pod_that_nobody_owns_is_deleted_while_the_hub_runs(caesarion: Installation) -> None:
    caesarion.cluster.kubectl(
        *("create", "--validate=false", "--namespace", caesarion.namespace, "-f", "-"),
        text=json.dumps(LOST),
    )
    listing = ("get", "pods", "--namespace", caesarion.namespace, "--output=name")
    assert "jupyter-lost" in caesarion.cluster.kubectl(*listing)
    eventually(lambda: "jupyter-lost" not in caesarion.cluster.kubectl(*listing), 180)


def test_whose_page_waits_is_led_to_the_server_by_the_next_hub(caesarion: Installation) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{caesarion.url}/hub/login")
        page.get_by_label("Username").fill("eve-waits")
        page.get_by_label("Password").fill(caesarion.key("user_password"))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/hub/spawn-pending/eve-waits*")
        eventually(lambda: caesarion.pod_of("eve-waits") is not None)
        kill_hub(caesarion)
        page.wait_for_url("**/user/eve-waits/lab*", timeout=120_000)
    caesarion.login("eve-waits").stop_server()
