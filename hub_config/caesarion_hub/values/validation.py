"""
Validates a table of values and reports each problem as a sentence.

Called by ``loading`` and by ``make up``; validates with the models of
``schema``. Every sentence names the key as the operator wrote it, the value
unless it may be a secret, and what the value must be.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from caesarion_hub.values.fields import Section
from caesarion_hub.values.schema import OUR_AUTHENTICATOR, Auth, Values
from caesarion_hub.values.singleuser import Singleuser

Path = Sequence[str | int]


class ValuesError(Exception):
    """The values are invalid; ``str`` of it has one sentence per line, for the operator."""


def check(table: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Values:
    """
    Return ``table`` as values.

    ``names`` maps keys to the names that the operator knows them by, such as
    ``{"local.port": "PORT"}``. Raises :class:`ValuesError` with a sentence for
    every problem.
    """
    sentences = list(_cross_key_problems(table, names or {}))
    try:
        # In strict mode pydantic accepts lists as tuples and strings as paths from JSON only.
        values = Values.model_validate_json(json.dumps(table, default=str))
    except ValidationError as problem:
        sentences += [_sentence(error, names or {}) for error in problem.errors()]
    else:
        sentences += _profile_problems(values.singleuser)
    if sentences:
        raise ValuesError("\n".join(sentences))
    return values


def _cross_key_problems(table: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """Yield the problems that concern several keys at once."""
    authenticator = _get(table, "hub", "config", "JupyterHub", "authenticator_class")
    if authenticator in (None, OUR_AUTHENTICATOR):
        for alias, field in _fields(Auth).items():
            if _is_secret(field) and _get(table, "auth", alias) is None:
                name = names.get(f"auth.{alias}", f"auth.{alias}")
                yield f"{name} is missing; it must be {field.description}."
    places = [name for name in ("local", "cluster") if table.get(name) is not None]
    if not places:
        yield "local and cluster are both missing; one of them must be a table of keys."
    if len(places) == 2:
        yield "local and cluster are both there; only one of them may be."


def _profile_problems(singleuser: Singleuser) -> Iterator[str]:
    """Yield a sentence if warm servers are of a profile that does not exist."""
    wanted, profiles = singleuser.warm.profile, [each.name for each in singleuser.profile_list]
    if wanted and wanted not in profiles:
        known = f"one of {', '.join(profiles)}" if profiles else "null, without profiles"
        yield f"singleuser.warm.profile is {_shortened(wanted)}; it must be {known}."


def _get(table: object, *path: str) -> object:
    """Return the value at ``path``, or None if any part of it is missing."""
    for key in path:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table


def _sentence(error: ErrorDetails, names: Mapping[str, str]) -> str:
    path = error["loc"]
    key = _dotted(path)
    name = names.get(key, key)
    if error["type"] == "extra_forbidden":
        return f"Unknown key '{key}'. {_suggestion(path)}"
    if error["type"] == "same_password":
        admin, user = "auth.adminPassword", "auth.userPassword"
        return f"{names.get(admin, admin)} must differ from {names.get(user, user)}."
    _, field = _locate(path)
    must_be = field.description if field else "a table of keys"
    if error["type"] == "missing":
        return f"{name} is missing; it must be {must_be}."
    if key == "auth" or key.startswith("hub.config.") or (field and _is_secret(field)):
        return f"{name} must be {must_be}."  # without the value, which may be a password
    return f"{name} is {_shortened(error['input'])}; it must be {must_be}."


def _suggestion(path: Path) -> str:
    """Suggest the key that was probably meant: a similar one here, else the same one elsewhere."""
    *above, unknown = path
    section, _ = _locate(above)
    here = [_dotted([*above, alias]) for alias in _fields(section)]
    for keys, cutoff in ((here, 0.6), (list(_keys(Values)), 0.9)):
        names = {key.rpartition(".")[2]: key for key in keys}
        if near := difflib.get_close_matches(str(unknown), names, n=1, cutoff=cutoff):
            return f"Did you mean '{names[near[0]]}'?"
    return f"The keys there are: {', '.join(sorted(_fields(section)))}."


def _keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    for alias, field in _fields(section).items():
        yield f"{prefix}{alias}"
        inner, many = _subsection(field)
        if inner and not many:
            yield from _keys(inner, f"{prefix}{alias}.")


def _locate(path: Path) -> tuple[type[Section], FieldInfo | None]:
    """Return the innermost section on ``path``, and the field at its end, if there is one."""
    section: type[Section] = Values
    rest = list(path)
    while rest:
        field = _fields(section)[str(rest.pop(0))]
        inner, many = _subsection(field)
        if not inner or (many and not rest):
            return section, field
        if many:
            rest.pop(0)  # the index or the name
        section = inner
    return section, None


def _fields(section: type[Section]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _subsection(field: FieldInfo) -> tuple[type[Section] | None, bool]:
    """Return the section that a field holds, and whether it holds several: a list or a table."""
    many = get_origin(field.annotation) in (tuple, dict)
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind, many
    return None, many


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))


def _dotted(path: Path) -> str:
    """Return a path as the operator writes it: ``singleuser.profileList[0].slug``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def _shortened(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
