"""
Bodies of requests whose check costs little, whatever they hold.

Used by ``sandboxes``, ``api`` and ``gateway``. pydantic collects every error of a body before it
raises, and bounds a mapping only after it has checked its items; so a body of a megabyte could
have hundreds of thousands of errors. Lists stop at their first error (``FailFast``) and at
``max_length``; what is here bounds the rest before it is checked.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, BeforeValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError

MAX_FIELDS = 100
"""Fields that an object of a body may have; a made-up number, far above those that are known."""


class Bounded(BaseModel):
    """An object of a body, which may have ``MAX_FIELDS`` fields, known or not."""

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        return _counted(value, MAX_FIELDS)


def few(most: int) -> BeforeValidator:
    """Bound the entries of a mapping before they are checked."""
    return BeforeValidator(lambda value: _counted(value, most))


def first_error(error: ValidationError) -> tuple[str, str]:
    """Return where the first error of a ValidationError is, with dots, and what it is."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return ".".join(map(str, first["loc"])), first["msg"]


def _counted(value: Any, most: int) -> Any:
    if isinstance(value, Mapping) and len(value) > most:
        raise PydanticCustomError(
            "too_many_fields",
            "Object should have at most {most} entries, not {count}",
            {"most": most, "count": len(value)},
        )
    return value
