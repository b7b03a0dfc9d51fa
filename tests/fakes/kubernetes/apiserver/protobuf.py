"""
Reads the protobuf bodies that kubectl and helm send; nothing is ever written.

Go clients with types built in send protobuf, and take JSON in return. The
tables name the messages that we have seen arrive, by the field numbers of
Kubernetes' ``generated.proto``; another kind is told 415 with its name, and
``kubectl create -f``, which sends JSON, is the way around. Pure.
"""

import base64
from collections.abc import Callable, Iterator
from typing import Any

from tests.fakes.kubernetes.apiserver.errors import ApiError, bad_request
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.times import written

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"

# message -> field number -> name and type. A type is a scalar, another
# message, "[type]" for a list of it or "{type}" for a map of strings to it. A field
# without a name is none of a client's business, such as status, and is left out.
MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "Unknown": {1: ("typeMeta", "TypeMeta"), 2: ("raw", "raw"), 3: ("", ""), 4: ("", "")},
    "TypeMeta": {1: ("apiVersion", "string"), 2: ("kind", "string")},
    "ObjectMeta": {
        1: ("name", "string"),
        2: ("generateName", "string"),
        3: ("namespace", "string"),
        4: ("selfLink", "string"),
        5: ("uid", "string"),
        6: ("resourceVersion", "string"),
        7: ("generation", "int"),
        8: ("creationTimestamp", "time"),
        9: ("deletionTimestamp", "time"),
        10: ("deletionGracePeriodSeconds", "int"),
        11: ("labels", "{string}"),
        12: ("annotations", "{string}"),
        13: ("ownerReferences", "[OwnerReference]"),
        14: ("finalizers", "[string]"),
        17: ("managedFields", "[ManagedFieldsEntry]"),
    },
    "OwnerReference": {
        1: ("kind", "string"),
        3: ("name", "string"),
        4: ("uid", "string"),
        5: ("apiVersion", "string"),
        6: ("controller", "bool"),
        7: ("blockOwnerDeletion", "bool"),
    },
    "ManagedFieldsEntry": {},  # the server's own; clients only send them back
    "Secret": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "{bytes}"),
        3: ("type", "string"),
        4: ("stringData", "{string}"),
        5: ("immutable", "bool"),
    },
    "ConfigMap": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "{string}"),
        3: ("binaryData", "{bytes}"),
        4: ("immutable", "bool"),
    },
    "Namespace": {
        1: ("metadata", "ObjectMeta"),
        2: ("spec", "NamespaceSpec"),
        3: ("status", "NamespaceStatus"),
    },
    "NamespaceSpec": {1: ("finalizers", "[string]")},
    "NamespaceStatus": {1: ("phase", "string")},
    "ServiceAccount": {
        1: ("metadata", "ObjectMeta"),
        3: ("imagePullSecrets", "[LocalObjectReference]"),
        4: ("automountServiceAccountToken", "bool"),
    },
    "LocalObjectReference": {1: ("name", "string")},
    "TokenRequest": {1: ("metadata", "ObjectMeta"), 2: ("spec", "TokenRequestSpec"), 3: ("", "")},
    "TokenRequestSpec": {
        1: ("audiences", "[string]"),
        3: ("boundObjectRef", "BoundObjectReference"),
        4: ("expirationSeconds", "int"),
    },
    "BoundObjectReference": {
        1: ("kind", "string"),
        2: ("apiVersion", "string"),
        3: ("name", "string"),
        4: ("uid", "string"),
    },
    "SelfSubjectAccessReview": {
        1: ("metadata", "ObjectMeta"),
        2: ("spec", "SelfSubjectAccessReviewSpec"),
        3: ("", ""),
    },
    "SelfSubjectAccessReviewSpec": {
        1: ("resourceAttributes", "ResourceAttributes"),
        2: ("nonResourceAttributes", "NonResourceAttributes"),
    },
    "ResourceAttributes": {
        1: ("namespace", "string"),
        2: ("verb", "string"),
        3: ("group", "string"),
        4: ("version", "string"),
        5: ("resource", "string"),
        6: ("subresource", "string"),
        7: ("name", "string"),
    },
    "NonResourceAttributes": {1: ("path", "string"), 2: ("verb", "string")},
    "SelfSubjectRulesReview": {
        1: ("metadata", "ObjectMeta"),
        2: ("spec", "SelfSubjectRulesReviewSpec"),
        3: ("", ""),
    },
    "SelfSubjectRulesReviewSpec": {1: ("namespace", "string")},
    "SelfSubjectReview": {1: ("metadata", "ObjectMeta"), 2: ("", "")},
    "Eviction": {1: ("metadata", "ObjectMeta"), 2: ("deleteOptions", "DeleteOptions")},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "int"),
        2: ("preconditions", "Preconditions"),
        3: ("orphanDependents", "bool"),
        4: ("propagationPolicy", "string"),
        5: ("dryRun", "[string]"),
    },
    "Preconditions": {1: ("uid", "string"), 2: ("resourceVersion", "string")},
}


def decode(body: bytes) -> Json:
    """Read a body; raises 415 for a kind that is not in the tables, 400 for what is none."""
    if not body.startswith(MAGIC):
        raise bad_request("the body is not Kubernetes protobuf: it does not start with k8s\\0")
    try:
        envelope = _message(body[len(MAGIC) :], "Unknown")
        kind = envelope["typeMeta"]["kind"]
        if kind not in MESSAGES:
            raise ApiError(
                415, f"protobuf of kind {kind} is not read by this test double; send JSON"
            )
        return {**envelope["typeMeta"], **_message(envelope.get("raw", b""), kind)}
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is broken protobuf: {error!r}") from error


def _message(data: bytes, name: str) -> Json:
    """Read a message; empty strings and zeros are what Go sends for fields that are not set."""
    table = MESSAGES[name]
    result: Json = {}
    for number, value in _fields(data):
        if number not in table and name != "ManagedFieldsEntry":
            raise ApiError(
                415, f"field {number} of {name} is not read by this test double; send JSON"
            )
        field, kind = table.get(number, ("", ""))
        if not field:
            continue
        if kind[0] == "[":
            result.setdefault(field, []).append(_value(value, kind[1:-1]))
        elif kind[0] == "{":
            parts = dict(_fields(value))
            key = parts.get(1, b"").decode()
            result.setdefault(field, {})[key] = _value(parts.get(2, b""), kind[1:-1])
        else:
            decoded = _value(value, kind)
            if decoded not in ("", None):
                result[field] = decoded
    result.pop("managedFields", None)
    return result


def _value(value: Any, kind: str) -> Any:
    scalar = SCALARS.get(kind)
    return scalar(value) if scalar else _message(value, kind)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _time(data: bytes) -> str | None:
    seconds = dict(_fields(data)).get(1)
    if seconds is None:
        return None
    return written(_signed(seconds))


SCALARS: dict[str, Callable[[Any], Any]] = {
    "string": lambda value: value.decode(),
    "raw": lambda value: value,
    "bytes": lambda value: base64.b64encode(value).decode(),
    "int": _signed,
    "bool": bool,
    "time": _time,
}


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the numbers and the raw values of a message's fields."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:  # varint
                value, at = _varint(data, at)
                yield tag >> 3, value
            case 2:  # bytes
                length, at = _varint(data, at)
                if at + length > len(data):
                    raise IndexError(f"field {tag >> 3} ends after the message")
                yield tag >> 3, data[at : at + length]
                at += length
            case wire:
                raise bad_request(f"the body is broken protobuf: wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        shift += 7
        at += 1
        if byte < 128:
            return value, at
