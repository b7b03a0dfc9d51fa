"""The api service through a real hub, proxy, server and kernel: the REST API."""

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.hub import RunningHub, Session, is_alive, running_hub

API = "/services/api"
WITHIN = 60.0


def eventually(condition: Callable[[], bool], seconds: float = WITHIN) -> None:
    """Wait until ``condition`` holds, where nobody tells of it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.1)


class Program:
    """A program of a user's, with a token."""

    def __init__(self, session: Session, token: str = "") -> None:
        self.session = session
        self.token = token or session.token()
        self.hub = str(session.base_url).rstrip("/")
        self.http = httpx.Client(
            base_url=self.hub + API,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=WITHIN,
        )

    def json(self, method: str, path: str, **options: Any) -> Any:
        answer = self.http.request(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def refusal(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Return the status and the code of an answer in the one shape of errors."""
        answer = self.http.request(method, path, **options)
        error = answer.json()["error"]
        assert sorted(error) == ["code", "message"]
        assert error["message"].strip().endswith((".", "!"))
        return answer.status_code, error["code"]

    def lines(self, path: str, **body: Any) -> list[dict[str, Any]]:
        answer = self.http.post(path, json=body)
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines() if line]

    def run(self, sandbox_id: str, code: str, **body: Any) -> str:
        """Run code, and return what it has shown."""
        *outputs, end = self.lines(f"/sandboxes/{sandbox_id}/execute", code=code, **body)
        assert end["status"] == "ok", (outputs, end)
        shown = [one for one in outputs if "output_type" in one]
        return "".join(one.get("text") or one["data"]["text/plain"] for one in shown)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub of this file's own, since processes of it are killed, with at most two sandboxes."""
    values = {
        "api": {"sandboxes": {"perUser": 2}, "origins": ["https://app.example.org"]},
    }
    with running_hub(tmp_path_factory.mktemp("api") / "state", values=values) as hub:
        yield hub


@pytest.fixture(scope="module")
def ada(hub: RunningHub) -> Iterator[Program]:
    program = Program(hub.login("ada"))
    with program.http:
        yield program


@pytest.fixture(scope="module")
def sandbox(ada: Program) -> str:
    """A sandbox that all tests share, in which nothing is destroyed."""
    body = {"metadata": {"purpose": "tests"}, "env": {"GREETING": "hello"}}
    return str(ada.json("POST", "/sandboxes", json=body)["id"])


def test_a_server_that_sleeps_is_started_first_and_the_stream_says_how_that_goes(
    ada: Program,
) -> None:
    starting, *_, result, end = ada.lines("/sandboxes/home/execute", code="1+1")
    assert sorted(starting["starting"]) == ["message", "progress"]
    assert result["data"] == {"text/plain": "2"}
    assert end == {"status": "ok", "execution_count": 1}


def test_a_question_is_answered_event_by_event(ada: Program) -> None:
    body = {"messages": [{"role": "user", "content": "print 20+1"}], "session_id": "one"}
    with ada.http.stream("POST", "/chat", json=body) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        events = [line.removeprefix("event: ") for line in answer.iter_lines() if "event:" in line]
    assert events[-1] == "done"
    assert "tool_result" in events


def test_a_session_is_started_ahead_and_keeps_its_variables(ada: Program) -> None:
    states = set()

    def is_ready() -> bool:
        answer = ada.json("POST", "/sessions/ahead/initialize")
        states.add(answer["state"])
        return bool(answer == {"session_id": "ahead", "sandbox_id": "home", "state": "ready"})

    eventually(is_ready)
    assert states <= {"starting", "ready"}
    assert ada.run("home", "x = 41", session_id="ahead") == ""
    assert ada.run("home", "x + 1", session_id="ahead") == "42"


def test_a_sandbox_has_a_home_an_environment_and_a_deadline_of_its_own(
    ada: Program, hub: RunningHub, sandbox: str
) -> None:
    shown = ada.json("GET", f"/sandboxes/{sandbox}")
    assert shown["owner"] == "ada"
    assert shown["metadata"] == {"purpose": "tests"}
    assert shown["created_at"] < shown["expires_at"]
    assert shown["url"] == f"/user/ada/{sandbox}/"
    code = "import os; print(os.environ['GREETING'], os.getcwd())"
    said, folder = ada.run(sandbox, code).split()
    assert said == "hello"
    assert Path(folder) == hub.folder / "sandboxes" / "ada" / sandbox
    assert ada.json("GET", f"/sandboxes/{sandbox}")["state"] == "ready"


def test_sandboxes_are_listed_by_state_and_metadata(ada: Program, sandbox: str) -> None:
    def ids(**query: str) -> list[str]:
        return [one["id"] for one in ada.json("GET", "/sandboxes", params=query)]

    eventually(lambda: ids(state="ready") == [sandbox])
    assert ids(metadata="purpose=tests") == [sandbox]
    assert ids(metadata="purpose=other") == []
    assert ids(state="stopping") == []


def test_one_sandbox_too_many_is_refused_with_a_sentence(ada: Program, sandbox: str) -> None:
    one_more = ada.json("POST", "/sandboxes", json={})["id"]
    answer = ada.http.post("/sandboxes", json={})
    assert answer.status_code == 429
    assert answer.json()["error"]["message"] == (
        "You have 2 sandboxes, and 2 are allowed. Delete one, or wait until one ends."
    )
    e2b = ada.http.post("/e2b/v2/sandboxes", json={})
    assert (e2b.status_code, e2b.json()["code"]) == (429, 429)
    # Nor does the hub's own API make one, whatever its name.
    headers = {"Authorization": f"token {ada.token}"}
    past = f"{ada.hub}/hub/api/users/ada/servers/"
    assert httpx.post(f"{past}sandbox-aaaaaaaa", headers=headers).status_code == 429
    assert httpx.post(f"{past}other", headers=headers).status_code == 400
    assert ada.json("DELETE", f"/sandboxes/{one_more}") is None
    eventually(lambda: len(ada.json("GET", "/sandboxes")) == 1)


def test_a_sandbox_ends_at_its_deadline_with_its_home(ada: Program, hub: RunningHub) -> None:
    made = ada.json("POST", "/sandboxes", json={"timeout": 3600})
    home = hub.folder / "sandboxes" / "ada" / made["id"]
    ada.run(made["id"], "open('kept', 'w').close()")
    assert (home / "kept").exists()
    moved = ada.json("POST", f"/sandboxes/{made['id']}/timeout", json={"timeout": 1})
    assert moved["expires_at"] < made["expires_at"]
    eventually(lambda: not home.exists())
    assert ada.refusal("GET", f"/sandboxes/{made['id']}") == (404, "not_found")
    assert ada.refusal("POST", f"/sandboxes/{made['id']}/execute", json={"code": "1"})[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        {"timeout": 100_000},
        {"timeout": 0},
        {"env": {"CAESARION_AGENT_MAX_APPROVAL": "auto"}},
        {"env": {"PYTHONPATH": "/x"}},
        {"env": {"a b": "c"}},
        {"env": {"A": "a\0b"}},
        {"metadata": {"a": "b" * 70_000}},
        {"metadata": {"a": 1}},
        {"colour": "red"},
        {"profile": "gold"},
    ],
)
def test_what_a_sandbox_cannot_be_is_refused(ada: Program, body: dict[str, Any]) -> None:
    assert ada.refusal("POST", "/sandboxes", json=body)[0] == 400


def test_two_users_sandboxes_never_see_each_other(
    ada: Program, hub: RunningHub, sandbox: str
) -> None:
    bob = Program(hub.login("bob"))
    with bob.http:
        assert bob.json("GET", "/sandboxes") == []
        for method, path, body in (
            ("GET", f"/sandboxes/{sandbox}", None),
            ("DELETE", f"/sandboxes/{sandbox}", None),
            ("POST", f"/sandboxes/{sandbox}/timeout", {"timeout": 5}),
            ("POST", f"/sandboxes/{sandbox}/execute", {"code": "1"}),
            ("GET", f"/sandboxes/{sandbox}/files", None),
            (
                "POST",
                "/chat",
                {"messages": [{"role": "user", "content": "x"}], "sandbox_id": sandbox},
            ),
        ):
            assert bob.refusal(method, path, json=body) == (404, "not_found"), path
        # Nor past the api service.
        headers = {"Authorization": f"token {bob.token}"}
        straight = f"{bob.hub}/user/ada/{sandbox}/caesarion/api/status"
        assert httpx.get(straight, headers=headers).status_code == 403
    admin = Program(hub.login("admin"))
    with admin.http:
        assert [one["owner"] for one in admin.json("GET", "/sandboxes")] == ["ada"]
        assert admin.json("GET", f"/sandboxes/{sandbox}")["id"] == sandbox


def test_nothing_of_an_administrators_is_sent_to_the_sandbox_of_another_user(
    hub: RunningHub, ada: Program, sandbox: str
) -> None:
    admin = Program(hub.login("admin"))
    here = f"/sandboxes/{sandbox}"
    asked = [{"role": "user", "content": "x"}]
    upload = {"data": {"sandbox_id": sandbox}, "files": {"file": ("a.csv", b"1")}}
    run = {"kind": "execute", "code": "1"}
    of_sandbox = {"params": {"sandbox_id": sandbox}}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"{here}/execute", {"json": {"code": "1"}}),
        ("GET", f"{here}/files", {}),
        ("GET", f"{here}/files/a.csv", {}),
        ("DELETE", f"{here}/files/a.csv", {}),
        ("POST", "/sandboxes/upload", upload),
        ("POST", "/chat", {"json": {"messages": asked, "sandbox_id": sandbox}}),
        ("POST", "/sessions/s/initialize", {"json": {"sandbox_id": sandbox}}),
        ("POST", "/runs", {"json": run, **of_sandbox}),
        ("GET", "/runs", of_sandbox),
        ("GET", "/runs/run_1", of_sandbox),
        ("GET", "/runs/run_1/events", of_sandbox),
        ("POST", "/runs/run_1/cancel", of_sandbox),
        ("POST", f"/e2b/v2/sandboxes/{sandbox}/connect", {"json": {}}),
        ("POST", "/e2b/execute", {"json": {"code": "1"}, "headers": {"E2b-Sandbox-Id": sandbox}}),
        ("GET", "/e2b/contexts", {"headers": {"E2b-Sandbox-Id": sandbox}}),
    ]
    with admin.http:
        for method, path, options in calls:
            answer = admin.http.request(method, path, **options)
            assert answer.status_code == 403, (path, answer.text)
            assert "The sandbox is ada's." in answer.text
        moved = admin.json("POST", f"{here}/timeout", json={"timeout": 3600})
        assert (moved["id"], moved["owner"]) == (sandbox, "ada")
        ended = ada.json("POST", "/sandboxes", json={})["id"]
        assert admin.json("DELETE", f"/sandboxes/{ended}") is None
        eventually(lambda: [one["id"] for one in ada.json("GET", "/sandboxes")] == [sandbox])


ROUTES = [
    ("POST", "/chat"),
    ("POST", "/sessions/s/initialize"),
    ("POST", "/sandboxes"),
    ("GET", "/sandboxes"),
    ("GET", "/sandboxes/home"),
    ("DELETE", "/sandboxes/sandbox-aaaaaaaa"),
    ("POST", "/sandboxes/sandbox-aaaaaaaa/timeout"),
    ("POST", "/sandboxes/home/execute"),
    ("POST", "/sandboxes/upload"),
    ("GET", "/sandboxes/home/files"),
    ("GET", "/sandboxes/home/files/a.csv"),
    ("DELETE", "/sandboxes/home/files/a.csv"),
    ("POST", "/runs"),
    ("GET", "/runs"),
    ("GET", "/runs/run_1"),
    ("GET", "/runs/run_1/events"),
    ("POST", "/runs/run_1/cancel"),
]


def test_every_documented_route_is_among_those_that_are_tried(ada: Program) -> None:
    document = ada.json("GET", "/openapi.json")
    documented = {
        (method.upper(), path.count("/"))
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert {(method, path.count("/")) for method, path in ROUTES} == documented
    assert sum(len(operations) for operations in document["paths"].values()) == len(ROUTES)


def test_no_route_answers_without_a_token_with_a_wrong_one_or_one_in_its_address(
    ada: Program,
) -> None:
    few = {"scopes": ["read:users!user"], "note": "too few"}
    url = f"{ada.hub}/hub/api/users/ada/tokens"
    weak = ada.session.post(url, json=few).json()["token"]
    with httpx.Client(base_url=ada.hub + API, timeout=WITHIN) as http:
        for method, path in ROUTES:
            tries = [
                ({}, {}, 401, "unauthorized"),
                ({"Authorization": "Bearer made-up"}, {}, 401, "unauthorized"),
                ({"X-API-Key": "made-up"}, {}, 401, "unauthorized"),
                ({"X-API-Key": weak}, {}, 403, "scope"),
                ({}, {"token": ada.token}, 400, "token_in_url"),
                ({"X-API-Key": ada.token}, {"token": ada.token}, 400, "token_in_url"),
            ]
            for headers, params, status, code in tries:
                answer = http.request(method, path, headers=headers, params=params)
                error = answer.json()["error"]
                assert (answer.status_code, error["code"]) == (status, code), (method, path)
                assert ada.token not in answer.text


def test_the_token_of_a_server_which_its_code_can_read_does_not_open_the_service(
    ada: Program,
) -> None:
    code = "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])"
    own = ada.run("home", code).strip()
    headers = {"Authorization": f"Bearer {own}"}
    assert httpx.get(f"{ada.hub}{API}/sandboxes", headers=headers).status_code == 403


def test_cookies_count_for_nothing_and_only_named_origins_may_read(ada: Program) -> None:
    assert ada.session.get(f"{API}/sandboxes").status_code == 401
    for origin, allowed in (("https://app.example.org", True), ("https://evil.example", False)):
        answer = ada.http.get("/sandboxes", headers={"Origin": origin})
        assert ("Access-Control-Allow-Origin" in answer.headers) is allowed
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_the_page_of_the_documentation_loads_nothing_from_elsewhere(ada: Program) -> None:
    page = ada.http.get("/docs", headers={"Authorization": ""})
    assert page.status_code == 200
    assert "//" not in page.text.replace(ada.hub, "").replace("// ", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"{API}/static-offline-docs/{asset}" in page.text
        assert ada.http.get(f"/static-offline-docs/{asset}").status_code == 200


def test_a_file_is_uploaded_listed_read_and_deleted(ada: Program, sandbox: str) -> None:
    form = {"sandbox_id": sandbox}
    kept = ada.json("POST", "/sandboxes/upload", data=form, files={"file": ("a.csv", b"x,y\n1,2")})
    assert kept["name"] == "a.csv"
    assert "2 columns" in kept["preview"] or "x" in kept["preview"]
    assert [one["name"] for one in ada.json("GET", f"/sandboxes/{sandbox}/files")] == ["a.csv"]
    content = ada.http.get(f"/sandboxes/{sandbox}/files/a.csv")
    assert content.content == b"x,y\n1,2"
    assert content.headers["X-Content-Type-Options"] == "nosniff"
    ada.run(sandbox, "open('made.txt', 'w').write('by code')")
    assert ada.http.get(f"/sandboxes/{sandbox}/files/made.txt").text == "by code"
    assert ada.json("DELETE", f"/sandboxes/{sandbox}/files/a.csv") is None
    assert ada.refusal("GET", f"/sandboxes/{sandbox}/files/a.csv") == (404, "not_found")
    assert ada.json("GET", f"/sandboxes/{sandbox}/files") == []


def test_what_is_no_form_with_a_file_is_refused(ada: Program, sandbox: str) -> None:
    upload = "/sandboxes/upload"
    assert ada.refusal("POST", upload, content=b"x")[0] == 415
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert ada.refusal("POST", upload, content=b"--b\r\n", headers=headers)[0] == 400
    assert ada.refusal("POST", upload, content=b"nonsense", headers=headers)[0] == 400
    assert ada.refusal("POST", upload, files={"a": (None, "b")})[0] == 400
    form = {"sandbox_id": sandbox}
    two = [("file", ("a.csv", b"1")), ("file", ("b.csv", b"2"))]
    assert ada.refusal("POST", upload, data=form, files=two)[0] == 400
    program = {"file": ("a.exe", b"MZ" * 3_000_000)}
    assert ada.refusal("POST", upload, data=form, files=program)[0] == 415
    assert ada.json("GET", f"/sandboxes/{sandbox}/files") == []


def service(hub: RunningHub) -> psutil.Process:
    """Return the process of the api service, or of one that was started again."""
    ours = psutil.Process().children()
    running = [one for one in (*hub.processes(), *ours) if is_alive(one)]
    return [one for one in running if "caesarion_hub.api" in one.cmdline()][-1]


@dataclass
class Service:
    """The api service as it was started."""

    process: psutil.Process
    command: list[str]
    environment: dict[str, str]

    @classmethod
    def of(cls, hub: RunningHub) -> "Service":
        process = service(hub)
        return cls(process, process.cmdline(), process.environ())


@pytest.fixture(scope="module")
def restarted() -> Iterator[Callable[[Service], None]]:
    """Start a service again that has ended; JupyterHub does so, too, but half a minute later."""
    started: list[subprocess.Popen[bytes]] = []

    def start(ended: Service) -> None:
        eventually(lambda: not is_alive(ended.process))
        one = subprocess.Popen(ended.command, env=ended.environment, stderr=subprocess.DEVNULL)
        started.append(one)

    yield start
    for one in started:
        one.kill()
        one.wait()


def test_a_large_upload_is_passed_on_without_being_held(
    ada: Program, hub: RunningHub, sandbox: str
) -> None:
    size = 200_000_000 - 1_000_000

    def body() -> Iterator[bytes]:
        for name, value in (("sandbox_id", sandbox),):
            yield (
                f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            ).encode()
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.csv"\r\n\r\n'
        for _ in range(size // 500_000):
            yield b"1,2\n" * 125_000
        yield b"\r\n--b--\r\n"

    process = service(hub)
    before = process.memory_info().rss
    highest = before
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.05):
            highest = max(highest, process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        kept = ada.json("POST", "/sandboxes/upload", content=body(), headers=headers, timeout=600)
    finally:
        done.set()
        watching.join()
    assert kept["size"] == size
    size += 2_000_000  # one that is too large is refused in its middle
    refused = ada.refusal("POST", "/sandboxes/upload", content=body(), headers=headers, timeout=600)
    assert refused == (413, "too_large")
    assert highest - before < 40_000_000
    with ada.http.stream("GET", f"/sandboxes/{sandbox}/files/big.csv") as answer:
        assert int(answer.headers["Content-Length"]) == kept["size"]
        assert next(answer.iter_raw())[:4] == b"1,2\n"
    ada.json("DELETE", f"/sandboxes/{sandbox}/files/big.csv")


def test_the_model_is_told_of_a_sessions_uploads_with_its_next_question_once(
    ada: Program,
) -> None:
    form = {"session_id": "table", "sandbox_id": "home"}
    table = b"town,rain\nLisbon,1\nPorto,2\n"
    ada.json("POST", "/sandboxes/upload", data=form, files={"file": ("towns.csv", table)})

    def answer(session_id: str) -> str:
        messages = [{"role": "user", "content": "describe the attached table"}]
        body = {"messages": messages, "session_id": session_id, "approval": "read-only"}
        events = ada.http.post("/chat", json=body).text.split("\n\n")
        return "".join(event for event in events if "delta" in event or "tool_call" in event)

    assert "towns.csv" not in answer("another")
    assert "towns.csv" in answer("table")
    assert "towns.csv" not in answer("table")


def test_a_run_is_passed_on_and_followed(ada: Program) -> None:
    background = {"code": "print('far')", "background": True}
    run = ada.json("POST", "/sandboxes/home/execute", json=background)
    with ada.http.stream("GET", f"/runs/{run['id']}/events") as answer:
        text = answer.read().decode()
    assert "far" in text
    assert ada.json("GET", f"/runs/{run['id']}")["status"] == "completed"
    assert run["id"] in json.dumps(ada.json("GET", "/runs", params={"limit": 5}))
    assert ada.refusal("GET", "/runs/run_none") == (404, "not_found")


def running_stream(
    ada: Program, stack: contextlib.ExitStack, sandbox_id: str, code: str
) -> Iterator[str]:
    """Begin a run, and return its lines once it has said something."""
    request = {"code": f"print('begun', flush=True)\n{code}"}
    answer = stack.enter_context(
        ada.http.stream("POST", f"/sandboxes/{sandbox_id}/execute", json=request)
    )
    lines = answer.iter_lines()
    assert any("begun" in line for line in lines)
    return lines


FOREVER = "import time\nwhile True: time.sleep(0.1)"


def test_a_client_that_leaves_stops_its_run(ada: Program, sandbox: str) -> None:
    code = (
        "try:\n    print('begun', flush=True)\n    import time; time.sleep(600)\n"
        "except KeyboardInterrupt:\n    open('stopped', 'w').close()"
    )
    body = {"code": code, "session_id": "left"}
    with ada.http.stream("POST", f"/sandboxes/{sandbox}/execute", json=body) as answer:
        assert any("begun" in line for line in answer.iter_lines())
    eventually(lambda: ada.http.get(f"/sandboxes/{sandbox}/files/stopped").is_success)


def test_a_run_whose_server_dies_ends_with_a_status(ada: Program, hub: RunningHub) -> None:
    victim = ada.json("POST", "/sandboxes", json={})["id"]
    own = int(ada.run(victim, "import os; print(os.getppid())"))
    with contextlib.ExitStack() as stack:
        lines = running_stream(ada, stack, victim, FOREVER)
        psutil.Process(own).kill()
        *_, last = [line for line in lines if line]
    end = json.loads(last)
    assert end["status"] == "error"
    assert end["error"]["code"] == "server_unavailable"
    ada.http.delete(f"/sandboxes/{victim}")
    eventually(lambda: len(ada.json("GET", "/sandboxes")) == 1)


def test_what_is_no_request_of_http_hurts_nobody(ada: Program, hub: RunningHub) -> None:
    port = next(c.laddr.port for c in service(hub).net_connections() if c.status == "LISTEN")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"\0\1\2 nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert ada.http.get("/health").json() == {"status": "ok"}


def test_a_run_ends_with_a_status_when_the_service_is_stopped_and_the_next_one_goes_on(
    ada: Program, hub: RunningHub, sandbox: str, restarted: Callable[[Service], None]
) -> None:
    with contextlib.ExitStack() as stack:
        lines = running_stream(ada, stack, sandbox, FOREVER)
        stopped = Service.of(hub)
        stopped.process.send_signal(signal.SIGTERM)
        *_, last = [line for line in lines if line]
    assert json.loads(last)["error"]["code"] == "stopping"
    restarted(stopped)
    eventually(lambda: ada.http.get("/health").is_success)
    assert ada.run(sandbox, "1+1") == "2"


def test_a_client_learns_at_once_that_the_service_was_killed(
    ada: Program, hub: RunningHub, sandbox: str, restarted: Callable[[Service], None]
) -> None:
    with contextlib.ExitStack() as stack:
        lines = running_stream(ada, stack, sandbox, FOREVER)
        killed = Service.of(hub)
        killed.process.kill()
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    restarted(killed)
    eventually(lambda: ada.http.get("/health").is_success)


def test_a_client_learns_at_once_that_the_hub_was_killed(
    ada: Program, hub: RunningHub, sandbox: str
) -> None:
    with contextlib.ExitStack() as stack:
        lines = running_stream(ada, stack, sandbox, FOREVER)
        running = [one for one in hub.processes() if is_alive(one)]
        (process,) = [one for one in running if "caesarion_hub" in one.cmdline()]
        process.kill()
        # `make up` ends everything when its hub has ended; who is faster tells the client.
        try:
            told = [json.loads(line) for line in lines if line]
        except httpx.RemoteProtocolError:
            return
    assert told[-1]["error"]["code"] in ("stopping", "server_unavailable")
