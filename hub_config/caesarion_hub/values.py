"""
The operator's values: what they may be, read from YAML and checked.

Called by ``jupyterhub_config.py`` and by ``make up``. The YAML is
camelCase, as in helm, and meets Python's snake_case here only. Names are
zero-to-jupyterhub's where the meaning is the same. A field's description ends
the sentence "it must be ...", so it is at once help and error message.
"""

import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, SecretStr, ValidationError
from pydantic import model_validator as after_fields
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from caesarion_hub.gateway_values import Gateway
from caesarion_hub.section import Section

VALUES_VARIABLE = "CAESARION_VALUES"
"""Names the YAML files, separated as in ``PATH``; a later file wins."""


class ValuesError(Exception):
    """The values cannot be used; ``str`` of it is one sentence a line, for the operator."""


Port = Annotated[int, Field(ge=1, le=65535, description="a port, a whole number from 1 to 65535")]


class Auth(Section):
    """Who may log in: anybody with the users' password, administrators with theirs."""

    admin_users: tuple[str, ...] = Field((), description="a list of user names")
    user_password: SecretStr = Field(min_length=8, description="a text of 8 or more characters")
    admin_password: SecretStr = Field(min_length=32, description="a text of 32 or more characters")

    @after_fields(mode="after")
    def _passwords_differ(self) -> Self:
        if self.admin_password == self.user_password:
            raise PydanticCustomError("same_password", "the passwords are the same")
        return self


class Singleuser(Section):
    """A user's own Jupyter server."""

    default_url: str = Field("/lab", pattern="^/", description="a path such as /lab")
    start_timeout: int = Field(60, ge=1, description="whole seconds, 1 or more")
    extra_env: dict[str, str] = Field({}, description='texts by variable, numbers quoted: "600"')


Mode = Literal["read-only", "ask", "auto"]


class Agent(Section):
    """Who decides what the agent runs: nothing runs, a person decides on each call, all runs."""

    approval: Mode = Field("auto", description="read-only, ask or auto")
    max_approval: Mode = Field("auto", description="read-only, ask or auto")


class Cull(Section):
    """When an idle server is stopped."""

    enabled: bool = Field(True, description="true or false")
    timeout: int = Field(3600, ge=1, description="whole seconds, 1 or more")
    every: int = Field(600, ge=1, description="whole seconds, 1 or more")
    max_age: int = Field(0, ge=0, description="whole seconds, or 0 for no limit")


class Local(Section):
    """What ``make up`` finds out about its machine at each start."""

    folder: Path = Field(description="the path of the folder that holds the hub's state")
    run: str = Field(min_length=1, description="a word that marks the processes of this start")
    port: Port
    hub_port: Port
    proxy_api_port: Port
    gateway_port: Port
    proxy_command: tuple[str, ...] = Field(min_length=1, description="a command as a list of words")


class Values(Section):
    """All of them."""

    auth: Auth
    singleuser: Singleuser = Singleuser()
    agent: Agent = Agent()
    gateway: Gateway = Gateway()
    cull: Cull = Cull()
    local: Local


def from_environment(environment: Mapping[str, str] = os.environ) -> Values:
    """Return the values of the files that ``CAESARION_VALUES`` names."""
    files = [Path(name) for name in environment.get(VALUES_VARIABLE, "").split(os.pathsep) if name]
    if not files:
        raise ValuesError(
            f"{VALUES_VARIABLE} is not set. It names the YAML files that hold the hub's values."
        )
    return check(merge(read(file) for file in files))


def read(file: Path) -> dict[str, Any]:
    """Return the table that a YAML file holds; an empty file is an empty table."""
    try:
        table = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ValuesError(
            f"The values file {file} cannot be read: {problem.strerror}."
        ) from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ValuesError(f"The values file {file} is not YAML{where}.") from problem
    if not isinstance(table, dict | None):
        raise ValuesError(f"The values file {file} holds no table of keys.")
    return table or {}


def merge(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay tables over each other, the last on top, as helm does with its values files."""
    merged: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            under = merged.get(key)
            if isinstance(under, dict) and isinstance(value, dict):
                value = merge([under, value])
            merged[key] = value
    return merged


def check(table: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Values:
    """
    Return ``table`` as values.

    ``names`` says what the reader calls a key, as ``{"local.port": "PORT"}``.
    Raises :class:`ValuesError` with a sentence for every problem.
    """
    try:
        # Strict JSON takes lists for tuples and text for paths, and nothing else.
        return Values.model_validate_json(json.dumps(table, default=str))
    except ValidationError as problem:
        sentences = [_sentence(error, names or {}) for error in problem.errors()]
        raise ValuesError("\n".join(sentences)) from None


def _sentence(error: ErrorDetails, names: Mapping[str, str]) -> str:
    path = [part for part in error["loc"] if isinstance(part, str)]
    key = ".".join(path)
    name = names.get(key, key)
    if error["type"] == "extra_forbidden":
        return f"Unknown key '{key}'. {_suggestion(path)}"
    if error["type"] == "same_password":
        admin, user = "auth.adminPassword", "auth.userPassword"
        return f"{names.get(admin, admin)} must differ from {names.get(user, user)}."
    section, must_be = _place(path)
    if error["type"] == "missing":
        return f"{name} is missing; it must be {must_be}."
    if section is Auth:
        return f"{name} must be {must_be}."  # without the value, which may be a password
    return f"{name} is {_shortened(error['input'])}; it must be {must_be}."


def _suggestion(path: Sequence[str]) -> str:
    """Name the key that was meant: one in the same place, else one of that name elsewhere."""
    section, _ = _place(path[:-1])
    here = [".".join([*path[:-1], alias]) for alias in _fields(section)]
    for keys, cutoff in ((here, 0.6), (list(_keys(Values)), 0.9)):
        names = {key.rpartition(".")[2]: key for key in keys}
        if near := difflib.get_close_matches(path[-1], names, n=1, cutoff=cutoff):
            return f"Did you mean '{names[near[0]]}'?"
    return f"The keys there are: {', '.join(sorted(_fields(section)))}."


def _keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    for alias, field in _fields(section).items():
        yield f"{prefix}{alias}"
        if inner := _inner(field):
            yield from _keys(inner, f"{prefix}{alias}.")


def _place(path: Sequence[str]) -> tuple[type[Section], str]:
    """Return the innermost section that ``path`` enters, and what the value there must be."""
    section: type[Section] = Values
    for part in path:
        field = _fields(section)[part]
        inner = _inner(field)
        if not inner:
            return section, field.description or ""
        section = inner
    return section, "a table of keys"


def _fields(section: type[Section]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _inner(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _shortened(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
