"""
What the sections of the values are made of: their base class and the types of their fields.

Used by every module of ``values``; imports nothing of ours. A field's
description completes the sentence "it must be ...", so the same words serve
as help and as error message.
"""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A table of keys: unknown keys are refused, values are neither converted nor changed later."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
    )


_BYTES = {
    "": 1,
    **{unit: 1024**power for power, unit in enumerate("KMGTPE", 1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGTPE", 1)},
}
"""Both spellings are multiples of 1024: Kubernetes' ``Gi``, and ``G`` as JupyterHub reads it."""


def bytes_of(value: object) -> int:
    """Return the number of bytes in ``2Gi``, ``2G`` (also a multiple of 1024) or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTPE]?i?)", value) if isinstance(value, str) else None
    if not found or found[2] not in _BYTES or not float(found[1]):
        raise PydanticCustomError("memory", "not an amount of memory")
    return int(float(found[1]) * _BYTES[found[2]])


def cores_of(value: object) -> float:
    """Return the number of cores in ``500m``, ``"0.5"`` or 0.5."""
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


def _web_address(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PydanticCustomError("web_address", "not a web address")
    return address


MEMORY = "an amount such as 2Gi, 512Mi or a whole number of bytes"
CORES = "a number of cores such as 0.5, 2 or 500m"

Port = Annotated[int, Field(ge=1, le=65535, description="a port, a whole number from 1 to 65535")]
Memory = Annotated[int, PlainValidator(bytes_of)]
"""Bytes."""
Cores = Annotated[float, PlainValidator(cores_of)]
Amount = Annotated[str, PlainValidator(_amount)]
"""A quantity of a Kubernetes resource; it may be written as a number."""
Capacity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([KMGTPE]i?)?$")]
"""The size of a volume as Kubernetes reads it: ``Gi`` is a multiple of 1024, ``G`` of 1000."""
WebAddress = Annotated[str, AfterValidator(_web_address)]
