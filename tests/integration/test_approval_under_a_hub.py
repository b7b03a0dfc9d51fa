"""Code that runs in a kernel cannot approve what follows, under a real hub; a person can."""

import ast
import json
from typing import Any

import httpx

from tests.chat import shown
from tests.hub import RunningHub

QUESTION = {
    "messages": [{"role": "user", "content": "plot a sine wave"}],
    "approval": "ask",
}

# What code that was approved may try, to decide and to be a page with notebooks open: the server's
# token as it is, and the same token as the cookie of a session, signed with the server's own secret
# and sent with the XSRF token that belongs to it. The first status that it prints shows that the
# forged session is let in at all.
ATTACK = """
import hashlib, hmac, http.cookiejar, json, os, pathlib, urllib.error, urllib.request
from jupyter_core.paths import jupyter_runtime_dir
from tornado.web import create_signed_value

base = os.environ["JUPYTERHUB_SERVICE_URL"].rstrip("/") + "/"
token = os.environ["JUPYTERHUB_API_TOKEN"]

def send(path, headers, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data=data, headers=headers)
    try:
        return urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        return error

key = (pathlib.Path(jupyter_runtime_dir()) / "jupyter_cookie_secret").read_bytes()
secret = hmac.new(key, digestmod=hashlib.sha256).digest()
name = os.environ["JUPYTERHUB_CLIENT_ID"]
session = name + "=" + create_signed_value(secret, name, token).decode()
page = send("lab", {"Cookie": session})
xsrf = [c for c in page.headers.get_all("Set-Cookie") or [] if c.startswith("_xsrf=")][0]
xsrf = xsrf.split(";")[0]
forged = {"Cookie": session + "; " + xsrf, "X-XSRFToken": xsrf.split("=", 1)[1]}
tries = {"token": {"Authorization": "token " + token}, "forged": forged}
doors = {
    "caesarion/api/approvals/PENDING": {"decision": "run"},
    "caesarion/api/changes": {"path": "a.ipynb", "ids": ["1"], "decision": "keep"},
    "caesarion/api/page": None,
}
print([page.status] + [
    send(path, headers, body).status for path, body in doors.items() for headers in tries.values()
])
"""


def attack(hub: RunningHub, server: str, token: str, pending: str) -> Any:
    """Run the attack in a kernel of the user's; return what it printed."""
    source = ATTACK.replace("PENDING", pending)
    answer = httpx.post(
        f"{hub.url}{server}caesarion/api/execute",
        json={"code": source},
        headers={"Authorization": f"token {token}"},
        timeout=60,
    )
    *outputs, end = [json.loads(line) for line in answer.text.splitlines()]
    assert end["status"] == "ok", outputs
    return ast.literal_eval("".join(output["text"] for output in outputs))


def test_approved_code_cannot_approve_and_the_person_in_the_browser_can(hub: RunningHub) -> None:
    person = hub.login("approver")
    server = person.start_server()
    token = person.token()
    names: list[str] = []
    called: dict[str, Any] = {}
    decided: dict[str, Any] = {}
    with person.stream("POST", f"{server}caesarion/api/chat", json=QUESTION) as turn:
        for line in turn.iter_lines():
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                if names[-1] == "tool_call":
                    called = data
                elif names[-1] == "waiting":
                    pending = data["approval_id"]
                    assert attack(hub, server, token, pending) == [200] + 6 * [403]
                    path = f"{server}caesarion/api/approvals/{pending}"
                    body = {"decision": "run", "shown": shown(called)}
                    assert person.post(path, json=body).status_code == 204
                elif names[-1] == "decided":
                    decided = data
    assert (decided["by"], decided["program"]) == ("approver", False)
    assert names[-1] == "done"
