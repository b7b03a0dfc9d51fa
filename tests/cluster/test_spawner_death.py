"""A hub that is killed in the middle of spawns leaves nothing behind that nobody owns."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.cluster.harness import Installation, eventually
from tests.hub import Session

PEOPLE = [f"midway-{number}" for number in range(12)]


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


def test_every_pod_is_adopted_or_deleted(caesarion: Installation) -> None:
    people = [caesarion.login(name) for name in PEOPLE]
    [hub] = caesarion.pods("hub")
    with ThreadPoolExecutor(len(people)) as threads:
        for session in people:
            threads.submit(ask, session)
            time.sleep(0.1)  # some have a pod by now, some are about to get one, some are not heard
        caesarion.cluster.kubectl(
            *("delete", "pod", hub["metadata"]["name"], "--namespace", caesarion.namespace),
            *("--force", "--grace-period=0"),
        )

    def is_settled() -> bool:
        servers = [server_of(session) for session in people]
        if any(server == "away" or (server and server["pending"]) for server in servers):
            return False
        pods = {session.user: caesarion.pod_of(session.user) for session in people}
        return all(
            bool(server) == bool(pods[session.user])
            for session, server in zip(people, servers, strict=True)
        )

    eventually(is_settled, 90)
    adopted = [session for session in people if server_of(session)]
    assert adopted  # else the hub was killed too early to show anything
    for session in adopted:
        session.get(f"/user/{session.user}/lab").raise_for_status()
    for session in people:
        # Whoever was not heard, or has no pod, asks again.
        assert session.start_server() == f"/user/{session.user}/"
        session.stop_server()
    eventually(lambda: not any(caesarion.pod_of(name) for name in PEOPLE), 60)


def test_who_was_waiting_is_led_to_the_server_by_the_next_hub(caesarion: Installation) -> None:
    eve = caesarion.login("eve-waits")
    ask(eve)
    eventually(lambda: caesarion.pod_of("eve-waits") is not None)
    [hub] = caesarion.pods("hub")
    caesarion.cluster.kubectl(
        *("delete", "pod", hub["metadata"]["name"], "--namespace", caesarion.namespace),
        *("--force", "--grace-period=0"),
    )
    eventually(lambda: server_of(eve) != "away", 90)
    page = eve.get("/hub/spawn-pending/eve-waits")
    assert page.url.path.startswith("/user/eve-waits/") or "EventSource" in page.text
    eventually(
        lambda: eve.get("/hub/spawn-pending/eve-waits").url.path.startswith("/user/eve-waits/"), 60
    )
    eve.stop_server()
