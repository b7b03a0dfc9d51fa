"""
Why a user's server does not start, in words for its user: what happened, then the remedy.

Used by ``diagnosis``, which reads it from a pod, and by ``spawner`` and ``objects``.
Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jupyterhub.spawner import SpawnException

NEVER = float("inf")
ELSE = "Choose another profile, or ask your administrator."
LATER = "Try again later, or ask your administrator."


@dataclass(frozen=True)
class Trouble:
    """
    What keeps a pod from starting.

    ``reason`` is a word for metrics, ``text`` a sentence. After ``patience``
    seconds of the same trouble there is no hope.
    """

    reason: str
    text: str
    remedy: str
    patience: float = 0.0

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}"


class SpawnFailed(SpawnException):  # type: ignore[misc]
    """A start that failed; its user is told the sentence, on the page and as JSON."""

    def __init__(self, trouble: Trouble, log_message: str = "") -> None:
        sentence = str(trouble)
        super().__init__(
            sentence,
            reason=trouble.reason,
            log_message=log_message or sentence,
            status_code=503,
        )
        self.jupyterhub_message = sentence


def refusal(status: int, message: str) -> Trouble:
    """Return why the API refuses a pod or a disk."""
    if "exceeded quota" in message:
        return Trouble(
            "quota",
            f"The cluster's quota is used up: {_quota(message)}.",
            "Stop another server of yours, choose a smaller profile, or ask your administrator.",
        )
    if status in (401, 403) and "forbidden: User" in message:
        return of_no_right()
    return Trouble("refused", f"The cluster refuses your server: {short(message)}.", ELSE)


def of_no_right() -> Trouble:
    """Return what is told when Kubernetes refuses the hub itself."""
    return Trouble(
        "forbidden",
        "The hub may not start servers: its role in the cluster lacks a right.",
        "Ask your administrator.",
        NEVER,
    )


def of_silence() -> Trouble:
    """Return what is told while the API is away."""
    return Trouble(
        "api",
        "The cluster does not answer at the moment; your server starts when it does again.",
        LATER,
        NEVER,
    )


def of_another_release(name: str, release: str) -> Trouble:
    """Return what is told when the pod's name is taken by somebody else's server."""
    return Trouble(
        "taken",
        f"There is a pod {name} already that belongs to the installation '{release}'.",
        "Ask your administrator to give each installation a namespace of its own.",
    )


def of_choice(problem: Exception) -> Trouble:
    """Return what is told who chose what there is not."""
    chosen = f"{problem}" if isinstance(problem, ValueError) else f"No such choice: {problem}"
    return Trouble("choice", f"{short(chosen)}.", "Choose again on the spawn page.")


def of_patience(seconds: float, last: Trouble | None) -> Trouble:
    """Return why a start is given up after ``seconds``, by what kept it last."""
    if last:
        text = last.text[0].lower() + last.text[1:]
        return Trouble(last.reason, f"After {seconds:.0f} seconds, {text}", last.remedy)
    return Trouble(
        "timeout",
        f"Your server did not answer within {seconds:.0f} seconds of its start.",
        "Try again; if that does not help, ask your administrator.",
    )


def _quota(message: str) -> str:
    """Return ``limits.memory: 12Gi of 10Gi`` from ``exceeded quota: q, requested: ..., ...``."""
    parts = dict(re.findall(r"(requested|used|limited): (\S+?)(?:, (?=used|limited)|$)", message))
    if len(parts) < 3:
        return short(message)
    tables = {name: dict(_pairs(text)) for name, text in parts.items()}
    return ", ".join(
        f"{name}: {tables['used'].get(name, '?')} of {limit} used, {amount} more wanted"
        for name, amount in tables["requested"].items()
        if (limit := tables["limited"].get(name))
    )


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split(","):
        name, _, amount = pair.partition("=")
        yield name, amount


def short(text: str, length: int = 240) -> str:
    """Return a message on one line, cut, without the full stop at its end."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= length else f"{line[: length - 3]}..."
