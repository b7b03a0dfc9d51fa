"""
Bodies of requests while they are in memory: counted, and bounded together.

Used by ``application``, which feeds them and has the one :class:`BodyMemory`.
Invariant: what all bodies take, and what those of one user take, is bounded from their first
byte until their requests have ended, however slowly they come.
"""

from collections import Counter

from caesarion_hub.gateway.errors import GatewayError


class BodyMemory:
    """Counts the bytes of all bodies: ``most`` together, ``most_of_user`` of each user's."""

    def __init__(self, most: int, most_of_user: int) -> None:
        self._most = most
        self._most_of_user = most_of_user
        self._by_user: Counter[str] = Counter()

    def take(self, user: str, size: int) -> None:
        """Count ``size`` more bytes; raise GatewayError if there is no room for them."""
        if self._by_user[user] + size > self._most_of_user:
            raise GatewayError(
                429,
                "too_many_bytes",
                f"Your requests in progress hold {_mebibytes(self._most_of_user)}, which is "
                "your limit. Ask again when one has ended.",
                "rate_limit_error",
                {"Retry-After": "2"},
            )
        if self._by_user.total() + size > self._most:
            raise GatewayError(
                503,
                "out_of_memory",
                f"The requests in progress hold {_mebibytes(self._most)}, which is all that "
                "the gateway takes at once. Ask again in a moment.",
                "server_error",
                {"Retry-After": "2"},
            )
        self._by_user[user] += size

    def release(self, user: str, size: int) -> None:
        """Count ``size`` bytes less."""
        self._by_user[user] -= size
        if not self._by_user[user]:
            del self._by_user[user]


class Body:
    """The body of one request of ``user``, of ``max_bytes`` bytes at most."""

    def __init__(self, memory: BodyMemory, user: str, max_bytes: int) -> None:
        self._memory = memory
        self._user = user
        self._max_bytes = max_bytes
        self._data = bytearray()
        self._taken = 0

    def add(self, chunk: bytes) -> None:
        """Keep the next bytes; raise GatewayError if they are too many."""
        if len(self._data) + len(chunk) > self._max_bytes:
            raise GatewayError(
                413,
                "request_too_large",
                f"The request is longer than {_mebibytes(self._max_bytes)}. "
                "Begin a new conversation, or send less.",
            )
        self._memory.take(self._user, len(chunk))
        self._taken += len(chunk)
        self._data += chunk

    def read(self) -> bytes:
        """Return the body, which still counts until it is closed."""
        data = bytes(self._data)
        self._data.clear()
        return data

    def close(self) -> None:
        """Release the memory."""
        self._data.clear()
        self._memory.release(self._user, self._taken)
        self._taken = 0


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.3g} MiB"
