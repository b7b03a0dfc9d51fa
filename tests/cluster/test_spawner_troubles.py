"""What keeps a server from starting is told to its user, and nobody else notices."""

import html
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster.harness import Installation, eventually
from tests.hub import SERVER_WITHIN, Session

pytestmark = pytest.mark.usefixtures("forked_pods")

PROFILES = [
    {"display_name": "Usual", "default": True},
    {"display_name": "Broken", "kubespawner_override": {"image": "registry.invalid/no/such:1"}},
    {"display_name": "Giant", "kubespawner_override": {"mem_guarantee": "900T", "mem_limit": None}},
]

IMAGE = (
    "The image registry.invalid/no/such:1 cannot be pulled: {why}. "
    "Choose another profile, or ask your administrator."
)
WHY = ("the image does not exist", "the registry cannot be reached")
"""What a registry that does not exist looks like from the fake node, and from a real one."""


@pytest.fixture(scope="module")
def choices(caesarion: Installation) -> Iterator[Installation]:
    """The installation, with profiles to choose from."""
    caesarion.upgrade(values=({"singleuser": {"profileList": PROFILES, "startTimeout": 120}},))
    yield caesarion
    caesarion.upgrade()


def start(session: Session, profile: str) -> list[dict[str, Any]]:
    """Ask for a server of a kind; return what is told until it runs or has failed."""
    path = f"/hub/api/users/{session.user}/server"
    session.post(path, json={"profile": profile}).raise_for_status()
    with session.stream("GET", f"{path}/progress", timeout=SERVER_WITHIN) as events:
        lines = [line for line in events.iter_lines() if line.startswith("data:")]
    return [json.loads(line.removeprefix("data:")) for line in lines]


def test_six_bad_images_in_a_row_are_noticed_by_their_users_alone(choices: Installation) -> None:
    [hub] = choices.pods("hub")
    people = [choices.login(f"unlucky-{number}") for number in range(6)]
    for session in people:
        last = start(session, "broken")[-1]
        assert last["failed"]
        assert last["message"] in {f"Spawn failed: {IMAGE.format(why=why)}" for why in WHY}
    lucky = choices.login("lucky")
    assert start(lucky, "usual")[-1]["ready"]
    assert all(choices.pod_of(session.user) is None for session in people)
    [later] = choices.pods("hub")
    assert later["metadata"]["uid"] == hub["metadata"]["uid"]
    assert [each["restartCount"] for each in later["status"]["containerStatuses"]] == [0]
    lucky.stop_server()


def test_the_page_of_a_failure_says_why_and_offers_another_try(choices: Installation) -> None:
    session = choices.login("unlucky-6")
    start(session, "broken")
    page = session.get("/hub/spawn-pending/unlucky-6")
    assert page.status_code == 503
    assert any(IMAGE.format(why=why) in html.unescape(page.text) for why in WHY)
    assert "Relaunch" in page.text


def test_who_waits_for_room_is_told_and_can_give_up(choices: Installation) -> None:
    session = choices.login("patient")
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(start, session, "giant")
        eventually(lambda: choices.pod_of("patient") is not None)

        def is_told() -> bool:
            # Each look is a stream of its own, which begins with how things are.
            path = "/hub/api/users/patient/server/progress"
            with session.stream("GET", path, timeout=SERVER_WITHIN) as events:
                for line in events.iter_lines():
                    if "The cluster has no room for your server yet" in line:
                        return True
            return False

        eventually(is_told)
        session.stop_server()
        starting.result(SERVER_WITHIN)
    eventually(lambda: choices.pod_of("patient") is None)


def test_the_spawn_page_asks_which_kind_of_server(choices: Installation) -> None:
    session = choices.login("chooser")
    page = session.get("/hub/spawn/chooser").text
    assert [page.index(f'value="{slug}"') for slug in ("usual", "broken", "giant")] == sorted(
        page.index(f'value="{slug}"') for slug in ("usual", "broken", "giant")
    )
    form = {"profile": "usual", "_xsrf": session.xsrf("/hub/")}
    session.post("/hub/spawn/chooser", data=form).raise_for_status()
    assert session.start_server() == "/user/chooser/"
    session.stop_server()
