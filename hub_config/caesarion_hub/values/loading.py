"""
Finds the values: YAML files laid over each other, then a folder of secrets.

Called by ``jupyterhub_config.py`` and by ``make up``; calls ``checking``.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from caesarion_hub.values.checking import ValuesError, check
from caesarion_hub.values.sections import Values

VALUES_VARIABLE = "CAESARION_VALUES"
"""Names the YAML files, separated as in ``PATH``; a later file wins."""

SECRETS_VARIABLE = "CAESARION_SECRETS"
"""Names a folder with a file for each secret, as a mounted Secret is; it wins over the files."""

SECRETS = {
    "user_password": ("auth", "userPassword"),
    "admin_password": ("auth", "adminPassword"),
    "gateway_token": ("cluster", "gatewayToken"),
}
"""The key that each file of the folder sets."""


def from_environment(environment: Mapping[str, str] = os.environ) -> Values:
    """Return the values of the files and of the folder that the environment names."""
    files = [Path(name) for name in environment.get(VALUES_VARIABLE, "").split(os.pathsep) if name]
    if not files:
        raise ValuesError(
            f"{VALUES_VARIABLE} is not set. It names the YAML files that hold the hub's values."
        )
    folder = environment.get(SECRETS_VARIABLE)
    secrets = [read_secrets(Path(folder))] if folder else []
    return check(merge([*map(read, files), *secrets]))


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


def read_secrets(folder: Path) -> dict[str, Any]:
    """Return what the files of ``folder`` set; a file that is not there sets nothing."""
    table: dict[str, Any] = {}
    for name, (section, key) in SECRETS.items():
        file = folder / name
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
            raise ValuesError(f"The secret {file} cannot be read: {reason}.") from problem
        table.setdefault(section, {})[key] = text.removesuffix("\n")
    return table


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
