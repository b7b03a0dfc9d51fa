"""
What tests read of a server in another process, and what goes wrong there on purpose.

Under ``/-/``, which no real API server has, for who may do everything::

    control = Control(kubeconfig)
    with control.faults(Fault(500, verbs={"create"}, resources={"pods"}, rate=0.2)):
        ...
    control.be_away(60)
    assert control.denials() == []
"""

import base64
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.fakes.kubernetes.apiserver.errors import bad_request, not_implemented
from tests.fakes.kubernetes.apiserver.faults import Fault, Faults
from tests.fakes.kubernetes.apiserver.state import State

SETS = ("verbs", "resources", "users", "spared")


def answer(
    state: State, faults: Faults, leave: Callable[[float], None], call: tuple[str, str], body: Any
) -> Any:
    """Return what a method and a path under ``/-/`` are told, as JSON."""
    match call:
        case ("GET", "/-/faults"):
            return [to_json(fault) for fault in faults.active]
        case ("PUT", "/-/faults"):
            faults.active[:] = [from_json(one) for one in body or ()]
            return len(faults.active)
        case ("POST", "/-/drop-watches"):
            return faults.drop_watches()
        case ("POST", "/-/forget-history"):
            return state.store.forget()
        case ("POST", "/-/away"):
            return leave(float(body))
        case ("GET", "/-/denials"):
            return state.denials
        case ("GET", "/-/warnings"):
            return state.warnings
        case ("DELETE", "/-/denials"):
            return state.denials.clear()
        case ("DELETE", "/-/warnings"):
            return state.warnings.clear()
    raise not_implemented(f"{call[0]} {call[1]}")


def to_json(fault: Fault) -> dict[str, Any]:
    return {**asdict(fault), **{name: sorted(getattr(fault, name)) for name in SETS}}


def from_json(value: dict[str, Any]) -> Fault:
    """Read a fault; raises 400 for a field that it has not."""
    known = {field.name for field in fields(Fault)}
    if unknown := set(value) - known:
        listed = ", ".join(sorted(known))
        raise bad_request(f"a fault has no {', '.join(sorted(unknown))}; it has {listed}")
    sets = {name: frozenset(value[name]) for name in SETS if name in value}
    return Fault(**{**value, **sets})


class Control:
    """The test's side: a client of ``/-/`` for the administrator of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._client = httpx.Client(
            base_url=cluster["server"],
            headers={"Authorization": f"Bearer {user['token']}"},
            verify=ssl.create_default_context(cadata=authority),
            timeout=60,
        )

    def __enter__(self) -> "Control":
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        response = self._client.request(method, f"/-/{path}", json=body)
        response.raise_for_status()
        return response.json()

    @contextlib.contextmanager
    def faults(self, *faults: Fault) -> Iterator[None]:
        """Have these faults, and no others, for as long as the block runs."""
        self._ask("PUT", "faults", [to_json(fault) for fault in faults])
        try:
            yield
        finally:
            self._ask("PUT", "faults", [])

    def met(self) -> list[int]:
        """Return how often each active fault was met."""
        return [fault["met"] for fault in self._ask("GET", "faults")]

    def be_away(self, seconds: float) -> None:
        """Have the server cut and refuse all connections for a time; returns when it does."""
        self._ask("POST", "away", seconds)
        url, deadline = self._client.base_url, time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                socket.create_connection((url.host, url.port or 443)).close()
            except OSError:
                return
            time.sleep(0.01)

    def drop_watches(self) -> int:
        """Cut all watches; return how many there were."""
        count: int = self._ask("POST", "drop-watches")
        return count

    def forget_history(self) -> None:
        """Have the server tell all who watch from an older revision 410."""
        self._ask("POST", "forget-history")

    def denials(self) -> list[dict[str, str]]:
        """Return the calls that RBAC refused since the last :meth:`clear`."""
        denials: list[dict[str, str]] = self._ask("GET", "denials")
        return denials

    def warnings(self) -> list[str]:
        """Return what clients were warned of since the last :meth:`clear`."""
        warnings: list[str] = self._ask("GET", "warnings")
        return warnings

    def clear(self) -> None:
        """Forget denials and warnings."""
        self._ask("DELETE", "denials")
        self._ask("DELETE", "warnings")
