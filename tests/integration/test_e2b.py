"""E2B's own SDK, unmodified, with the api service: sandboxes, code, files and commands."""

import asyncio
import io
from collections.abc import Iterator

import certifi
import httpx
import pytest
from e2b import (
    AsyncSandbox as PlainAsyncSandbox,
)
from e2b import (
    AuthenticationException,
    CommandExitException,
    FileNotFoundException,
    InvalidArgumentException,
    NotFoundException,
    SandboxException,
    SandboxNotFoundException,
    SandboxQuery,
    TimeoutException,
)
from e2b_code_interpreter import AsyncSandbox, Sandbox

from tests.hub import RunningHub

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def sdk(hub: RunningHub) -> Iterator[dict[str, str]]:
    """Where the SDK finds the service, and a token: nothing else of it is changed."""
    url = f"{hub.url}/services/api/e2b"
    token = hub.login("emil").token()
    variables = {"E2B_API_URL": url, "E2B_SANDBOX_URL": url, "E2B_API_KEY": token}
    # Its client reads certificates, also to call a server without TLS.
    variables["SSL_CERT_FILE"] = certifi.where()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables


@pytest.fixture(scope="module")
def sandbox(sdk: dict[str, str]) -> Sandbox:
    """One sandbox for all tests."""
    made = Sandbox.create(
        timeout=600, metadata={"purpose": "a & b"}, envs={"GREETING": "hello"}, request_timeout=120
    )
    assert made.is_running()
    return made


def test_code_runs_with_its_outputs_and_variables(sandbox: Sandbox) -> None:
    run = sandbox.run_code("import os\nprint(os.environ['GREETING'])\nx = 41\nx + 1")
    assert run.text == "42"
    assert run.logs.stdout == ["hello\n"]
    assert run.error is None
    assert run.execution_count == 1
    assert sandbox.run_code("x").text == "41"


def test_callbacks_hear_each_output_as_it_comes(sandbox: Sandbox) -> None:
    heard: list[tuple[str, str]] = []
    sandbox.run_code(
        "import sys\nprint('out', flush=True)\nprint('err', file=sys.stderr, flush=True)\n"
        "display('shown')\n1/0",
        on_stdout=lambda message: heard.append(("stdout", message.line)),
        on_stderr=lambda message: heard.append(("stderr", message.line)),
        on_result=lambda result: heard.append(("result", result.text)),
        on_error=lambda error: heard.append(("error", error.name)),
    )
    assert sorted(heard) == [
        ("error", "ZeroDivisionError"),
        ("result", "'shown'"),
        ("stderr", "err\n"),
        ("stdout", "out\n"),
    ]


def test_an_error_has_a_name_a_value_and_a_traceback(sandbox: Sandbox) -> None:
    error = sandbox.run_code("{}['a']").error
    assert error is not None
    assert (error.name, error.value) == ("KeyError", "'a'")
    assert "KeyError" in error.traceback


@pytest.mark.parametrize(
    ("code", "format"),
    [
        ("import matplotlib.pyplot as p; p.plot([1]); p.show()", "png"),
        ("import pandas; pandas.DataFrame({'a': [1]})", "html"),
        ("from IPython.display import Markdown; Markdown('# x')", "markdown"),
        (
            "from IPython.display import SVG; SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')",
            "svg",
        ),
        ("from IPython.display import Latex; Latex('$x$')", "latex"),
        ("from IPython.display import JSON; JSON({'a': 1})", "json"),
        ("from IPython.display import Javascript; Javascript('1')", "javascript"),
        ("get_ipython().display_pub.publish({'a/b': 'c'})", "a/b"),
    ],
)
def test_results_of_each_kind_come_in_their_own_field(
    sandbox: Sandbox, code: str, format: str
) -> None:
    (result,) = sandbox.run_code(code).results
    assert format in result.formats() or format in result.extra


def test_variables_of_a_run_end_with_it(sandbox: Sandbox) -> None:
    look = "import os; (os.environ.get('ONCE'), os.environ['GREETING'])"
    envs = {"ONCE": "now", "GREETING": "bye"}
    assert sandbox.run_code(look, envs=envs).text == "('now', 'bye')"
    assert sandbox.run_code(look).text == "(None, 'hello')"


def test_contexts_are_kernels_of_their_own(sandbox: Sandbox) -> None:
    sandbox.files.make_dir("work")
    context = sandbox.create_code_context(cwd="work")
    assert (
        sandbox.run_code("import os; y = 1; os.path.basename(os.getcwd())", context=context).text
        == "'work'"
    )
    assert sandbox.run_code("y").error is not None
    assert context.id in [one.id for one in sandbox.list_code_contexts()]
    sandbox.restart_code_context(context)
    assert sandbox.run_code("y", context=context).error is not None
    assert sandbox.run_code("os", context=context).error is not None
    sandbox.remove_code_context(context)
    assert context.id not in [one.id for one in sandbox.list_code_contexts()]
    with pytest.raises(NotFoundException, match="There is no context"):
        sandbox.remove_code_context(context)
    with pytest.raises(SandboxException, match="not a folder"):
        sandbox.create_code_context(cwd="/nowhere")
    with pytest.raises(SandboxException, match="Use python"):
        sandbox.run_code("1", language="r")


def test_files_are_written_read_and_looked_at(sandbox: Sandbox) -> None:
    written = sandbox.files.write("notes/a.txt", "one")
    assert (written.name, written.path.endswith("/notes/a.txt")) == ("a.txt", True)
    assert sandbox.files.read("notes/a.txt") == "one"
    data = bytes(range(256)) * 10_000
    sandbox.files.write("notes/b.bin", io.BytesIO(data))
    assert sandbox.files.read("notes/b.bin", format="bytes") == data
    assert b"".join(sandbox.files.read("notes/b.bin", format="stream")) == data
    sandbox.files.write("notes/c.txt", "zipped " * 1000, gzip=True)
    assert sandbox.files.read("notes/c.txt") == "zipped " * 1000
    both = [{"path": "notes/d.txt", "data": "4"}, {"path": "notes/e.txt", "data": "55"}]
    sandbox.files.write_files(both)
    names = {one.name: one.size for one in sandbox.files.list("notes")}
    assert names == {"a.txt": 3, "b.bin": len(data), "c.txt": 7000, "d.txt": 1, "e.txt": 2}
    info = sandbox.files.get_info("notes/a.txt")
    assert (info.size, info.permissions[0]) == (3, "-")
    assert sandbox.files.exists("notes/a.txt")
    assert not sandbox.files.exists("notes/z.txt")
    assert sandbox.files.make_dir("notes/deep/er")
    assert not sandbox.files.make_dir("notes/deep/er")
    assert {one.name for one in sandbox.files.list("notes", depth=2)} >= {"deep", "er"}
    assert sandbox.files.rename("notes/a.txt", "notes/deep/f.txt").name == "f.txt"
    sandbox.files.remove("notes")
    assert not sandbox.files.exists("notes")


def test_files_that_cannot_be_used_so_are_refused_as_the_sdk_knows_it(sandbox: Sandbox) -> None:
    with pytest.raises(FileNotFoundException, match="There is no"):
        sandbox.files.read("missing.txt")
    with pytest.raises(FileNotFoundException):
        sandbox.files.list("missing")
    with pytest.raises(FileNotFoundException):
        sandbox.files.rename("missing", "other")
    with pytest.raises(InvalidArgumentException, match="is a folder"):
        sandbox.files.read("/")
    with pytest.raises(SandboxException, match="not available here"):
        sandbox.files.watch_dir("/tmp")


def test_commands_run_to_their_end_with_their_streams(sandbox: Sandbox) -> None:
    heard: list[str] = []
    done = sandbox.commands.run(
        "echo $GREETING $MORE; echo oops >&2; pwd",
        envs={"MORE": "world"},
        cwd="/tmp",
        on_stdout=heard.append,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.exit_code) == ("hello world\n/tmp\n", "oops\n", 0)
    assert "".join(heard) == done.stdout
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run("echo half; exit 3")
    assert (caught.value.exit_code, caught.value.stdout) == (3, "half\n")
    with pytest.raises(InvalidArgumentException, match="nowhere"):
        sandbox.commands.run("true", cwd="/nowhere")


def test_commands_in_the_background_are_written_to_listed_and_killed(sandbox: Sandbox) -> None:
    reader = sandbox.commands.run("cat", background=True, stdin=True, timeout=0)
    assert reader.pid in [one.pid for one in sandbox.commands.list()]
    reader.send_stdin("line\n")
    reader.close_stdin()
    assert reader.wait().stdout == "line\n"
    sleeper = sandbox.commands.run("echo up; sleep 600", background=True, timeout=0)
    sleeper.disconnect()
    again = sandbox.commands.connect(sleeper.pid, timeout=0)
    assert sandbox.commands.kill(sleeper.pid)
    with pytest.raises(CommandExitException):
        again.wait()
    assert not sandbox.commands.kill(sleeper.pid)


def test_a_command_is_killed_at_its_time_limit(sandbox: Sandbox) -> None:
    with pytest.raises(TimeoutException):
        sandbox.commands.run("echo $$ > limited; sleep 600", timeout=1)
    gone = "while kill -0 $(cat limited) 2>/dev/null; do sleep 0.1; done; echo gone"
    assert sandbox.commands.run(gone, timeout=0).stdout == "gone\n"


def test_a_sandbox_is_described_listed_prolonged_and_connected_to(sandbox: Sandbox) -> None:
    info = sandbox.get_info()
    assert info.metadata == {"purpose": "a & b"}
    assert info.sandbox_id == sandbox.sandbox_id
    sandbox.set_timeout(1200)
    assert sandbox.get_info().end_at > info.end_at
    listed = Sandbox.list(query=SandboxQuery(metadata={"purpose": "a & b"}))
    assert [one.sandbox_id for one in listed.next_items()] == [sandbox.sandbox_id]
    assert not listed.has_next
    assert Sandbox.list(query=SandboxQuery(metadata={"purpose": "b"})).next_items() == []
    assert Sandbox.connect(sandbox.sandbox_id).run_code("1+1").text == "2"


def test_pages_of_a_list_follow_each_other(sandbox: Sandbox) -> None:
    second = Sandbox.create(request_timeout=120)
    try:
        pages = Sandbox.list(limit=1, order="asc")
        assert [one.sandbox_id for one in pages.next_items()] == [sandbox.sandbox_id]
        assert [one.sandbox_id for one in pages.next_items()] == [second.sandbox_id]
        assert not pages.has_next
    finally:
        assert second.kill()
    assert not second.kill()
    assert not second.is_running()
    with pytest.raises(SandboxNotFoundException):
        second.get_info()
    with pytest.raises(TimeoutException, match="was not found"):
        second.run_code("1")
    with pytest.raises(SandboxException, match="was not found"):
        second.commands.run("true")


async def test_the_async_twins_do_the_same(sandbox: Sandbox) -> None:
    twin = await AsyncSandbox.connect(sandbox.sandbox_id)
    heard: list[str] = []
    run = await twin.run_code("print('a'); 6*7", on_stdout=lambda one: heard.append(one.line))
    assert (run.text, heard) == ("42", ["a\n"])
    await twin.files.write("twin.txt", "x")
    assert await twin.files.read("twin.txt") == "x"
    assert (await twin.commands.run("cat twin.txt")).stdout == "x"
    both = await asyncio.gather(*(twin.run_code(f"{n}*2") for n in range(4)))
    assert [one.text for one in both] == ["0", "2", "4", "6"]
    page = await AsyncSandbox.list().next_items()
    assert [one.sandbox_id for one in page] == [sandbox.sandbox_id]
    context = await twin.create_code_context()
    assert (await twin.run_code("1", context=context)).text == "1"
    await twin.remove_code_context(context)
    plain = await PlainAsyncSandbox.connect(sandbox.sandbox_id)
    assert await plain.is_running()


def test_what_is_not_there_answers_in_the_sdks_own_shape(
    sandbox: Sandbox, sdk: dict[str, str]
) -> None:
    with pytest.raises(SandboxException, match="not available here"):
        Sandbox.create(network={"deny_out": ["0.0.0.0/0"]})
    with pytest.raises(SandboxException, match="not available here"):
        sandbox.pause()
    with pytest.raises(AuthenticationException, match="unknown or has expired"):
        Sandbox.create(api_key="e2b_made_up")
    with pytest.raises(SandboxException, match="must be from 1 to"):
        Sandbox.create(timeout=10**6)
    with pytest.raises(SandboxException, match=r"There is no profile"):
        Sandbox.create(template="no-such-template", request_timeout=120)
    url, key = sdk["E2B_API_URL"], {"X-API-Key": sdk["E2B_API_KEY"]}
    for method, path, options in (
        ("POST", "/execute", {"content": b"{"}),
        ("POST", "/execute", {"content": b"[" * 100_000}),
        ("GET", "/v2/sandboxes?limit=x", {}),
        ("POST", "/files", {}),
    ):
        answer = httpx.request(method, f"{url}{path}", headers=key, **options)  # type: ignore[arg-type]
        assert 400 <= answer.status_code < 500
        assert answer.json()["code"] == answer.status_code
        assert isinstance(answer.json()["message"], str)
