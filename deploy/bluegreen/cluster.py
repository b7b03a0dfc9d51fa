"""
What blue-green asks of the cluster: helm for the releases, kubectl for route and pods.

Called by ``flow``. helm and kubectl use the current context, or KUBECONFIG.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.bluegreen.route import Json, Place, other_than

USERS_PODS = "component=singleuser-server"
OWN_PODS = "app.kubernetes.io/component in (hub,proxy,gateway)"
ANY_STATE = ("--deployed", "--failed", "--pending", "--uninstalling")
HTTP_ROUTE = "httproutes.gateway.networking.k8s.io"


class FailedError(Exception):
    """A step failed; the message is a sentence for the operator."""


@dataclass(frozen=True)
class Cluster:
    """The releases of one installation, and its route."""

    place: Place
    users_namespace: str
    chart: str
    helm_options: Sequence[str] = ()
    """As helm takes them: ``--values FILE``, ``--set KEY=VALUE``."""
    timeout: int = 600
    """Seconds within which a release must be ready."""
    programs: dict[str, str] = field(default_factory=dict)
    """Where ``helm`` and ``kubectl`` are, if not on the PATH."""

    def release(self, colour: str) -> str:
        """Return the name of a colour's release."""
        return f"{self.place.name}-{colour}"

    def releases(self) -> list[str]:
        """Return the names of the releases in the namespace, failed ones too."""
        found = self._run("helm", "list", *ANY_STATE, "--output", "json", *self._here)
        return [one["name"] for one in json.loads(found)]

    def install(self, colour: str, cookie: str) -> None:
        """Install or upgrade a colour's release, and wait until it is ready."""
        self._run(
            *("helm", "upgrade", "--install", self.release(colour), self.chart, *self._here),
            *self.helm_options,
            # The route and the users' namespace are of both colours, so of neither release.
            *("--set", "httpRoute.enabled=false,singleuser.namespace.create=false"),
            *("--set", f"singleuser.namespace.name={self.users_namespace}"),
            *("--set", f"hub.stickyCookie={cookie}"),
            *("--wait", f"--timeout={self.timeout}s"),
        )

    def uninstall(self, colour: str) -> None:
        """Remove a colour's release and the pods of its users; their volumes stay."""
        if self.release(colour) not in self.releases():
            return
        self._run(
            *("helm", "uninstall", self.release(colour), *self._here),
            *("--wait", f"--timeout={self.timeout}s"),
        )
        selector = f"{USERS_PODS},app.kubernetes.io/instance={self.release(colour)}"
        self._run("kubectl", "delete", "pods", *self._users, "--selector", selector)

    def servers(self, colour: str) -> int:
        """Return how many users' servers a colour runs."""
        selector = f"{USERS_PODS},app.kubernetes.io/instance={self.release(colour)}"
        return len(self._items("pods", *self._users, "--selector", selector))

    def troubles(self, colour: str) -> list[str]:
        """Return a line for each container of a colour's own that restarted or is not ready."""
        selector = f"app.kubernetes.io/instance={self.release(colour)},{OWN_PODS}"
        return [
            f"{pod['metadata']['name']}: {status['restartCount']} restarts, "
            f"{'ready' if status['ready'] else 'not ready'}"
            for pod in self._items("pods", *self._here, "--selector", selector)
            if "deletionTimestamp" not in pod["metadata"]
            for status in pod.get("status", {}).get("containerStatuses") or []
            if status["restartCount"] or not status["ready"]
        ]

    def route(self) -> Json | None:
        """Return the HTTPRoute, None if there is none."""
        found = self._run(
            *("kubectl", "get", HTTP_ROUTE, self.place.name, *self._here),
            *("--ignore-not-found", "--output", "json"),
        )
        route: Json | None = json.loads(found) if found.strip() else None
        return route

    def apply(self, manifest: Json) -> None:
        """Write an object, in place of what it was."""
        manager = "--field-manager=caesarion-bluegreen"
        arguments = ["kubectl", "apply", "--server-side", "--force-conflicts", manager]
        self._run(*arguments, "--filename=-", text=json.dumps(manifest))

    def ensure_users_namespace(self) -> None:
        """Create the users' namespace if there is none, restricted as the chart does it."""
        found = ("get", "namespace", self.users_namespace, "--ignore-not-found", "--output=name")
        if self._run("kubectl", *found).strip():
            return
        labels = dict.fromkeys(("enforce", "warn"), "restricted")
        metadata = {
            "name": self.users_namespace,
            "labels": {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()},
        }
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    @property
    def _here(self) -> tuple[str, str]:
        return "--namespace", self.place.namespace

    @property
    def _users(self) -> tuple[str, str]:
        return "--namespace", self.users_namespace

    def _items(self, *what: str) -> list[Any]:
        return list(json.loads(self._run("kubectl", "get", *what, "--output", "json"))["items"])

    def _run(self, program: str, *arguments: str, text: str | None = None) -> str:
        command = [self.programs.get(program, program), *arguments]
        try:
            done = subprocess.run(  # noqa: S603
                command, input=text, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise FailedError(f"There is no {program} on the PATH. Install it.") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise FailedError(f"`{program} {arguments[0]}` failed: {said}")
        return done.stdout


def idle(live: str | None) -> str:
    """Return the colour that is to be installed: the other one, or blue if there is none."""
    return other_than(live) if live else "blue"
