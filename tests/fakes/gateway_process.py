"""The gateway as a process of its own, with an environment that the test gives."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.forks import forked

ROOT = Path(__file__).parents[2]
PACKAGES = f"{ROOT / 'hub_config'}:{ROOT / 'dialects'}"


@dataclass(frozen=True)
class GatewayProcess:
    """A gateway that listens at ``url`` (it ends in a slash) and logs to ``log``."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def base_url(self) -> str:
        """What an OpenAI client wants."""
        return f"{self.url}v1"


def environment(**settings: str) -> dict[str, str]:
    """Return what a gateway's environment is made of: nothing inherited but the path."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES, **settings}


@contextmanager
def gateway_process(
    folder: Path, settings: Mapping[str, str], seconds: float = 120.0
) -> Iterator[GatewayProcess]:
    """Run a gateway on a free port; it has ``seconds`` to say where it listens."""
    log = folder / "gateway.log"
    variables = environment(JUPYTERHUB_SERVICE_URL="http://127.0.0.1:0", **settings)
    with log.open("wb") as output, forked():
        process = subprocess.Popen(
            [sys.executable, "-m", "caesarion_hub.gateway"],
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + seconds
        while not (said := re.search(r"(http://\S+/) answers with", log.read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        yield GatewayProcess(said[1], log, process)
    finally:
        process.terminate()
        process.wait(60)
