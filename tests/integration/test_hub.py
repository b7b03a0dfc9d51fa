"""The hub of ``make up``, whole: who may do what, and what a user's server gets."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import httpx
import psutil
import pytest
from caesarion.chat.store import FOLDER

from tests.hub import SERVER_WITHIN, RunningHub, Session, running_hub


def server_of(hub: RunningHub, user: str) -> psutil.Process:
    """Return the process of a user's server."""
    home = str(hub.home(user))
    return next(
        process
        for process in hub.processes()
        if "caesarion.singleuser" in process.cmdline() and process.environ()["HOME"] == home
    )


async def run_in_kernel(hub: RunningHub, session: Session, code: str) -> str:
    """Run ``code`` in a new kernel of the user's through the proxied WebSocket."""
    kernels = f"/user/{session.user}/api/kernels"
    kernel = session.post(kernels, json={}).raise_for_status().json()["id"]
    ours = uuid4().hex
    request = {
        "header": {
            "msg_id": ours,
            "msg_type": "execute_request",
            "session": uuid4().hex,
            "username": session.user,
            "version": "5.4",
        },
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False},
        "channel": "shell",
        "buffers": [],
    }
    printed = ""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"token {session.token()}"}) as client,
        client.ws_connect(f"{hub.url}{kernels}/{kernel}/channels") as channels,
    ):
        await channels.send_json(request)
        while True:
            message = await channels.receive_json()
            if message["parent_header"].get("msg_id") != ours:
                continue
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            if message["content"].get("execution_state") == "idle":
                return printed


def test_two_people_are_two_users_with_two_servers(hub: RunningHub) -> None:
    hana, hugo = hub.login("hana"), hub.login("hugo")
    assert (hana.start_server(), hugo.start_server()) == ("/user/hana/", "/user/hugo/")
    assert server_of(hub, "hana").pid != server_of(hub, "hugo").pid
    (hub.home("hana") / "mine.txt").write_text("hana's")
    assert hana.get("/user/hana/api/contents/mine.txt").json()["content"] == "hana's"
    assert hugo.get("/user/hugo/api/contents/mine.txt").status_code == 404
    assert hugo.get("/user/hana/api/contents/mine.txt").status_code == 403
    assert httpx.get(f"{hub.url}/user/hana/api/contents/mine.txt").status_code == 403


def test_a_name_that_is_no_folders_name_gets_a_home_of_its_own(hub: RunningHub) -> None:
    assert hub.login("~a da").start_server() == "/user/~a%20da/"
    assert (hub.folder / "homes" / "a-da---2d278ef57e29b92b").is_dir()


@pytest.mark.parametrize(
    ("user", "password"),
    [("eve", "a wrong password"), ("admin", "the users' password"), ("eve", "")],
)
def test_a_wrong_password_is_refused(hub: RunningHub, user: str, password: str) -> None:
    with Session(hub.url, user) as session:
        assert session.log_in(password).status_code == 403


def test_the_administrators_password_is_for_administrators(hub: RunningHub) -> None:
    with Session(hub.url, "eve") as session:
        assert session.log_in(hub.admin_password).status_code == 403


def test_the_administrator_sees_everybody_and_stops_a_server(hub: RunningHub) -> None:
    cyd = hub.login("cyd")
    cyd.start_server()
    server = server_of(hub, "cyd")
    admin = hub.login("admin")
    assert admin.get("/hub/admin").status_code == 200
    names = [user["name"] for user in admin.get("/hub/api/users").raise_for_status().json()]
    assert {"admin", "cyd"} <= set(names)
    admin.delete("/hub/api/users/cyd/server").raise_for_status()
    server.wait(120)


def test_a_user_is_no_administrator(hub: RunningHub) -> None:
    dan = hub.login("dan")
    assert dan.get("/hub/admin").status_code == 403
    assert dan.get("/hub/api/users").status_code == 403
    assert dan.post("/hub/api/users/admin/server").status_code == 404


async def test_a_kernel_answers_through_the_proxy(hub: RunningHub) -> None:
    hana = hub.login("hana")
    hana.start_server()
    code = "import os; print(os.getcwd(), os.environ['HOME'], 6 * 7)"
    home = hub.home("hana")
    assert await run_in_kernel(hub, hana, code) == f"{home} {home} 42\n"


def test_the_log_does_not_warn_of_who_looks_at_their_usage(hub: RunningHub) -> None:
    wanda = hub.login("wanda")
    assert "My usage" in wanda.get("/services/gateway/usage").text
    assert wanda.get("/services/gateway/admin").status_code == 403
    assert "wanda" in hub.log
    assert "requested scopes" not in hub.log


def test_a_body_of_any_length_is_refused_by_the_gateway_and_not_by_the_proxy(
    hub: RunningHub,
) -> None:
    token = hub.login("wanda").token()
    size = 100 * 2**20
    answer = httpx.post(
        f"{hub.url}/services/gateway/v1/chat/completions",
        content=(bytes(2**20) for _ in range(100)),
        headers={"Authorization": f"Bearer {token}", "Content-Length": str(size)},
        timeout=60,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_a_path_that_is_no_text_ends_at_the_proxy_and_harms_nobody(hub: RunningHub) -> None:
    for path in ("/%ff", "/services/gateway/%ff", "/user/wanda/%ff"):
        answer = httpx.get(f"{hub.url}{path}")
        # configurable-http-proxy 5 cannot decode it; neither the hub nor a service sees it.
        assert answer.status_code == 500
        assert "%ff" not in answer.text
    assert httpx.get(f"{hub.url}/hub/health").status_code == 200


def test_a_server_knows_the_gateway_by_its_own_token(hub: RunningHub) -> None:
    hana = hub.login("hana")
    hana.start_server()
    environment = server_of(hub, "hana").environ()
    assert environment["CAESARION_MODEL_NAME"] == "gpt-4.1"
    assert not [name for name in environment if name.startswith(("OPENAI", "CAESARION_G"))]
    models = httpx.get(
        f"{environment['CAESARION_MODEL_BASE_URL']}/models",
        headers={"Authorization": f"Bearer {environment['JUPYTERHUB_API_TOKEN']}"},
    )
    assert models.status_code == 200
    assert models.json()["object"] == "list"


def test_a_server_reads_the_settings_that_the_wheel_ships(hub: RunningHub) -> None:
    hana = hub.login("hana")
    hana.start_server()
    settings = hana.get("/user/hana/lab/api/settings/jupyterlab-chat-extension:factory").json()
    assert settings["schema"]["properties"]["defaultDirectory"]["default"] == FOLDER
    assert (hub.home("hana") / FOLDER).is_dir(), "the browser need not make it"
    page = hana.get("/user/hana/lab").text
    assert (
        '"jupyter_ai_default_persona": "jupyter-ai-personas::caesarion::CaesarionPersona"' in page
    )
    log = (hub.folder / "logs" / "hana.log").read_text()
    assert "caesarion | extension was successfully loaded." in log
    for switched_off in ("jupyter_server_mcp", "jupyter_ai_acp_client", "jupyter_ai_tools"):
        assert switched_off not in log


def test_a_page_loads_what_is_of_use_and_browsers_keep_it(hub: RunningHub) -> None:
    hana = hub.login("hana")
    hana.start_server()
    page = hana.get("/user/hana/lab").text
    [config] = re.findall(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    loaded = {one["name"]: one["load"] for one in json.loads(config)["federated_extensions"]}
    assert {"@caesarion/labextension", "jupyterlab-chat-extension"} <= set(loaded)
    assert not {"jupyterlab-diff", "@jupyter-ai/acp-client"} & set(loaded)
    for name, entry in loaded.items():
        file = hana.get(f"/user/hana/lab/extensions/{name}/{entry}").raise_for_status()
        assert file.headers["cache-control"].endswith("immutable")


def test_everything_listens_on_the_loopback_interface(hub: RunningHub) -> None:
    hub.login("hana").start_server()
    listening = {
        connection.laddr
        for process in hub.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip for address in listening} == {"127.0.0.1"}
    ports = {address.port for address in listening}
    assert hub.port in ports
    assert 3001 not in ports  # jupyter_server_mcp's, which asks nobody who they are


def test_the_key_is_in_a_file_that_only_the_gateway_is_told_of(tmp_path: Path) -> None:
    key = f"sk-{uuid4().hex}"
    environment = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    values = {"singleuser": {"extraEnv": {"CAESARION_KERNEL_PREWARM": "0"}}}  # as kernels are named
    with running_hub(tmp_path / "state", environment=environment, values=values) as hub:
        hana = hub.login("hana")
        hana.start_server()
        hana.post("/user/hana/api/kernels", json={}).raise_for_status()
        named = {process.pid: " ".join(process.cmdline()) for process in hub.processes()}
        told = {pid: psutil.Process(pid).environ() for pid in named}
        parts = ("up", "jupyterhub_config.py", "http-proxy", "gateway", "singleuser", "ipykernel")
        assert [part for part in parts if part not in " ".join(named.values())] == []
        assert not [command for command in named.values() if key in command]
        assert not [pid for pid, variables in told.items() if key in str(variables)]
        key_file = str(hub.folder / "provider_key")
        assert [
            named[pid].endswith("caesarion_hub.gateway")
            for pid, variables in told.items()
            if str(hub.folder / "gateway.yaml") in variables.values()
        ] == [True]
        assert (hub.folder / "gateway.yaml").stat().st_mode & 0o777 == 0o600
        files = [file for file in hub.folder.rglob("*") if file.is_file()]
        assert [str(file) for file in files if key.encode() in file.read_bytes()] == [key_file]
        assert Path(key_file).stat().st_mode & 0o777 == 0o600
        assert not [line for line in hub.printed if key in line]
    assert not Path(key_file).exists()


def test_an_idle_server_is_culled(tmp_path: Path) -> None:
    values: dict[str, Any] = {"cull": {"timeout": 2, "every": 1}}
    with running_hub(tmp_path / "state", values=values) as hub:
        hana = hub.login("hana")
        hana.start_server()
        server_of(hub, "hana").wait(SERVER_WITHIN)
        assert "culling server hana" in hub.log.lower()
