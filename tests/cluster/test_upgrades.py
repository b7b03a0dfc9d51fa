"""An upgrade cuts nobody off: servers go on, and the gateway always answers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.cluster.harness import Installation, Json
from tests.helm import RefusedError

pytestmark = pytest.mark.usefixtures("forked_pods")

EVERY = 0.05
"""Seconds from one call to the next; made up, much less than a pod needs to be replaced."""


class Caller:
    """Somebody who calls an address again and again and writes down what went wrong."""

    def __init__(self, url: str, token: str = "") -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._stopped = threading.Event()
        headers = {"Authorization": f"token {token}"} if token else {}
        self._http = httpx.Client(headers=headers, timeout=60)
        self._url = url

    def call(self) -> None:
        while not self._stopped.wait(EVERY):
            try:
                answer = self._http.get(self._url)
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            else:
                self.answers += 1
                if answer.status_code != 200:
                    self.failures.append(f"{answer.status_code}: {answer.text[:200]}")

    @contextmanager
    def calling(self) -> Iterator[None]:
        thread = threading.Thread(target=self.call)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()
            self._http.close()


def names(pods: list[Json]) -> set[str]:
    """Return the names of pods that are not about to end."""
    return {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


@pytest.fixture(scope="module")
def caesarion_again(caesarion: Installation) -> Iterator[Installation]:
    """The installation, which gets its own values back in the end; each test has others."""
    yield caesarion
    caesarion.upgrade()


def test_the_gateway_answers_all_through_its_replacement(caesarion_again: Installation) -> None:
    caesarion = caesarion_again
    before = names(caesarion.pods("gateway"))
    caller = Caller(f"{caesarion.url}/services/gateway/health")
    with caller.calling():
        caesarion.upgrade(values=({"gateway": {"model": "another"}},))
    assert caller.failures == []
    assert caller.answers > 10
    assert names(caesarion.pods("gateway")).isdisjoint(before)


def test_a_gateway_without_its_database_takes_no_place(caesarion_again: Installation) -> None:
    caesarion = caesarion_again
    before = names(caesarion.pods("gateway"))
    nowhere = {"gateway": {"database": {"url": "postgresql://nobody@127.0.0.1:1/nothing"}}}
    caller = Caller(f"{caesarion.url}/services/gateway/health")
    try:
        with caller.calling(), pytest.raises(RefusedError, match="caesarion-gateway not ready"):
            caesarion.upgrade("--timeout=15s", values=(nowhere,))
        assert caller.failures == []
        assert before <= names(caesarion.pods("gateway"))
    finally:
        caesarion.upgrade()  # else the next test meets a hub that is just being replaced


def test_a_users_server_goes_on_while_the_hub_is_replaced(caesarion_again: Installation) -> None:
    caesarion = caesarion_again
    grace = caesarion.login("grace")
    grace.start_server()
    server = caesarion.server_of(grace)
    pod, hubs = caesarion.pod_of("grace"), names(caesarion.pods("hub"))
    caller = Caller(f"{server.url}api/status", server.token)
    with caller.calling():
        caesarion.upgrade(values=({"cull": {"timeout": 7200}},))
    assert names(caesarion.pods("hub")).isdisjoint(hubs)
    # The server asks the hub who calls only now and then; what it has heard it remembers.
    assert caller.failures == []
    after = caesarion.pod_of("grace")
    assert pod
    assert after
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert grace.get("/hub/api/users/grace").json()["server"] == "/user/grace/"


def test_a_rollback_brings_the_hub_back_as_it_was(caesarion_again: Installation) -> None:
    caesarion = caesarion_again
    where = ["--namespace", caesarion.namespace]
    (before,) = caesarion.pods("hub")
    history = caesarion.cluster.helm("history", "caesarion", *where, "--output", "json")
    revision = json.loads(history)[-1]["revision"]
    caesarion.upgrade(values=({"cull": {"timeout": 5400}},))
    caesarion.cluster.helm("rollback", "caesarion", str(revision), *where, "--wait")
    (after,) = caesarion.pods("hub")
    assert after["metadata"]["labels"] == before["metadata"]["labels"]  # a digest is among them
    assert after["metadata"]["name"] != before["metadata"]["name"]
