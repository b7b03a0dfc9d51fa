"""
A server that waits for its user: everything is imported, and it is nobody's yet.

Called by :mod:`caesarion.singleuser` and :mod:`caesarion.warm_start` where a hub that keeps such
servers has started it with ``--warm``.
The hub then sends one of them the environment of its user, with the nonce that it has made for
this server alone, and the process goes on as that user's server, on the same port. The hub's side
is ``caesarion_hub.claims``. JupyterHub has nothing like it: Spawners start a server for somebody.

Whoever can reach the port can end the server by another nonce, and do nothing else to it.
"""

import asyncio
import contextlib
import hmac
import importlib
import json
import os
import signal
import site
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

NONCE_VARIABLE = "CAESARION_CLAIM_NONCE"
REFUSED_STATUS = 77
"""Exit status of a server that was sent another nonce, so that the hub can tell."""

IMPORTS = (
    *("jupyter_server.serverapp", "jupyterlab_server.app", "notebook_shim.shim"),
    *("jupyterhub._xsrf_utils", "jupyterhub.httpclient", "jupyterhub.log", "jupyterhub.scopes"),
    *("jupyterlab.commands", "jupyterlab.coreconfig", "jupyterlab.debuglog"),
    *("jupyterlab.extensions", "jupyterlab.extensions.readonly"),
    *("jupyterlab.handlers.announcements", "jupyterlab.handlers.build_handler"),
    *("jupyterlab.handlers.error_handler", "jupyterlab.handlers.extension_manager_handler"),
    "jupyterlab.handlers.plugin_manager_handler",
    *("caesarion.extension", "caesarion.chat.persona_manager"),
    # What the server imports when it starts its parts, or answers for the first time.
    *("jupyter_ai_chat_commands.extension_app", "jupyter_lsp.manager", "jupyter_lsp.handlers"),
    *("jupyter_lsp.serverextension", "jupyter_server_terminals.app", "jupyterlab_chat"),
    *("jupyter_server.services.api.handlers", "jupyter_server.services.config.handlers"),
    *("jupyter_server.services.contents.handlers", "jupyter_server.services.kernels.handlers"),
    *("jupyter_server.kernelspecs.handlers", "jupyter_server.nbconvert.handlers"),
    *("jupyter_server.services.nbconvert.handlers", "jupyter_server.services.security.handlers"),
    *("jupyter_server.services.sessions.handlers", "jupyter_server.services.events.handlers"),
    *("jupyter_server.services.shutdown", "jupyter_server.view.handlers"),
    *("IPython.paths", "httpcore", "ipykernel.kernelspec", "jinja2.ext", "psutil"),
    *("jupyter_core.migrate", "jupyter_lsp.virtual_documents_shadow", "unittest.mock"),
    # What the first notebook needs: its schema is compiled by import_all().
    *("nbconvert.exporters", "nbformat.v4"),
    "zipp.compat.overlay",
    # What the first chat and its first question need; the SDK takes 0.6 s of CPU, and 10 MB.
    *("caesarion.chat.persona", "importlib_metadata._adapters", "importlib_metadata._text"),
    *("openai.resources.chat.completions.completions", "httpcore2"),
    *("anyio.streams.stapled", "anyio._core._sockets"),
)
"""
What a user's server imports, less the modules that read who their user is when they are imported.

Those are :data:`AFTER_CLAIM`. ``tests/integration/test_warm.py`` holds both.
"""

AFTER_CLAIM = (
    # HubAuth.base_url and api_url; the settings of the lab, which lie in the home.
    *("jupyterhub.services.auth", "jupyterhub.singleuser", "jupyterlab.labapp"),
)

# A module whose functions read such a constant of its own, the trash in the home.
_HOLDS_HOME = "send2trash.plat_other"

_SERVICE_URL = "JUPYTERHUB_SERVICE_URL"
_MAX_BODY = 1024 * 1024
_CLIENT_SECONDS = 5.0


@dataclass(frozen=True)
class Claim:
    """What makes a server a user's."""

    environment: dict[str, str]
    cwd: str | None

    def changes(self) -> list[str]:
        """Return the names of the variables that it changes; PWD if it changes the folder."""
        changed = {*self.environment.items()} - {*os.environ.items()}
        is_elsewhere = self.cwd and not Path(self.cwd).samefile(Path.cwd())
        return [*(name for name, _ in changed), *(["PWD"] if is_elsewhere else [])]

    def apply(self) -> None:
        """Make this process the one that would have been started with it."""
        waited_at = urlsplit(os.environ.get(_SERVICE_URL, "")).netloc
        os.environ.update(self.environment)
        if url := self.environment.get(_SERVICE_URL):
            # It goes on listening where it waited.
            os.environ[_SERVICE_URL] = urlsplit(url)._replace(netloc=waited_at).geturl()
        if self.cwd:
            os.chdir(self.cwd)
        site.USER_BASE = site.USER_SITE = None
        if module := sys.modules.get(_HOLDS_HOME):
            importlib.reload(module)


class _NoClaimError(ValueError):
    """A body that is no claim; ``str`` of it is a sentence for the hub's log."""


def take_nonce() -> str:
    """Return the nonce, and take it out of the environment, which kernels inherit."""
    return os.environ.pop(NONCE_VARIABLE, "")


def import_all() -> None:
    """Import what a server does, as far as that does not depend on its user."""
    for name in IMPORTS:
        with contextlib.suppress(Exception):  # The server will fail, or do without.
            importlib.import_module(name)
    with contextlib.suppress(Exception):
        # nbformat 5 compiles the schema for the first notebook: 0.5 s.
        sys.modules["nbformat.v4"].new_notebook()
    with contextlib.suppress(Exception):
        sys.modules["caesarion.entry_points"].read_ahead()


def wait(nonce: str) -> Claim:
    """Listen until the hub claims this server; raises SystemExit if it is to end instead."""
    address = urlsplit(os.environ.get(_SERVICE_URL, ""))
    if not nonce or not address.port:
        sys.exit(
            f"A server that waits for its user needs {NONCE_VARIABLE}, and its address in "
            f"{_SERVICE_URL}. Start it by a hub."
        )
    # Not asyncio.run, which leaves the thread without a loop that the server would find.
    loop = asyncio.new_event_loop()
    try:
        outcome = loop.run_until_complete(_wait(nonce, address.hostname or "", address.port))
    except OSError as error:
        sys.exit(f"The server cannot listen at {address.netloc}: {error.strerror}.")
    finally:
        loop.close()
    if isinstance(outcome, int):
        if outcome == REFUSED_STATUS:
            print("Another nonce was sent to this server, which ends.", file=sys.stderr)
        sys.exit(outcome)
    return outcome


async def _wait(nonce: str, host: str, port: int) -> Claim | int:
    """Return the claim, or the status with which to exit."""
    loop = asyncio.get_running_loop()
    waiting = _Waiting(nonce, port, loop.create_future(), lambda: server.stop())
    loop.add_signal_handler(signal.SIGTERM, waiting.end, 0)
    server = HTTPServer(
        Application(
            [("/claim", _Claims, {"waiting": waiting})],
            default_handler_class=_Unclaimed,
            log_function=lambda _: None,
        ),
        max_body_size=_MAX_BODY,
        body_timeout=_CLIENT_SECONDS,
        idle_connection_timeout=_CLIENT_SECONDS,
    )
    server.listen(port, host)
    try:
        return await waiting.outcome
    finally:
        server.stop()
        await server.close_all_connections()


@dataclass
class _Waiting:
    """What a server that waits knows: its nonce and its port, and in the end its claim."""

    nonce: str
    port: int
    outcome: "asyncio.Future[Claim | int]"
    stop: Callable[[], None]
    """Stops listening."""

    def end(self, outcome: Claim | int) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class _Unclaimed(RequestHandler):
    """Answers each request, whatever it is for, that the server is nobody's."""

    async def prepare(self) -> None:
        self.set_header("X-Caesarion-Warm", "unclaimed")
        await self.answer(503, "This server waits for its user. Ask again when it has one.")

    async def answer(self, status: int, message: str) -> None:
        self.set_status(status)
        await self.finish({"message": message})


class _Claims(_Unclaimed):
    """Takes the one claim."""

    def initialize(self, waiting: _Waiting) -> None:
        self.waiting = waiting

    async def prepare(self) -> None:
        waiting, sent = self.waiting, self.request.headers.get("Authorization", "")
        if self.request.method != "POST":
            await super().prepare()
        elif waiting.outcome.done():
            await self.answer(403, "This server has been claimed, or it ends.")
        elif not hmac.compare_digest(sent.encode(), f"Bearer {waiting.nonce}".encode()):
            waiting.end(REFUSED_STATUS)
            await self.answer(403, "This is not the nonce of this server, which ends.")
        else:
            await self._claim(waiting)

    async def _claim(self, waiting: _Waiting) -> None:
        try:
            claim = _read(self.request.body, waiting.port)
        except _NoClaimError as error:
            await self.answer(400, str(error))
            return
        waiting.stop()  # First: nobody who connects after the answer is told that it is unclaimed.
        # Before the first await, in which another nonce may come. The answer gets out all the same:
        # Tornado 6.6 writes it to the socket at once, and connections are closed after that.
        waiting.end(claim)
        await self.finish({"claimed": True})


def _read(body: bytes, port: int) -> Claim:
    try:
        sent = json.loads(body)
        claim = Claim(dict(sent["environment"]), sent.get("cwd"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _NoClaimError("The body is not JSON with an environment.") from error
    for name, text in claim.environment.items():
        if not (_is_text(name) and _is_text(text) and name and "=" not in name):
            raise _NoClaimError(f"{name!r} in the environment is no variable with a text.")
    if claim.cwd is not None and not (isinstance(claim.cwd, str) and Path(claim.cwd).is_dir()):
        raise _NoClaimError(f"There is no folder {claim.cwd!r}.")
    if (url := claim.environment.get(_SERVICE_URL)) and _port(url) != port:
        raise _NoClaimError(f"{_SERVICE_URL} is {url!r}, but the server listens on port {port}.")
    return claim


def _is_text(value: object) -> bool:
    """Return whether an environment can hold ``value``."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None
