"""Blue-green: a bad release gets no traffic, a good one takes over without a failed request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.bluegreen.cluster import Cluster, FailedError
from deploy.bluegreen.flow import Move
from deploy.bluegreen.route import COOKIE, Place
from tests import helm
from tests.cluster.gateway import GATEWAY, install_gateway
from tests.cluster.gateway import NAMESPACE as GATEWAYS
from tests.cluster.harness import READY_WITHIN, VALUES, AnyCluster
from tests.fakes.kubernetes.cluster import Cluster as FakeCluster
from tests.hub import Session
from tests.values import USER_PASSWORD

pytestmark = pytest.mark.usefixtures("forked_pods")

NAMESPACE, USERS = "two-colours", "two-colours-people"
TOKEN = "token-of-the-smoke-test-which-is-a-service"
SCOPES = ("admin:users", "servers", "access:servers")
OWN = {
    "auth": {"userPassword": USER_PASSWORD},
    "hub": {
        "services": {"smoke": {"apiToken": TOKEN}},
        "loadRoles": {
            "smoke": {
                "services": ["smoke"],
                "scopes": [f"{scope}!user=smoke-test" for scope in SCOPES],
            }
        },
    },
}
EVERY = 0.1
"""Seconds from one request of a steady caller to the next."""


class Browsers:
    """People who come to the login page again and again, each with a browser that is new."""

    def __init__(self, url: str) -> None:
        self.releases: list[str] = []
        """The colour that each has reached."""
        self.failures: list[str] = []
        self._url = url
        self._stopped = threading.Event()

    def _come(self) -> None:
        with httpx.Client(verify=False, timeout=60) as http:
            while not self._stopped.wait(EVERY):
                http.cookies.clear()
                try:
                    answer = http.get(f"{self._url}/hub/login")
                    answer.raise_for_status()
                    self.releases.append(answer.cookies[COOKIE].partition("-")[0])
                except (httpx.HTTPError, KeyError) as error:
                    self.failures.append(repr(error))

    @contextmanager
    def coming(self) -> Iterator["Browsers"]:
        thread = threading.Thread(target=self._come)
        thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            thread.join()


class Steady:
    """A client that asks for one page again and again, with what it has."""

    def __init__(self, client: httpx.Client, path: str) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._client, self._path = client, path
        self._stopped = threading.Event()

    def _ask(self) -> None:
        while not self._stopped.wait(EVERY):
            try:
                answer = self._client.get(self._path, follow_redirects=False)
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            else:
                self.answers += 1
                if answer.status_code != 200:
                    self.failures.append(f"{answer.status_code}: {answer.text[:200]}")

    @contextmanager
    def asking(self) -> Iterator["Steady"]:
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            thread.join()


@pytest.fixture(scope="module")
def move(cluster: AnyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Move]:
    """The first release, which is blue, behind a real Gateway."""
    if not isinstance(cluster, FakeCluster):
        pytest.skip("A real cluster has a Gateway of its own.")
    url = install_gateway(cluster)
    values = tmp_path_factory.mktemp("values") / "values.yaml"
    values.write_text(helm.as_yaml(helm.merge(VALUES, OWN)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        patch.setenv("SMOKE_PASSWORD", USER_PASSWORD)
        made = make_move(url, values)
        cluster.kubectl("create", "namespace", NAMESPACE)
        made.deploy()
        # From here on as at a hub with another login, which has no form for a program.
        patch.setenv("SMOKE_TOKEN", TOKEN)
        yield made
        # The cluster is for the other tests, too.
        for release in made.cluster.releases():
            cluster.helm("uninstall", release, "--namespace", NAMESPACE)
        cluster.kubectl("delete", "namespace", NAMESPACE, USERS, GATEWAYS, "--wait=false")


def make_move(url: str, values: Path, *options: str) -> Move:
    place = Place("caesarion", NAMESPACE, GATEWAY)
    programs = {name: helm.path_of(name) for name in ("helm", "kubectl")}
    given = ("--values", str(values), *options)
    own = Cluster(place, USERS, str(helm.CHART), given, timeout=READY_WITHIN, programs=programs)
    return Move(own, url, steps=(50, 100), watch=1, say=print)


@pytest.fixture(scope="module")
def ada(move: Move) -> Iterator[Session]:
    """A user of blue, whose server runs."""
    with Session(move.url, "ada") as ada:
        ada.log_in(USER_PASSWORD).raise_for_status()
        ada.start_server()
        yield ada


def test_a_release_whose_chat_fails_never_gets_a_browser(move: Move, ada: Session) -> None:
    values = Path(move.cluster.helm_options[1])
    nowhere = "gateway.baseUrl=http://127.0.0.1:1/v1"
    bad = make_move(move.url, values, "--set", nowhere)
    with (
        Browsers(move.url).coming() as browsers,
        pytest.raises(FailedError, match=r"The chat ended with error .* served by blue"),
    ):
        bad.deploy()
    assert browsers.failures == []
    assert set(browsers.releases) == {"blue"}
    assert len(browsers.releases) > 10
    assert move.cluster.releases() == ["caesarion-blue"]
    assert ada.get("/user/ada/api/status").status_code == 200


def test_a_good_release_takes_over_without_a_failed_request(move: Move, ada: Session) -> None:
    program = httpx.Client(
        base_url=move.url, headers={"Authorization": f"token {ada.token()}"}, timeout=60
    )
    with (
        program,
        Browsers(move.url).coming() as browsers,
        Steady(ada, "/user/ada/api/status").asking() as page,
        Steady(program, "/user/ada/api/status").asking() as script,
    ):
        move.deploy()
    assert (browsers.failures, page.failures, script.failures) == ([], [], [])
    assert min(page.answers, script.answers) > 10
    first = browsers.releases.index("green")
    assert {"blue", "green"} == set(browsers.releases[first:])  # half of them each
    assert {one_browser(move.url) for _ in range(10)} == {"green"}


def one_browser(url: str) -> str:
    """Return the colour that a new browser reaches."""
    return httpx.get(f"{url}/hub/login").cookies[COOKIE].partition("-")[0]


def test_who_has_a_server_stays_and_who_starts_one_moves(move: Move, ada: Session) -> None:
    assert ada.get("/hub/home").headers["set-cookie"].startswith(f"{COOKIE}=blue-")
    with pytest.raises(FailedError, match="1 servers of users run in blue"):
        move.finish()
    # A second browser is at green, which leaves the server of blue alone.
    with Session(move.url, "ada") as second:
        second.log_in(USER_PASSWORD).raise_for_status()
        with pytest.raises(AssertionError, match="stop that one first"):
            second.start_server()
    ada.stop_server()
    answer = ada.get("/hub/spawn/ada", follow_redirects=False)
    assert answer.headers["set-cookie"].startswith(f"{COOKIE}=green-")
    ada.log_in(USER_PASSWORD).raise_for_status()
    ada.start_server()
    assert move.cluster.servers("green") == 1


def test_the_old_release_goes_when_its_last_server_has_ended(move: Move, ada: Session) -> None:
    with (
        Browsers(move.url).coming() as browsers,
        Steady(ada, "/user/ada/api/status").asking() as page,
    ):
        move.finish()
    assert (browsers.failures, page.failures) == ([], [])
    assert move.cluster.releases() == ["caesarion-green"]
    state = move.state()
    assert state
    assert (state.live, state.new, state.new_weight) == ("green", None, 0)
