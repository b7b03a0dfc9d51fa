"""
The endpoint: whether it answers, as which model, and for how long it may be silent.

Called by :mod:`caesarion.agent.model`, which owns it, and by the status route for the pages
that are open. Asks ``GET /models`` with Tornado's client: the SDK's import would hold up
the server for half a second before anybody has asked the model anything.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from caesarion.config import CaesarionModel

# Seconds until the endpoint is asked again, when it was well and when it was not; and
# how long it has to answer. Made up: every open page asks for the status.
_PAUSE_WELL = 60.0
_PAUSE_ILL = 5.0
_LIMIT = 5.0

_NO_MODEL = "No model is set up. Tell whoever runs this server."
_AWAY = "The gateway does not answer. Tell whoever runs this server if it stays so."
_FORBIDDEN = (
    "The gateway does not let this server in. Stop the server and start it again; if it stays so, "
    "tell whoever runs it."
)
_BROKEN = (
    "The gateway answers, but the model behind it does not. Tell whoever runs this server if it "
    "stays so."
)

# The gateway says with each answer for how many seconds it may be silent. Here the limit is a
# little longer, so that the user reads the gateway's own sentence.
_SILENCE_HEADER = "x-caesarion-silence"
_MARGIN = 10.0

# With it the gateway knows that the outcome of a call is reported by whoever got the answer.
_RECEIPT_HEADER = "x-caesarion-receipt"

# The owner of models that answer under any name: the gateway's demo.
_DEMO_OWNER = "caesarion"


@dataclass(frozen=True)
class EndpointStatus:
    """The model that answers, and a sentence for the user if something is wrong."""

    model: str
    problem: str = ""

    @property
    def reachable(self) -> bool:
        """Whether it answered."""
        return not self.problem


class Endpoint:
    """The endpoint of the settings, asked now and then."""

    def __init__(self, settings: CaesarionModel) -> None:
        self._settings = settings
        self._last = EndpointStatus(settings.name)
        self._due = 0.0
        self._silence = 0.0
        # Held while the endpoint is asked: however many pages ask for it, it is asked once.
        self._asking = asyncio.Lock()

    async def status(self) -> EndpointStatus:
        """Return the status, from a moment ago if it was asked for then."""
        async with self._asking:
            if time.monotonic() >= self._due:
                self._last = await self._ask()
                pause = _PAUSE_WELL if self._last.reachable else _PAUSE_ILL
                self._due = time.monotonic() + pause
        return self._last

    @property
    def silence(self) -> float:
        """The seconds of silence after which a request is given up."""
        return self._silence + _MARGIN if self._silence else self._settings.timeout

    @property
    def is_gateway(self) -> bool:
        """Whether it has answered as the gateway does."""
        return bool(self._silence)

    def read_headers(self, headers: Mapping[str, str]) -> str:
        """Learn from the headers of an answer, and return the receipt that the gateway gave."""
        with contextlib.suppress(ValueError):
            self._silence = max(0.0, float(headers.get(_SILENCE_HEADER, "0")))
        return headers.get(_RECEIPT_HEADER, "")

    async def _ask(self) -> EndpointStatus:
        name = self._settings.name
        if not self._settings.base_url:
            return EndpointStatus(name, _NO_MODEL)
        try:
            response = await AsyncHTTPClient().fetch(
                f"{self._settings.base_url.rstrip('/')}/models",
                headers={"Authorization": f"Bearer {self._settings.token}"},
                request_timeout=_LIMIT,
                connect_timeout=_LIMIT,
                raise_error=False,
            )
        except (OSError, ValueError, HTTPClientError):
            return EndpointStatus(name, _AWAY)
        if response.code in (401, 403):
            return EndpointStatus(name, _FORBIDDEN)
        if response.code >= 500:
            return EndpointStatus(name, _BROKEN)
        self.read_headers(response.headers)
        return EndpointStatus(_demo_model(response.body) or name)


def _demo_model(body: bytes) -> str:
    """Return the name of the model that answers whatever is asked for, if the list has one."""
    try:
        models = json.loads(body)["data"]
        return next((str(one["id"]) for one in models if one.get("owned_by") == _DEMO_OWNER), "")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ""
