"""The small parts around a pod: what is lowered, what is an orphan, what is tried again."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientConnectionError
from caesarion_hub.pods.api import RetriableApi, backoff, describe_error, retry_after
from caesarion_hub.pods.orphan_reaper import find_orphans, owned_pods
from caesarion_hub.pods.reflector import slim
from caesarion_hub.pods.startup_cpu import lowering_patch
from caesarion_hub.readiness import UnclaimedError, wait_until_ready
from kubernetes_asyncio.client import ApiException


def pod_with(limit: object, noted: str | None) -> dict[str, Any]:
    annotations = {"caesarion.org/cpu-limit": noted} if noted else {}
    container = {"name": "notebook", "resources": {"limits": {"cpu": limit}}}
    return {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}


def test_a_limit_above_the_noted_one_is_lowered_to_it() -> None:
    assert lowering_patch(pod_with("2", "0.5")) == {
        "spec": {"containers": [{"name": "notebook", "resources": {"limits": {"cpu": "0.5"}}}]}
    }


@pytest.mark.parametrize(("limit", "noted"), [("500m", "0.5"), ("2", None), (None, "0.5")])
def test_a_limit_that_is_as_it_should_be_stays(limit: object, noted: str | None) -> None:
    assert lowering_patch(pod_with(limit, noted)) is None


def pod_of(name: str, release: str = "r", **metadata: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": release}
    return {"metadata": {"name": name, "namespace": "people", "labels": labels, **metadata}}


def test_pods_of_ours_that_no_server_owns_are_orphans() -> None:
    ending = pod_of("ending", deletionTimestamp="2026-01-01T00:00:00Z")
    pods = [pod_of("mine"), pod_of("lost"), pod_of("theirs", release="s"), ending]
    assert find_orphans(pods, "r", {"people/mine"}) == [pod_of("lost")]


def test_servers_own_pods_while_anything_is_pending() -> None:
    servers = {
        "": SimpleNamespace(namespace="people", pod_name="jupyter-ada", active=True),
        "old": SimpleNamespace(namespace="people", pod_name="jupyter-ada--old", active=False),
    }
    assert owned_pods({1: SimpleNamespace(spawners=servers)}) == {"people/jupyter-ada"}


def test_what_is_held_of_a_pod_is_what_is_asked_for() -> None:
    container = {"name": "notebook", "ports": [], "env": [{"name": "TOKEN", "value": "secret"}]}
    pod = {
        "metadata": {"name": "jupyter-ada", "managedFields": [{"manager": "hub"}]},
        "spec": {"nodeName": "n", "containers": [container], "volumes": [{"name": "tmp"}]},
        "status": {"phase": "Running"},
    }
    assert slim(pod) == {
        "metadata": {"name": "jupyter-ada"},
        "spec": {"nodeName": "n", "containers": [{"name": "notebook", "ports": []}]},
        "status": {"phase": "Running"},
    }


class Client:
    """A client whose call meets ``problems`` one after the other, then succeeds."""

    def __init__(self, *problems: Exception) -> None:
        self.problems = list(problems)

    async def create(self, name: str, _request_timeout: int) -> str:
        if self.problems:
            raise self.problems.pop(0)
        return name


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a patient client around problems."""
    monkeypatch.setattr(RetriableApi, "health", None)
    return lambda *problems: RetriableApi(Client(*problems), logging.getLogger("test"))


def api_problem(status: int, body: str = "", **headers: str) -> ApiException:
    response: Any = SimpleNamespace(
        status=status, reason="Because", data=body, getheaders=lambda: headers
    )
    return ApiException(http_resp=response)


@pytest.mark.parametrize(
    "problem",
    [
        api_problem(500),
        api_problem(503),
        api_problem(429),
        ClientConnectionError("reset"),
        ConnectionRefusedError(),
        TimeoutError(),
    ],
)
async def test_what_may_pass_is_a_time_out_which_kubespawner_tries_again(
    patient: Any, problem: Exception
) -> None:
    api = patient(problem)
    with pytest.raises(TimeoutError):
        await api.create("a")
    assert await api.create("a") == "a"


class WritingClient:
    """A client whose writes are answered with a status and a body."""

    def __init__(self, status: int, body: bytes) -> None:
        self.answer = SimpleNamespace(
            status=status, reason="Because", headers={"Retry-After": "0"}, read=self.read
        )
        self.body = body

    async def read(self) -> bytes:
        return self.body

    async def create_pod(self, *, _preload_content: bool, _request_timeout: int) -> Any:
        assert not _preload_content
        return self.answer


@pytest.mark.usefixtures("patient")
async def test_the_answer_of_a_write_is_left_as_it_came() -> None:
    api = RetriableApi(WritingClient(201, b'{"kind": "Pod"}'), logging.getLogger("test"))
    assert await api.create_pod() == b'{"kind": "Pod"}'


@pytest.mark.usefixtures("patient")
async def test_a_write_that_is_refused_raises_with_the_apis_own_words() -> None:
    body = b'{"message": "exceeded quota", "reason": "Forbidden"}'
    api = RetriableApi(WritingClient(403, body), logging.getLogger("test"))
    with pytest.raises(ApiException) as caught:
        await api.create_pod()
    assert describe_error(caught.value) == "403 exceeded quota"


@pytest.mark.usefixtures("patient")
async def test_a_write_that_a_busy_api_does_not_take_may_be_made_again() -> None:
    api = RetriableApi(WritingClient(503, b"busy"), logging.getLogger("test"))
    with pytest.raises(TimeoutError, match="503 Because"):
        await api.create_pod()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501])
async def test_what_does_not_pass_stays_what_it_is(patient: Any, status: int) -> None:
    with pytest.raises(ApiException) as caught:
        await patient(api_problem(status)).create("a")
    assert caught.value.status == status


async def test_an_api_that_is_away_is_said_once_and_so_is_its_return(
    patient: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api = patient(api_problem(500), api_problem(503))
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await api.create("a")
    await api.create("a")
    await api.create("a")
    first, second = [record.getMessage() for record in caplog.records]
    assert first == "Calls to the Kubernetes API: 500 Because. Trying again."
    assert second.startswith("Calls to the Kubernetes API: working again after ")


@pytest.mark.parametrize(
    ("header", "seconds"), [("0.5", 0.5), ("3600", 5.0), ("-1", 0.0), ("Wed, 1 Jan", 0.0)]
)
def test_the_api_is_given_the_time_it_asks_for_within_reason(header: str, seconds: float) -> None:
    assert retry_after(api_problem(429, **{"Retry-After": header})) == seconds


def test_pauses_grow_to_an_end_and_are_never_even() -> None:
    made = backoff(first=1, longest=4)
    first = [next(made) for _ in range(8)]
    assert all(low / 2 <= pause <= low for pause, low in zip(first, [1, 2, *[4] * 6], strict=True))
    assert len(set(first)) == 8


def test_a_problem_is_shown_with_the_apis_own_words() -> None:
    problem = api_problem(403, '{"message": "exceeded quota", "reason": "Forbidden"}')
    assert describe_error(problem) == "403 exceeded quota"
    assert describe_error(ConnectionRefusedError("no")) == "ConnectionRefusedError: no"


async def test_an_answer_is_noticed_at_once_and_a_500_is_none() -> None:
    answers = [b"500 No", b"503 No", b"503 No", b"302 Found"]
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % answers.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(60):
        await wait_until_ready(f"http://127.0.0.1:{port}/user/ada/api")
    ours, warm = b"GET /user/ada/api HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n"
    assert asked == [ours, ours, warm, ours]  # 503 may be that of a warm server


async def test_a_warm_server_is_ready_for_nothing_but_its_claim() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 503 No\r\nX-Caesarion-Warm: unclaimed\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(60):
        with pytest.raises(UnclaimedError):
            await wait_until_ready(f"http://127.0.0.1:{port}/user/ada/api")


async def test_a_server_that_does_not_listen_yet_is_asked_again() -> None:
    unused = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = unused.sockets[0].getsockname()[1]
    unused.close()
    await unused.wait_closed()
    asking = asyncio.create_task(wait_until_ready(f"http://127.0.0.1:{port}/"))
    await asyncio.sleep(0.2)
    assert not asking.done()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port), asyncio.timeout(60):
        await asking
