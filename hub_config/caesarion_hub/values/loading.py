"""
Reads the values: merges YAML files, then adds the secrets of a folder.

Called by ``jupyterhub_config.py``, ``make up`` and ``gateway.audit``; calls ``validation``.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from caesarion_hub.values.schema import Values
from caesarion_hub.values.validation import ValuesError, check

VALUES_VARIABLE = "CAESARION_VALUES"
"""Names the YAML files, separated as in ``PATH``; later files take precedence."""

SECRETS_VARIABLE = "CAESARION_SECRETS"
"""Names a folder with one file per secret, such as a mounted Secret; it overrides the files."""

STATE_VARIABLE = "CAESARION_STATE"
"""Names a folder for the state of ``make up`` other than ``.caesarion``."""

SECRETS = {
    "user_password": ("auth", "userPassword"),
    "admin_password": ("auth", "adminPassword"),
    "gateway_token": ("cluster", "gatewayToken"),
    "metrics_token": ("cluster", "metricsToken"),
}
"""The key that each file in that folder sets."""


def from_environment(environment: Mapping[str, str] = os.environ) -> Values:
    """Return the values from the files and the folder that the environment names."""
    files = [Path(name) for name in environment.get(VALUES_VARIABLE, "").split(os.pathsep) if name]
    if not files:
        raise ValuesError(
            f"{VALUES_VARIABLE} is not set. Set it to the paths of the hub's YAML values files."
        )
    folder = environment.get(SECRETS_VARIABLE)
    secrets = [read_secrets(Path(folder))] if folder else []
    return check(merge([*map(read, files), *secrets]))


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder in which ``make up`` keeps its state, in a checkout."""
    checkout = Path(__file__).parents[3]
    return Path(environment.get(STATE_VARIABLE) or checkout / ".caesarion").resolve()


def read(file: Path) -> dict[str, Any]:
    """Return the table in a YAML file; an empty file is an empty table."""
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
        raise ValuesError(f"The values file {file} does not hold a table of keys.")
    return table or {}


def read_secrets(folder: Path) -> dict[str, Any]:
    """Return the keys that the files in ``folder`` set; missing files are skipped."""
    table: dict[str, Any] = {}
    for name, (section, key) in SECRETS.items():
        file = folder / name
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
            raise ValuesError(f"The secret {file} cannot be read: {reason}.") from problem
        table.setdefault(section, {})[key] = text.removesuffix("\n")
    return table


def merge(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge tables as helm merges values files: later tables take precedence, key by key."""
    merged: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            under = merged.get(key)
            if isinstance(under, dict) and isinstance(value, dict):
                value = merge([under, value])
            merged[key] = value
    return merged
