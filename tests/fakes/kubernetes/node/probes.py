"""
Probes and hooks: asks a container by HTTP, by TCP or by a command how it is.

Called by ``pods``. One :class:`Probe` watches one thing for as long as it runs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import aiohttp

from tests.fakes.kubernetes.client import Json

Execute = Callable[[Sequence[str], float], Awaitable[tuple[int, str]]]
"""Runs a command in the container within some seconds; returns its status and output."""


class ProbeError(Exception):
    """A container did not answer as it should; the message is a kubelet's."""


async def ask(
    handler: Json, container: Json, address: str, http: aiohttp.ClientSession, execute: Execute
) -> None:
    """Carry out a probe's or a hook's action; raises :class:`ProbeError` if it fails."""
    seconds = float(handler.get("timeoutSeconds", 1))
    try:
        async with asyncio.timeout(seconds):
            if "httpGet" in handler:
                await _ask_http(handler["httpGet"], container, address, http)
            elif "tcpSocket" in handler:
                port = port_number(handler["tcpSocket"]["port"], container)
                _, writer = await asyncio.open_connection(address, port)
                writer.close()
            elif "sleep" in handler:
                await asyncio.sleep(handler["sleep"]["seconds"])
            elif "exec" in handler:
                code, output = await execute(handler["exec"]["command"], seconds)
                if code:
                    raise ProbeError(output.strip() or f"the command ended with {code}")
            else:
                raise ProbeError(f"the fake node knows no probe {', '.join(handler)}")
    except TimeoutError:
        raise ProbeError(f"no answer within {seconds:g} seconds") from None
    except (OSError, aiohttp.ClientError) as error:
        raise ProbeError(str(error)) from error


async def _ask_http(
    action: Json, container: Json, address: str, http: aiohttp.ClientSession
) -> None:
    port = port_number(action["port"], container)
    scheme = action.get("scheme", "HTTP").lower()
    url = f"{scheme}://{action.get('host', address)}:{port}{action.get('path', '/')}"
    headers = {one["name"]: one["value"] for one in action.get("httpHeaders") or []}
    headers.setdefault("User-Agent", "kube-probe/fake")
    async with http.get(url, headers=headers, ssl=False, allow_redirects=False) as answer:
        if not 200 <= answer.status < 400:
            raise ProbeError(f"HTTP probe failed with statuscode: {answer.status}")


def port_number(port: int | str, container: Json) -> int:
    """Return the number of a port that may be given by its name."""
    if isinstance(port, int):
        return port
    for one in container.get("ports") or []:
        if one.get("name") == port:
            return int(one["containerPort"])
    raise ProbeError(f"the container {container['name']} has no port {port}")


class Probe:
    """Asks again and again, and counts."""

    def __init__(self, spec: Json, ask: Callable[[], Awaitable[None]]) -> None:
        self._spec = spec
        self._ask = ask
        self._period = float(spec.get("periodSeconds", 10))

    async def run(self, tell: Callable[[bool, str], None]) -> None:
        """Call ``tell`` with whether it succeeds whenever a threshold is reached, for ever."""
        thresholds = {
            True: self._spec.get("successThreshold", 1),
            False: self._spec.get("failureThreshold", 3),
        }
        before, times = False, 0
        await asyncio.sleep(float(self._spec.get("initialDelaySeconds", 0)))
        while True:
            message = ""
            try:
                await self._ask()
            except ProbeError as error:
                message = str(error)
            succeeded = not message
            times = times + 1 if succeeded == before else 1
            before = succeeded
            if times >= thresholds[succeeded]:
                tell(succeeded, message)
            await asyncio.sleep(self._period)
