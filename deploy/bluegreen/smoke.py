"""
A smoke test of a release, as a user: log in, start a server, compute, get an answer in the chat.

    SMOKE_PASSWORD=... python3 -m deploy.bluegreen.smoke https://hub.example.org --user smoke-test

The password is that of the shared password's login. For a hub with another login, give the
token of a service or user in SMOKE_TOKEN instead, with the scopes that docs/delivery.md lists.
Called by both pipelines, and by ``flow`` with the cookie of the release to visit.
"""

import argparse
import contextlib
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar

from deploy.bluegreen.route import COOKIE

SECONDS = 300.0
"""The longest that one answer, or the start of the server, may take."""

QUESTION = "Say hello in one short sentence."


class SmokeError(Exception):
    """The release does not work; the message is a sentence."""


class Sticky(urllib.request.BaseHandler):
    """Adds the cookie of the release to every request, behind those that the hub has set."""

    handler_order = 900  # after HTTPCookieProcessor

    def __init__(self, value: str) -> None:
        self._cookie = f"{COOKIE}={value}"

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Add the cookie."""
        others = request.get_header("Cookie")
        request.add_unredirected_header(
            "Cookie", f"{others}; {self._cookie}" if others else self._cookie
        )
        return request

    https_request = http_request


class Visitor:
    """A user with a browser's cookies; addresses are relative to the hub's."""

    def __init__(self, url: str, user: str, cookie: str | None = None, seconds: float = SECONDS):
        self.user = user
        self.sent = cookie
        self.jar = CookieJar()
        self._url = url.rstrip("/") + "/"
        self._seconds = seconds
        self._token = ""
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPCookieProcessor(self.jar)]
        self._opener = urllib.request.build_opener(*handlers, *([Sticky(cookie)] if cookie else []))

    def release(self) -> str:
        """Return the cookie of the release that answers, empty if it sets none."""
        self.call("GET", "hub/login")
        return next((one.value or "" for one in self.jar if one.name == COOKIE), "")

    def log_in(self, password: str) -> None:
        """Send the hub's login form, and get a token for what follows."""
        self.call("GET", "hub/login")
        form = {"username": self.user, "password": password, "_xsrf": self._xsrf()}
        body = urllib.parse.urlencode(form).encode()
        self.call("POST", "hub/login?next=%2Fhub%2Fhome", body, "application/x-www-form-urlencoded")
        note = {"note": "smoke test", "expires_in": 3600}
        made = self.call("POST", f"hub/api/users/{self.user}/tokens", json.dumps(note).encode())
        self._token = json.loads(made)["token"]

    def use_token(self, token: str) -> None:
        """Act with a token that may administer the user, who is created if there is none."""
        self._token = token
        try:
            self.call("GET", f"hub/api/users/{self.user}")
        except SmokeError:
            self.call("POST", f"hub/api/users/{self.user}")

    def start_server(self) -> str:
        """Start the user's server, and return its address when it is ready."""
        try:
            self.call("POST", f"hub/api/users/{self.user}/server")
        except SmokeError as error:
            if "answered 400" not in str(error):  # 400: it is running
                raise
        for line in self.lines("GET", f"hub/api/users/{self.user}/server/progress"):
            event = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if event.get("failed"):
                raise SmokeError(f"The server of {self.user} did not start: {event.get('message')}")
            if event.get("ready"):
                return urllib.parse.urljoin(self._url, str(event["url"]))
        raise SmokeError(f"The hub did not say that the server of {self.user} is ready.")

    def compute(self, server: str) -> None:
        """Let the user's kernel compute something."""
        body = json.dumps({"code": "print(6 * 7)"}).encode()
        found = list(self.lines("POST", f"{server}caesarion/api/execute", body))
        if not any("42" in line for line in found):
            raise SmokeError(f"The kernel did not print 42 but said: {' '.join(found)[:500]}")

    def ask(self, server: str) -> str:
        """Return the answer of the chat to a question."""
        body = json.dumps({"messages": [{"role": "user", "content": QUESTION}]}).encode()
        event, text, reason, trouble = "", "", "", ""
        for line in self.lines("POST", f"{server}caesarion/api/chat", body):
            key, _, value = line.partition(": ")
            if key == "event":
                event = value
            elif key == "data":
                data = json.loads(value)
                text += data.get("delta", "") if event == "text" else ""
                reason = data["reason"] if event == "done" else reason
                trouble = data["message"] if event == "error" else trouble
        if reason != "stop" or not text.strip():
            said = trouble or text[:500] or "nothing"
            raise SmokeError(f"The chat ended with {reason or 'no status'} and said: {said}")
        return text

    def stop_server(self) -> None:
        """Stop the user's server, and wait until it is gone: the next release starts another."""
        self.call("DELETE", f"hub/api/users/{self.user}/server")
        deadline = time.monotonic() + self._seconds
        while json.loads(self.call("GET", f"hub/api/users/{self.user}"))["servers"]:
            if time.monotonic() > deadline:
                raise SmokeError(f"The server of {self.user} did not stop.")
            time.sleep(1)

    def call(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> str:
        """Return what an address answers; raise :class:`SmokeError` for an error."""
        return "\n".join(self.lines(method, path, body, kind))

    def lines(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> Iterator[str]:
        """Yield the lines of an answer as they come."""
        where = urllib.parse.urljoin(self._url, path)
        headers = {"X-XSRFToken": self._xsrf(), **({"Content-Type": kind} if body else {})}
        if self._token:
            headers["Authorization"] = f"token {self._token}"
        request = urllib.request.Request(where, body, headers, method=method)  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._seconds) as answer:
                for line in answer:
                    yield line.decode(errors="replace").rstrip("\r\n")
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(500).decode(errors="replace").strip()
            raise SmokeError(f"{method} {where} answered {error.code}: {said}") from error
        except (OSError, http.client.HTTPException) as error:
            raise SmokeError(f"{method} {where} failed: {error}") from error

    def _xsrf(self) -> str:
        found = [one.value for one in self.jar if one.name == "_xsrf" and "/hub/" in one.path]
        return (found[0] if found else "") or ""


def visit(url: str, user: str, cookie: str | None = None, seconds: float = SECONDS) -> str:
    """
    Visit a release and return the chat's answer; raise :class:`SmokeError` if it does not work.

    The password or the token is in SMOKE_PASSWORD or SMOKE_TOKEN.
    """
    password, token = os.environ.get("SMOKE_PASSWORD"), os.environ.get("SMOKE_TOKEN")
    if not url.startswith(("http://", "https://")):
        raise SmokeError(f"{url!r} is no address. It begins with https://.")
    visitor = Visitor(url, user, cookie, seconds)
    if token:
        visitor.use_token(token)
    elif password:
        visitor.log_in(password)
    else:
        raise SmokeError("Set SMOKE_PASSWORD, or SMOKE_TOKEN for a hub without a shared password.")
    server = visitor.start_server()
    try:
        visitor.compute(server)
        answer = visitor.ask(server)
    except SmokeError:
        with contextlib.suppress(SmokeError):  # the first error is the one to tell
            visitor.stop_server()
        raise
    visitor.stop_server()
    return answer


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m deploy.bluegreen.smoke",
        description="Visit a hub as a user. SMOKE_PASSWORD or SMOKE_TOKEN lets the user in.",
    )
    parser.add_argument("url", help="the hub's address with its base URL")
    parser.add_argument("--user", default="smoke-test", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="default: %(default)s")
    given = parser.parse_args()
    try:
        answer = visit(given.url, given.user, seconds=given.seconds)
    except SmokeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"It works. The chat says: {answer.strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
