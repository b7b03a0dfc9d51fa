"""
What a table of the operator's values is made of; imports nothing of ours.

Used by ``values`` and ``gateway_values``. A field's description ends the
sentence "it must be ...", so it is at once help and error message.
"""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


def _web_address(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PydanticCustomError("web_address", "not a web address")
    return address


WebAddress = Annotated[str, AfterValidator(_web_address)]


class Section(BaseModel):
    """A table of keys: none unknown, none converted, none changed later."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
    )
