"""
A real cluster behind the same few calls as the fake one.

The one that ``KUBECONFIG`` names, when ``CAESARION_TEST_CLUSTER=1``. Services are
reached through ``kubectl port-forward``.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

from tests import helm


def is_asked_for() -> bool:
    """Tell whether the tests are to run on a real cluster."""
    return os.environ.get("CAESARION_TEST_CLUSTER") == "1"


class RealCluster:
    """A cluster that was there before the tests, and stays."""

    def __init__(self, closing: contextlib.ExitStack) -> None:
        self._closing = closing

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Return what kubectl prints; raises :class:`tests.helm.RefusedError`."""
        return helm.run(arguments, text, "kubectl")

    def helm(self, *arguments: str, text: str | None = None) -> str:
        """Return what helm prints; raises :class:`tests.helm.RefusedError`."""
        return helm.run(arguments, text)

    def get(self, namespace: str, *what: str) -> Any:
        """Return what ``kubectl get`` finds, as JSON."""
        return json.loads(self.kubectl("get", "--namespace", namespace, "-o", "json", *what))

    def url_of(self, namespace: str, service: str) -> str:
        """Return where the first port of a Service is, without a slash at the end."""
        port = self.get(namespace, "service", service)["spec"]["ports"][0]["port"]
        return self._closing.enter_context(forwarded(namespace, f"service/{service}", port))

    def denials(self) -> list[dict[str, str]]:
        """Return nothing: a real API server does not tell whom it has refused."""
        return []

    def report(self) -> str:
        """Return nothing: the harness asks the API for events and logs."""
        return ""


@contextlib.contextmanager
def forwarded(namespace: str, what: str, port: int) -> Iterator[str]:
    """Forward a free port of this machine until the block ends; yield its address."""
    command = [helm.path_of("kubectl"), "port-forward", "--namespace", namespace, what, f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 8000
        try:
            yield f"http://{line.split()[2]}"
        finally:
            process.terminate()
