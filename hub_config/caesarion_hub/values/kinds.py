"""
The kinds of values that several sections share; imports nothing of ours.

A field's description ends the sentence "it must be ...", so it is at once help
and error message.
"""

import re
from typing import Annotated

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

_BYTES = {
    "": 1,
    **{unit: 1024**power for power, unit in enumerate("KMGTPE", 1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGTPE", 1)},
}
"""Both spellings mean units of 1024: Kubernetes' ``Gi``, and ``G`` as JupyterHub reads it."""


def bytes_of(value: object) -> int:
    """Return how many bytes ``2Gi``, ``2G`` (units of 1024, too) or a whole number are."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTPE]?i?)", value) if isinstance(value, str) else None
    if not found or found[2] not in _BYTES or not float(found[1]):
        raise PydanticCustomError("memory", "not an amount of memory")
    return int(float(found[1]) * _BYTES[found[2]])


def cores_of(value: object) -> float:
    """Return how many cores ``500m``, ``"0.5"`` or 0.5 are."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", value) if isinstance(value, str) else None
    if not found or not float(found[1]):
        raise PydanticCustomError("cores", "not a number of cores")
    return float(found[1]) / (1000 if found[2] else 1)


def _amount(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise PydanticCustomError("amount", "not an amount")
    return str(value)


MEMORY = "an amount such as 2Gi, 512Mi or a whole number of bytes"
CORES = "a number of cores such as 0.5, 2 or 500m"

Port = Annotated[int, Field(ge=1, le=65535, description="a port, a whole number from 1 to 65535")]
Memory = Annotated[int, PlainValidator(bytes_of)]
"""Bytes."""
Cores = Annotated[float, PlainValidator(cores_of)]
Amount = Annotated[str, PlainValidator(_amount)]
"""Of a resource that Kubernetes counts; it may be written as a number."""
Capacity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([KMGTPE]i?)?$")]
"""What a volume holds, spelt as Kubernetes reads it: ``Gi`` is 1024 based, ``G`` is not."""
