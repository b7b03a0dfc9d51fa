"""
Messages for users whose server does not start: what happened, then the remedy.

Used by ``diagnosis``, ``spawner`` and ``objects``. Pure.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jupyterhub.spawner import SpawnException

UNLIMITED = float("inf")
OTHER_PROFILE = "Choose another profile, or ask your administrator."
LATER = "Try again later, or ask your administrator."


@dataclass(frozen=True)
class SpawnProblem:
    """
    A reason why a pod does not start.

    ``reason`` is a label for metrics, ``text`` and ``remedy`` are sentences for
    the user. If it lasts ``patience`` seconds, the start fails.
    """

    reason: str
    text: str
    remedy: str
    patience: float = 0.0

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}"


class SpawnFailed(SpawnException):  # type: ignore[misc]
    """A failed start, with the sentence that JupyterHub shows on its page and in its API."""

    def __init__(self, problem: SpawnProblem, log_message: str = "") -> None:
        sentence = str(problem)
        super().__init__(
            sentence,
            reason=problem.reason,
            log_message=log_message or sentence,
            status_code=503,
        )
        self.jupyterhub_message = sentence


def api_refusal(status: int, message: str) -> SpawnProblem:
    """Describe the API server's refusal to create a pod or a volume."""
    if "exceeded quota" in message:
        return SpawnProblem(
            "quota",
            f"The cluster's quota is used up: {_quota(message)}.",
            "Stop another server of yours, choose a smaller profile, or ask your administrator.",
        )
    if status in (401, 403) and "forbidden: User" in message:
        return hub_forbidden()
    return SpawnProblem(
        "refused", f"The cluster refuses your server: {shorten(message)}.", OTHER_PROFILE
    )


def hub_forbidden() -> SpawnProblem:
    """Describe a missing permission of the hub's own service account."""
    return SpawnProblem(
        "forbidden",
        "The hub may not start servers: its role in the cluster lacks a permission.",
        "Ask your administrator.",
        UNLIMITED,
    )


def api_unavailable() -> SpawnProblem:
    """Describe an API server that does not answer."""
    return SpawnProblem(
        "api",
        "The cluster does not answer at the moment; your server starts as soon as it does.",
        LATER,
        UNLIMITED,
    )


def name_taken(name: str, release: str) -> SpawnProblem:
    """Describe a pod name that another release already uses."""
    return SpawnProblem(
        "taken",
        f"The installation '{release}' already has a pod named {name}.",
        "If it is your own server there, stop that one first. Otherwise ask your administrator to "
        "give each installation a namespace of its own.",
    )


def insecure_pod(level: str, violations: Sequence[str]) -> SpawnProblem:
    """Describe a pod that exceeds the level of Pod Security which the operator has set."""
    text = f"Your server's pod violates Pod Security {level}: {'; '.join(violations)}."
    return SpawnProblem("security", text, OTHER_PROFILE)


def invalid_choice(problem: Exception) -> SpawnProblem:
    """Describe a chosen profile or option that does not exist or is not valid."""
    chosen = f"{problem}" if isinstance(problem, ValueError) else f"There is no choice {problem}"
    return SpawnProblem("choice", f"{shorten(chosen)}.", "Choose again on the spawn page.")


def unclaimed() -> SpawnProblem:
    """Describe a warm server that the hub did not hand over, since it died while doing so."""
    return SpawnProblem(
        "unclaimed",
        "Your server was ready, but the hub restarted before you had it.",
        "Start it again.",
    )


def timed_out(seconds: float, last: SpawnProblem | None) -> SpawnProblem:
    """Describe a start that took longer than ``seconds``; ``last`` is the last known reason."""
    if last:
        text = last.text[0].lower() + last.text[1:]
        return SpawnProblem(last.reason, f"After {seconds:.0f} seconds, {text}", last.remedy)
    return SpawnProblem(
        "timeout",
        f"Your server did not answer within {seconds:.0f} seconds of its start.",
        "Try again; if that fails too, ask your administrator.",
    )


def _quota(message: str) -> str:
    """Return used, limit and request of each resource in ``exceeded quota: q, requested: ...``."""
    parts = dict(re.findall(r"(requested|used|limited): (\S+?)(?:, (?=used|limited)|$)", message))
    if len(parts) < 3:
        return shorten(message)
    tables = {name: dict(_pairs(text)) for name, text in parts.items()}
    return ", ".join(
        f"{name}: {tables['used'].get(name, '?')} of {limit} in use, {amount} more requested"
        for name, amount in tables["requested"].items()
        if (limit := tables["limited"].get(name))
    )


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split(","):
        name, _, amount = pair.partition("=")
        yield name, amount


def shorten(text: str, length: int = 240) -> str:
    """Return a message on one line, truncated, without a full stop at its end."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= length else f"{line[: length - 3]}..."
