"""Serve until SIGTERM: ``python -m tests.fakes.kubernetes.apiserver FOLDER [--port N]``."""

import argparse
import asyncio
import signal
from pathlib import Path

from tests.fakes.kubernetes.apiserver.server import ApiServer


async def serve(folder: Path, host: str, port: int) -> None:
    """Serve, print the kubeconfig's path once that works, and stop on SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with ApiServer(folder, host=host, port=port) as api:
        print(api.kubeconfig, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A test double of the Kubernetes API server.")
    parser.add_argument("folder", type=Path, help="where kubeconfig and ca.crt are written")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.folder, arguments.host, arguments.port))
