"""A server that ends by itself: the hub knows at once, and its user is told why."""

import contextlib
import html

import httpx

from tests.cluster.harness import Installation, eventually
from tests.hub import Session

SUICIDE = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
"""Kills the server that the kernel belongs to."""


def has_server(session: Session) -> bool:
    return bool(session.get(f"/hub/api/users/{session.user}").json()["servers"])


def test_whose_server_was_killed_is_told_and_starts_another(caesarion: Installation) -> None:
    session = caesarion.login("mortal")
    session.start_server()
    server = caesarion.server_of(session)
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(
            f"{server.url}caesarion/api/execute",
            headers=server.headers,
            json={"code": SUICIDE},
            timeout=30,
        )
    eventually(lambda: not has_server(session), 15)  # JupyterHub alone looks every 30 seconds
    page = session.get("/user/mortal/lab")
    assert "Your server stopped by itself (exit code 137)." in html.unescape(page.text)
    assert caesarion.pod_of("mortal") is None
    assert session.start_server() == "/user/mortal/"
    session.stop_server()
    assert "ended by itself" not in session.get("/user/mortal/lab").text


def test_who_shuts_the_server_down_from_the_lab_is_told_nothing(caesarion: Installation) -> None:
    session = caesarion.login("leaver")
    session.start_server()
    session.post("/user/leaver/api/shutdown").raise_for_status()
    eventually(lambda: not has_server(session))
    page = session.get("/user/leaver/lab")
    assert page.status_code == 424
    assert "ended by itself" not in page.text
