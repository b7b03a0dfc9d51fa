"""Blue-green without a cluster: the route of each state, and the way back from each failure."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from deploy.bluegreen import __main__ as command_line
from deploy.bluegreen import flow, smoke
from deploy.bluegreen.cluster import FailedError
from deploy.bluegreen.flow import Move
from deploy.bluegreen.route import (
    Place,
    State,
    accepted_by,
    cookie_pattern,
    make_route,
    read_route,
)
from deploy.bluegreen.smoke import SmokeError, Visitor

PLACE = Place("caesarion", "hub", "gateways/public/https", ("hub.example.org",), "/lab/")
BLUE, BOTH = {"blue": "blue-1"}, {"blue": "blue-1", "green": "green-2"}

Json = dict[str, Any]


def backends(rule: Json) -> dict[str, int]:
    """Return the weight of each colour in a rule."""
    return {one["name"].split("-")[1]: one.get("weight", 1) for one in rule["backendRefs"]}


def test_one_release_gets_everything() -> None:
    assert make_route(PLACE, State("blue", BLUE)) == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "caesarion",
            "namespace": "hub",
            "labels": {"app.kubernetes.io/managed-by": "caesarion-bluegreen"},
            "annotations": {
                "caesarion.delivery/live": "blue",
                "caesarion.delivery/cookies": "blue=blue-1",
            },
        },
        "spec": {
            "parentRefs": [{"namespace": "gateways", "name": "public", "sectionName": "https"}],
            "hostnames": ["hub.example.org"],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/lab/"}}],
                    "backendRefs": [{"name": "caesarion-blue-proxy", "port": 80}],
                }
            ],
        },
    }


def test_of_two_releases_a_browser_stays_with_its_own_and_programs_with_the_live_one() -> None:
    route = make_route(PLACE, State("blue", BOTH, 10))
    new, old, programs, rest = route["spec"]["rules"]
    assert [backends(rule) for rule in (new, old, programs, rest)] == [
        *({"green": 1}, {"blue": 1}, {"blue": 1}, {"blue": 90, "green": 10})
    ]
    (header,) = programs["matches"][0]["headers"]
    assert (header["name"], header["value"]) == ("Authorization", ".+")


def test_starting_a_server_leads_to_the_new_release_once_all_new_browsers_go_there() -> None:
    rules = make_route(PLACE, State("blue", BOTH, 100))["spec"]["rules"]
    assert rules[0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/lab/hub/spawn"}}]
    assert [backends(rules[0]), backends(rules[-1])] == [{"green": 1}, {"blue": 0, "green": 100}]


@pytest.mark.parametrize(
    ("header", "fits"),
    [
        ("caesarion-release=blue-1", True),
        ("_xsrf=a; caesarion-release=blue-1; b=c", True),
        ("caesarion-release=blue-12", False),
        ("x-caesarion-release=blue-1", False),
        ("caesarion-release=green-1", False),
    ],
)
def test_a_cookie_is_found_among_others_and_only_whole(header: str, fits: bool) -> None:
    assert bool(re.search(cookie_pattern("blue-1"), header)) is fits


@pytest.mark.parametrize(
    "state", [State("blue", BLUE), State("blue", BOTH, 50), State("green", BOTH, 100)], ids=str
)
def test_the_state_is_read_back_from_the_route(state: State) -> None:
    assert read_route(make_route(PLACE, state)) == state


def test_a_route_of_somebody_else_is_refused() -> None:
    with pytest.raises(ValueError, match="HTTPRoute caesarion was not made by deploy/bluegreen"):
        read_route({"metadata": {"name": "caesarion"}})


def condition(kind: str, status: str = "True", generation: int = 2) -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": "BackendNotFound",
        "message": "no such Service",
        "observedGeneration": generation,
    }


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ([condition("Accepted"), condition("ResolvedRefs")], ""),
        ([condition("Accepted", generation=1)], "the Gateway has not looked at it (Accepted)"),
        (
            [condition("Accepted"), condition("ResolvedRefs", "False")],
            "BackendNotFound: no such Service",
        ),
    ],
    ids=["served", "old", "refused"],
)
def test_a_route_is_served_when_its_gateway_says_so_of_this_generation(
    conditions: list[Json], why: str
) -> None:
    status = {"parents": [{"conditions": conditions}]}
    assert accepted_by({"metadata": {"generation": 2}, "status": status}) == why


def test_a_route_that_no_gateway_has_taken_is_not_served() -> None:
    assert accepted_by({"metadata": {"generation": 1}}) == "no Gateway has taken it"


@dataclass
class Cluster:
    """A cluster in memory; a stand-in that only remembers."""

    place: Place = PLACE
    current: Json | None = None
    installed: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    broken: str = ""
    """A colour whose pods restart."""
    fails: bool = False
    """Whether helm fails."""
    running: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The colours of the cookies with which the hub was asked."""

    def release(self, colour: str) -> str:
        return f"caesarion-{colour}"

    def ensure_users_namespace(self) -> None:
        pass

    def install(self, colour: str, cookie: str) -> None:
        self.installed[colour] = cookie
        self.done.append(f"install {colour}")
        if self.fails:
            raise FailedError("`helm upgrade` failed: context deadline exceeded")

    def uninstall(self, colour: str) -> None:
        self.installed.pop(colour, None)
        self.done.append(f"uninstall {colour}")

    def servers(self, colour: str) -> int:
        return self.running.get(colour, 0)

    def troubles(self, colour: str) -> list[str]:
        return [f"caesarion-{colour}-hub: 3 restarts"] if colour == self.broken else []

    def route(self) -> Json | None:
        conditions = [condition("Accepted"), condition("ResolvedRefs")]
        if self.current is None:
            return None
        metadata = {**self.current["metadata"], "generation": 2}
        status = {"parents": [{"conditions": conditions}]}
        return {**self.current, "metadata": metadata, "status": status}

    def apply(self, manifest: Json) -> None:
        self.current = manifest
        state = read_route(manifest)
        self.done.append(f"{state.live} {100 - state.new_weight}")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster with blue, whose Gateway does what the route says."""
    cluster = Cluster(current=make_route(PLACE, State("blue", BLUE)), installed=dict(BLUE))

    def release(visitor: Visitor) -> str:
        state = read_route(cluster.current or {})
        sent = visitor.sent or ""
        cluster.asked.append(sent.partition("-")[0])
        return sent if sent in state.cookies.values() else state.cookies[state.live]

    def visit(url: str, user: str, cookie: str) -> str:
        cluster.done.append(f"smoke {cookie.partition('-')[0]}")
        return "Hello."

    monkeypatch.setattr(Visitor, "release", release)
    monkeypatch.setattr(smoke, "visit", visit)
    monkeypatch.setattr(Move, "_watch_pages", lambda *_: "")
    monkeypatch.setattr(flow, "EVERY", 0)
    return cluster


def move(cluster: Cluster) -> Move:
    return Move(cluster, "https://hub.example.org", (10, 100), 0, say=lambda _: None)  # type: ignore[arg-type]


def test_new_browsers_move_in_steps_after_the_smoke_test(cluster: Cluster) -> None:
    move(cluster).deploy()
    assert cluster.done == ["install green", "blue 100", "smoke green", "blue 90", "blue 0"]
    assert set(cluster.installed) == {"blue", "green"}


def test_a_release_that_does_not_become_ready_is_removed_before_the_route_knows_it(
    cluster: Cluster,
) -> None:
    cluster.fails = True
    with pytest.raises(FailedError, match="deadline exceeded Everybody is served by blue"):
        move(cluster).deploy()
    assert cluster.done == ["install green", "blue 100", "uninstall green"]


def test_a_release_that_fails_the_smoke_test_gets_no_share(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> str:
        raise SmokeError("The chat ended with error.")

    monkeypatch.setattr(smoke, "visit", fail)
    with pytest.raises(FailedError, match=r"chat ended with error.* Everybody is served by blue"):
        move(cluster).deploy()
    assert cluster.done == ["install green", "blue 100", "blue 100", "uninstall green"]


def test_a_release_that_fails_while_it_is_watched_loses_its_share(cluster: Cluster) -> None:
    cluster.broken = "green"
    with pytest.raises(FailedError, match="green has trouble: caesarion-green-hub: 3 restarts"):
        move(cluster).deploy()
    assert cluster.done[-3:] == ["blue 90", "blue 100", "uninstall green"]
    assert read_route(cluster.current or {}) == State("blue", BLUE)
    # It was removed when no browser of it reached it any more.
    assert cluster.asked == ["green", "", "green"]


def test_a_second_move_waits_for_the_end_of_the_first(cluster: Cluster) -> None:
    move(cluster).deploy()
    with pytest.raises(FailedError, match="`finish` the last move, or go `back`"):
        move(cluster).deploy()


def test_the_old_release_stays_while_its_users_have_servers(cluster: Cluster) -> None:
    move(cluster).deploy()
    cluster.running = {"blue": 2}
    with pytest.raises(FailedError, match="2 servers of users run in blue"):
        move(cluster).finish()
    cluster.running = {"green": 2}
    move(cluster).finish()
    assert cluster.done[-2:] == ["green 100", "uninstall blue"]


def test_one_can_go_back_after_the_move(cluster: Cluster) -> None:
    move(cluster).deploy()
    move(cluster).back()
    assert cluster.done[-2:] == ["blue 100", "uninstall green"]
    with pytest.raises(FailedError, match="only blue is there"):
        move(cluster).back()


def test_a_gateway_that_cannot_tell_browsers_apart_is_found_out(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Visitor, "release", lambda _: "blue-1")
    monkeypatch.setattr(flow, "ACCEPTED_WITHIN", 0.3)
    with pytest.raises(FailedError, match="must match headers by regular expression"):
        move(cluster).deploy()
    assert cluster.done[-1] == "uninstall green"


def test_an_upgrade_in_place_keeps_the_cookie(cluster: Cluster) -> None:
    move(cluster).upgrade()
    assert cluster.installed == BLUE


def test_without_a_route_only_deploy_is_possible(cluster: Cluster) -> None:
    cluster.current = None
    for command in ("finish", "back", "upgrade"):
        with pytest.raises(FailedError, match="There is no route yet"):
            getattr(move(cluster), command)()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--steps=50,10,100"], "--steps rise from at least 1 and end with 100"),
        (["--steps=a"], "--steps a: percentages such as 10,50,100 are needed"),
        (["--gateway=public"], "--gateway public: NAMESPACE/NAME or NAMESPACE/NAME/LISTENER"),
    ],
    ids=str,
)
def test_a_wrong_option_is_answered_with_a_sentence(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command_line.parse(["deploy", "--gateway=a/b", "--url=https://x", *options])
    assert sentence in capsys.readouterr().err


def test_what_is_not_ours_goes_to_helm() -> None:
    given = command_line.parse(["deploy", "--gateway=a/b", "--url=https://x", "--set", "a=b"])
    assert given.helm == ["--set", "a=b"]


def test_a_first_release_has_nowhere_to_go_back_to(cluster: Cluster) -> None:
    empty = replace(cluster, current=None, installed={}, done=[], fails=True)
    with pytest.raises(FailedError, match="It was the first release, and is left as it is"):
        move(empty).deploy()
    assert empty.done == ["install blue"]
