"""
What a server of a folder had in it when it last ran, so that it can be killed and started again.

``server`` attaches it: every write is a line appended to ``journal.jsonl``,
and the next server on the folder reads them all. Tokens stay valid too. The
history of watches is not kept: who watches is told 410 and lists again.
"""

import json
from pathlib import Path

from tests.fakes.kubernetes.apiserver.store import Event, Store
from tests.fakes.kubernetes.apiserver.tokens import Tokens


class Journal:
    """The journal of a folder; :meth:`read` it, then :meth:`open` it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.jsonl"
        self._secrets = folder / "tokens.json"

    @property
    def is_there(self) -> bool:
        return self._path.exists()

    def read(self, store: Store) -> Tokens:
        """Put what was written into an empty store and return the tokens that are valid."""
        with self._path.open() as lines:
            for line in lines:
                # A server that was killed in the middle of a line has not answered it either.
                if line.endswith("\n"):
                    qualified, kind, obj = json.loads(line)
                    store.restore(qualified, obj, is_there=kind != "DELETED")
        store.forget()
        written = json.loads(self._secrets.read_text())
        return Tokens(admin=written["admin"], secret=bytes.fromhex(written["secret"]))

    def open(self, tokens: Tokens) -> None:
        """Begin to write."""
        written = {"admin": tokens.admin, "secret": tokens.secret.hex()}
        self._secrets.touch(mode=0o600)
        self._secrets.write_text(json.dumps(written))
        self._lines = self._path.open("ab", buffering=0)

    def observe(self, qualified: str, event: Event) -> None:
        """Write down an event."""
        head = json.dumps([qualified, event.type]).encode()
        self._lines.write(b"%s, %s]\n" % (head[:-1], event.object.json))

    def close(self) -> None:
        """Write no more."""
        self._lines.close()
