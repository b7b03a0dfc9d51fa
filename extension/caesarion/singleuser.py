"""
A user's server under a hub: JupyterHub's own, started without what it never uses.

Run by the hub's spawners, as ``caesarion-singleuser`` or ``python -m
caesarion.singleuser``, instead of ``jupyterhub-singleuser``, whose options and
environment it takes and whose ``main`` it calls. Imports nothing of ours until then.

Half of the CPU that ``jupyterhub-singleuser`` takes to its first answer, and a quarter
of its memory, go into modules that a user's server imports and never calls: the hub's
own pages and its database (SQLAlchemy), the command line of an HTTP client, another
HTTP client; and where it is installed, a grammar of international addresses (1 s). While
the server's modules are imported, a :class:`Deferred` stands in for each of these; the
first use of what it stands for imports the real one.
"""

import contextlib
import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from unittest import mock

# The one that was read for what it does with these modules; pyproject.toml asks for it.
JUPYTERHUB = "6.1.1"

# What the extensions of every user's server import; before the server starts, so that it
# is done with the garbage collector at rest, and with modules deferred.
_IMPORTED = ("jupyterlab.labapp", "caesarion.extension")


class Deferred(ModuleType):
    """Stands in for a module until an attribute is asked for that is not ``known``."""

    def __init__(self, name: str, *, package: bool = False, **known: Any) -> None:
        super().__init__(name)
        self.__dict__.update(known)
        self._package = package

    def __getattr__(self, name: str) -> Any:
        # "from x import y" asks each x whether it has modules below it.
        if name == "__path__" and not self._package:
            raise AttributeError(name)
        _withdraw()
        return getattr(importlib.import_module(self.__name__), name)


def main() -> Any:
    """Start the server; returns when it has ended."""
    from caesarion.config import fix_environment

    gc.disable()  # Nothing that is imported is garbage; looking for it takes a tenth of the time.
    with deferring():
        from jupyterhub.singleuser import main

        # JupyterLab would start node, if there is one, to ask which registry of packages
        # it would be built from, which it is not.
        with mock.patch.dict(os.environ, PATH=os.devnull):
            for name in _IMPORTED:
                with contextlib.suppress(Exception):  # Its extension will fail, and say why.
                    importlib.import_module(name)
    fix_environment()
    gc.freeze()  # Nor is it looked through again.
    gc.enable()
    return main()


@contextlib.contextmanager
def deferring() -> Iterator[None]:
    """Let modules that are not needed be stood in for, if they are imported in the block."""
    for stand_in in _stand_ins():
        sys.modules.setdefault(stand_in.__name__, stand_in)
    try:
        yield
    finally:
        _withdraw()


def _withdraw() -> None:
    for name, module in list(sys.modules.items()):
        if isinstance(module, Deferred):
            del sys.modules[name]


def _stand_ins() -> list[Deferred]:
    import jupyterhub

    anywhere = [
        # The lists of extensions that an administrator may allow or block.
        Deferred("requests", package=True),
        # What the command "httpx" is, with rich and click; the package goes without, too.
        Deferred("httpx._main", main=_deferred_call("httpx._main", "main")),
    ]
    grammar = "rfc3987_syntax"
    if importlib.util.find_spec(grammar):  # Our images and `make up` come without.
        # jsonschema's check of the formats "iri" and "iri-reference".
        check = _deferred_call(grammar, "is_valid_syntax")
        anywhere.append(Deferred(grammar, is_valid_syntax=check))
    if jupyterhub.__version__ != JUPYTERHUB:
        return anywhere
    return [
        *anywhere,
        # Something may be an instance of HealthCheckHandler, or an error of SQLAlchemy's,
        # in the hub alone: here nothing is.
        Deferred(
            "jupyterhub.handlers.pages", HealthCheckHandler=type("HealthCheckHandler", (), {})
        ),
        Deferred("sqlalchemy.exc", SQLAlchemyError=type("SQLAlchemyError", (Exception,), {})),
        # What scopes mean to the hub's database. Compared with each other, they are text.
        Deferred("jupyterhub.orm"),
        Deferred("jupyterhub.roles"),
        Deferred("sqlalchemy", package=True),
    ]


def _deferred_call(module: str, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    return call


if __name__ == "__main__":
    sys.exit(main())
