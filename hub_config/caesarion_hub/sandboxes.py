"""
What a sandbox is: a named server of a user's, with a deadline, that programs start.

Used by the spawner classes, which give it its environment and a home that goes with it, and
by ``sandbox_rules``, which the hub enforces. Pure: no I/O. Everything about a sandbox is in
the ``user_options`` of its server, in the hub's database::

    {"profile": "small", "sandbox": {"created_at", "expires_at", "metadata", "env"}}
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from caesarion_hub.bodies import Bounded, few, first_error

PREFIX = "sandbox-"
"""Begins the name of a sandbox's server, and of no other."""

NAME = re.compile(r"sandbox-[a-z0-9]{6,32}")

MAX_TEXT = 65_536
"""Characters that metadata, and the environment, may have together; a made-up number."""

MAX_ENTRIES = 256
"""Entries of metadata, and of the environment; a made-up number."""

RESERVED = re.compile(
    r"(CAESARION|JUPYTER|JPY|PYTHON|LD_|OTEL_|KUBERNETES_|KERNEL_|MEM_|CPU_).*"
    r"|PATH|HOME|USER|SHELL|LANG|ENV|BASH_ENV|TMPDIR",
    re.IGNORECASE,
)
"""
Variables that a sandbox's environment may not set.

They configure the server itself, which would otherwise be a way around the operator's values.
"""


def _without_nul(value: Any) -> Any:
    """Refuse what no environment and not every database takes, before pydantic reads the text."""
    if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
        raise PydanticCustomError(
            "nul_or_surrogate", "Text should have no NUL and no lone surrogate"
        )
    return value


Text = Annotated[str, BeforeValidator(_without_nul)]
Word = Annotated[Text, StringConstraints(min_length=1, max_length=256)]
Variable = Annotated[Text, StringConstraints(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]


class SandboxError(Exception):
    """A sandbox that cannot be as asked; ``str`` of it is a sentence for the caller."""


class SandboxRequest(Bounded):
    """What a program asks for; ``timeout`` is in seconds."""

    model_config = ConfigDict(extra="forbid")

    timeout: int | None = Field(None, ge=1)
    metadata: Annotated[
        dict[Word, Annotated[Text, StringConstraints(max_length=4096)]], few(MAX_ENTRIES)
    ] = Field({})
    env: Annotated[
        dict[Variable, Annotated[Text, StringConstraints(max_length=32_768)]], few(MAX_ENTRIES)
    ] = Field({})


def is_sandbox(server_name: str) -> bool:
    """Return whether a named server is a sandbox."""
    return server_name.startswith(PREFIX)


def new_options(
    options: Mapping[str, Any] | None, now: datetime, timeout: int, max_timeout: int
) -> dict[str, Any]:
    """
    Return the options with which a sandbox is started, from those that were asked for.

    ``timeout`` is the one of a sandbox that names none. Raises SandboxError.
    """
    given = dict(options or {})
    try:
        asked = SandboxRequest.model_validate(given.pop("sandbox", None) or {})
    except ValidationError as error:
        where, what = first_error(error)
        raise SandboxError(f"The sandbox cannot be made: {where}: {what}.") from error
    for name in asked.env:
        if RESERVED.fullmatch(name):
            raise SandboxError(
                f"The variable '{name}' belongs to the server. Choose another name in env."
            )
    texts = [
        text for table in (asked.metadata, asked.env) for pair in table.items() for text in pair
    ]
    if sum(map(len, texts)) > MAX_TEXT:
        raise SandboxError(
            f"metadata and env have more than {MAX_TEXT:,} characters together. Put long texts "
            "into a file of the sandbox."
        )
    ends = deadline(now, timeout if asked.timeout is None else asked.timeout, max_timeout)
    sandbox = {
        "created_at": written(now),
        "expires_at": ends,
        "metadata": asked.metadata,
        "env": asked.env,
    }
    return {**given, "sandbox": sandbox}


def prolonged(
    options: Mapping[str, Any], now: datetime, timeout: int, max_timeout: int
) -> dict[str, Any]:
    """Return the options of a sandbox that ends ``timeout`` seconds from now."""
    sandbox = {**options["sandbox"], "expires_at": deadline(now, timeout, max_timeout)}
    return {**options, "sandbox": sandbox}


def deadline(now: datetime, timeout: int, max_timeout: int) -> str:
    """Return when a sandbox ends; raise SandboxError for a timeout that is not allowed."""
    if not 1 <= timeout <= max_timeout:
        raise SandboxError(
            f"timeout is {timeout}; it must be from 1 to {max_timeout} seconds here."
        )
    return written(now + timedelta(seconds=timeout))


def written(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC, to the millisecond."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def has_expired(options: Mapping[str, Any] | None, now: datetime) -> bool:
    """Return whether a sandbox has reached its deadline; one that has none has."""
    try:
        return datetime.fromisoformat((options or {})["sandbox"]["expires_at"]) <= now
    except (KeyError, TypeError, ValueError):
        return True


def environment(server_name: str, options: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the variables that a sandbox's server gets besides those of every server."""
    if not is_sandbox(server_name):
        return {}
    env = ((options or {}).get("sandbox") or {}).get("env") or {}
    return {str(name): str(value) for name, value in env.items()}
