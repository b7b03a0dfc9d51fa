"""
Kubernetes' quantities as numbers: ``"500m"`` of a CPU is 0.5, ``"2Gi"`` is bytes. Pure.

The API server counts with them, the node limits and schedules by them.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

Json = dict[str, Any]

MULTIPLES = {
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    "m": Decimal("1e-3"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}
QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:[eE]([+-]?\d+)|([KMGTPE]i|[kMGTPEmun]))?")


def quantity(value: Any) -> Decimal:
    """
    Read a resource quantity: ``100m``, ``2Gi``, ``1e3``, ``0.5``.

    Raises ValueError for what is none, with what it was.
    """
    match = QUANTITY.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is no quantity. Quantities look like 100m, 2Gi, 1e3.")
    number, exponent, suffix = match.groups()
    if exponent:
        return Decimal(number) * Decimal(10) ** int(exponent)
    return Decimal(number) * MULTIPLES.get(suffix, Decimal(1))


def written(amount: Decimal, like: str = "") -> str:
    """Write a quantity shortly: in binary units if ``like`` is memory or storage."""
    if "memory" in like or "storage" in like:
        for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
            if amount and amount % MULTIPLES[suffix] == 0:
                return f"{int(amount / MULTIPLES[suffix])}{suffix}"
    if amount == amount.to_integral_value():
        return str(int(amount))
    return f"{int((amount * 1000).to_integral_value())}m"


def total(spec: Json, field: str) -> dict[str, Decimal]:
    """
    Return a pod's ``requests`` or ``limits``, by resource.

    Its containers together, or its greediest init container if that is more;
    what its runtime takes comes on top.
    """
    amounts: dict[str, Decimal] = {}
    for name, amount in _amounts(spec.get("containers"), field):
        amounts[name] = amounts.get(name, Decimal(0)) + amount
    for name, amount in _amounts(spec.get("initContainers"), field):
        amounts[name] = max(amounts.get(name, Decimal(0)), amount)
    for name, value in (spec.get("overhead") or {}).items():
        amounts[name] = amounts.get(name, Decimal(0)) + quantity(value)
    return amounts


def _amounts(containers: list[Json] | None, field: str) -> Iterator[tuple[str, Decimal]]:
    for container in containers or ():
        for name, value in ((container.get("resources") or {}).get(field) or {}).items():
            yield name, quantity(value)
