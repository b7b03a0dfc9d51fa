"""
Kubernetes objects as plain dictionaries: their names and copies.

Everything in this package uses it and it uses nothing. Pure: no I/O, nothing
is changed in place.
"""

from typing import Any

Json = dict[str, Any]
Key = tuple[str, str]


def key_of(obj: Json) -> Key:
    """Return the namespace ("" outside all of them) and the name of an object."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def copied(value: Any) -> Any:
    """Copy JSON all the way down; several times faster than ``copy.deepcopy``."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value
