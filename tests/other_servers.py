"""
Model servers that other people wrote, as processes: npm's aimock, and LiteLLM's proxy.

What they send is their idea of the protocol, not ours. ``make test`` installs both.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from caesarion_hub.up import nodejs

from tests.fakes.bare_hub import free_port

PREFIX = Path(sys.prefix)
AIMOCK = PREFIX / "share/caesarion/aimock/node_modules/@copilotkit/aimock/dist/cli.js"
LITELLM = PREFIX / "litellm/bin/litellm"

OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""LiteLLM would ask GitHub for the prices of models, three times where there is no network."""

START_LIMIT = 120.0
"""Seconds until a server must answer; LiteLLM imports for half a minute on a busy machine."""


@dataclass(frozen=True)
class OtherServer:
    """A model server that runs: where its OpenAI protocol is, and its process."""

    base_url: str
    process: "subprocess.Popen[bytes]"


@contextmanager
def aimock(folder: Path, fixtures: Sequence[dict[str, Any]]) -> Iterator[OtherServer]:
    """Run aimock with these fixtures; it refuses what none of them matches."""
    script = folder / "fixtures.json"
    script.write_text(json.dumps({"fixtures": fixtures}))
    program = [str(nodejs.find() or "node"), str(AIMOCK)]
    command = [*program, "--port", "0", "--fixtures", str(script), "--strict"]
    log = folder / "aimock.log"

    def listening() -> str:
        found = re.search(r"listening on (http://\S+)", log.read_text())
        return found[1] if found else ""

    with _running(command, log, listening) as server:
        yield server


@contextmanager
def litellm(folder: Path, upstream: str) -> Iterator[OtherServer]:
    """Run LiteLLM's proxy in front of the server at ``upstream``."""
    port = free_port()
    parameters = {"model": "openai/gpt-4.1", "api_base": upstream, "api_key": "none"}
    settings = folder / "litellm.json"
    settings.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "gpt-4.1", "litellm_params": parameters}],
                # Only this test asks it, with a token that it does not know.
                "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
            }
        )
    )
    url = f"http://127.0.0.1:{port}"

    def listening() -> str:
        try:
            return url if httpx.get(f"{url}/health/liveliness").is_success else ""
        except httpx.TransportError:
            return ""

    command = [str(LITELLM), "--config", str(settings), "--host", "127.0.0.1", "--port", str(port)]
    with _running(command, folder / "litellm.log", listening) as server:
        yield server


@contextmanager
def _running(
    command: Sequence[str], log: Path, listening: Callable[[], str]
) -> Iterator[OtherServer]:
    """Run a server that is up as soon as ``listening`` returns its address."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **OFFLINE}
        )
    try:
        deadline = time.monotonic() + START_LIMIT
        while not (url := listening()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield OtherServer(f"{url}/v1", process)
    finally:
        process.terminate()
        process.wait(120)
