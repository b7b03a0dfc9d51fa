"""
The key that signs the audit's records, which is not in the audit's database.

Read by ``__main__`` and the ``audit`` command; used by ``audit_log``, which signs, and
``audit_verification``. A key's file holds a random text, made once; Ed25519's private key is
its hash. So whoever can write the database cannot write records, and whoever has the public
key, a PEM file, can verify them.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from caesarion_hub.gateway.errors import ConfigError

_SHORTEST = 32  # characters of a key's text

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


class AuditKey:
    """
    The keys of one file: the first one signs, all of them verify.

    With public keys alone there is none that signs.
    """

    def __init__(
        self, signing: Ed25519PrivateKey | None, verifying: Sequence[Ed25519PublicKey]
    ) -> None:
        self._signing = signing
        self._verifying = verifying

    @classmethod
    def read(cls, file: Path) -> Self:
        """Return the keys of a file; raise ConfigError if it holds none."""
        try:
            return cls.from_text(file.read_text("utf-8"))
        except OSError as problem:
            raise ConfigError(
                f"The audit's key file {file} cannot be read: {problem.strerror}. "
                "gateway.audit.keyFile must name a file that the gateway's user can open."
            ) from problem
        except ValueError as problem:
            raise ConfigError(
                f"The file {file} holds no key of the audit: it must be a random text of "
                f"{_SHORTEST} characters or more, such as of `openssl rand -hex 32`, or public "
                "keys in PEM. Earlier keys follow the present one, after a ';'."
            ) from problem

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the keys of a file's text; raise ValueError if it holds none."""
        if public := _PEM.findall(text):
            keys = [load_pem_public_key(pem.encode()) for pem in public]
            ed25519 = [key for key in keys if isinstance(key, Ed25519PublicKey)]
            if len(ed25519) < len(keys):
                raise ValueError("not Ed25519")
            return cls(None, ed25519)
        secrets = re.split(r"[;\s]+", text.strip("; \t\r\n"))
        if min(map(len, secrets)) < _SHORTEST:
            raise ValueError("too short")
        private = [
            Ed25519PrivateKey.from_private_bytes(hashlib.sha256(secret.encode()).digest())
            for secret in secrets
        ]
        return cls(private[0], [key.public_key() for key in private])

    @property
    def signs(self) -> bool:
        """Whether there is a key that signs."""
        return self._signing is not None

    def sign(self, digest: str) -> str:
        """Return the signature of a record's hash, in Base64."""
        assert self._signing
        return base64.b64encode(self._signing.sign(digest.encode())).decode()

    def made(self, digest: str, signature: str) -> bool:
        """Return whether the key that signs made a signature."""
        return _verifies(self._verifying[0], digest, signature)

    def verifies(self, digest: str, signature: str) -> bool:
        """Return whether one of the keys made a signature."""
        return any(_verifies(key, digest, signature) for key in self._verifying)

    def public_pem(self) -> str:
        """Return the public keys, as a file for :meth:`read`."""
        formats = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return "".join(key.public_bytes(*formats).decode() for key in self._verifying)


def _verifies(key: Ed25519PublicKey, digest: str, signature: str) -> bool:
    try:
        key.verify(base64.b64decode(signature), digest.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
