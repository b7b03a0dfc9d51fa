"""
A user's server under a hub: JupyterHub's own, started without the modules that it never uses.

Run by the hub's spawners, as ``caesarion-singleuser`` or ``python -s -P -m
caesarion.singleuser``, instead of ``jupyterhub-singleuser``, whose options and environment it
takes and whose ``main`` it calls. Closes the server's memory to the user's other processes,
before it holds a session's token. Also freezes the environment before Jupyter's configuration
files are read: they are Python, and could change the hub's variables. Unless the operator lets
the user's own be read, they lie outside the home. With -s and -P nothing else of the user's is
run before.

JupyterHub's server and JupyterLab import what a user's server never calls: the hub's database
(SQLAlchemy) and pages, two HTTP clients, and where it is installed a grammar of international
addresses. While they are imported, a :class:`StandIn` takes the place of each of these modules
in ``sys.modules``; its first use imports the real one.

That is worth its oddity, measured on two cores (AMD EPYC, Python 3.11) from the start to the
first answer: 0.93 s of CPU instead of 1.30 s, and 90 MB instead of 135 MB. ``python -m
tests.bench start`` measures it against JupyterHub's own server; ``tests/unit/test_stand_ins.py``
fails when upstream no longer imports one of the modules, so that its stand-in can go.
"""

import contextlib
import ctypes
import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

JUPYTERHUB = "6.1.1"
"""The version whose use of these modules was read; another one gets all that it imports."""

# The modules of the extensions that every user's server loads. They are imported before the
# server starts, while the garbage collector rests and stand-ins are in place.
_EXTENSIONS = ("jupyterlab.labapp", "caesarion.extension")

WARM = "--warm"
"""The option that lets the server wait until the hub says whose it is."""

_PR_SET_DUMPABLE = 4  # of linux/prctl.h

_UNSAFE = (
    "This server was started in a way that lets files in the user's home run first. Start it as "
    "'caesarion-singleuser', or 'python -s -P -m caesarion.singleuser'."
)


class StandIn(ModuleType):
    """Stands in for a module until an attribute is read that is not ``known``."""

    def __init__(self, name: str, *, package: bool = False, **known: Any) -> None:
        super().__init__(name)
        self.__dict__.update(known)
        self._package = package

    def __getattr__(self, name: str) -> Any:
        # "from x import y" asks each x for the place of the modules below it.
        if name == "__path__" and not self._package:
            raise AttributeError(name)
        _remove_stand_ins()
        return getattr(importlib.import_module(self.__name__), name)


def main() -> Any:
    """Start the server; returns when it has ended."""
    if not (sys.flags.no_user_site and sys.flags.safe_path):
        # Files of the user's may have run by now; at least they are not part of the server.
        print(_UNSAFE, file=sys.stderr, flush=True)
        options = ("-s", "-P", "-m", "caesarion.singleuser")
        os.execv(sys.executable, [sys.executable, *options, *sys.argv[1:]])  # noqa: S606
    from caesarion.config import freeze_environment, is_beside_the_hub, prewarms_kernels
    from caesarion.kernels import waiting

    if prewarms_kernels():  # It imports while we do.
        waiting.start()
    # Otherwise kernels could as well read the hub's memory and database, and `make up` finds
    # servers that a killed hub has left, and their memory, by their environment.
    if not is_beside_the_hub():
        close_memory()
    from caesarion.user_config import leave_out_home

    leave_out_home()
    goes_ahead = False
    if WARM in sys.argv:
        sys.argv.remove(WARM)
        import jupyterhub

        from caesarion import warm, warm_start

        nonce = warm.take_nonce()
        with _importing():
            warm.import_all()
        goes_ahead = jupyterhub.__version__ == JUPYTERHUB and warm_start.goes_ahead()
        if not goes_ahead:
            warm_start.wait(nonce)
    with _importing():
        from jupyterhub.singleuser import main

        from caesarion import deferred

        for name in _EXTENSIONS:
            with contextlib.suppress(Exception):  # Its extension will fail, and say why.
                importlib.import_module(name)
    deferred.install()
    freeze_environment()
    if goes_ahead:
        warm_start.wait_when_asked(nonce, sys.modules["jupyterhub.singleuser.extension"])
    return main()


def close_memory() -> None:
    """
    Keep other processes of the user from this one's memory, environment and open files.

    Kernels are such processes, and the memory has the tokens of browsers' sessions. Linux
    alone has this, elsewhere nothing happens; it does not bind root. A program that is started
    from here is open again: the kernel of the system resets it at each exec.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """
    Import the server in the block: quickly, and without what it never uses.

    Nothing that is imported is garbage: without looking for some the start takes 0.08 s of
    CPU less, and 0.04 s less when the collector never looks at it again.
    """
    gc.disable()
    with standing_in(), _without_programs():
        yield
    gc.freeze()
    gc.enable()


@contextlib.contextmanager
def standing_in() -> Iterator[None]:
    """Let stand-ins take the place of modules that are not needed and imported in the block."""
    for stand_in in _stand_ins():
        sys.modules.setdefault(stand_in.__name__, stand_in)
    try:
        yield
    finally:
        _remove_stand_ins()


@contextlib.contextmanager
def _without_programs() -> Iterator[None]:
    """
    Let no program be found in the block.

    JupyterLab 4.6 starts Node, where there is one, when it is imported, to ask which registry
    of packages it would be built from: 0.35 s of each start with ``make up``.
    """
    path = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.devnull
    try:
        yield
    finally:
        os.environ["PATH"] = path


def _remove_stand_ins() -> None:
    for name, module in list(sys.modules.items()):
        if isinstance(module, StandIn):
            del sys.modules[name]


def _stand_ins() -> list[StandIn]:
    import jupyterhub

    anywhere = [
        # The lists of extensions that an administrator may allow or block.
        StandIn("requests", package=True),
        # What the command "httpx" is, with rich and click; the package does without, too.
        StandIn("httpx._main", main=_deferred_call("httpx._main", "main")),
    ]
    grammar = "rfc3987_syntax"
    if importlib.util.find_spec(grammar):  # Our images and `make up` come without.
        # jsonschema's check of the formats "iri" and "iri-reference".
        check = _deferred_call(grammar, "is_valid_syntax")
        anywhere.append(StandIn(grammar, is_valid_syntax=check))
    if jupyterhub.__version__ != JUPYTERHUB:
        return anywhere
    return [
        *anywhere,
        # Something may be an instance of HealthCheckHandler, or an error of SQLAlchemy's,
        # in the hub alone: here nothing is.
        StandIn("jupyterhub.handlers.pages", HealthCheckHandler=type("HealthCheckHandler", (), {})),
        StandIn("sqlalchemy.exc", SQLAlchemyError=type("SQLAlchemyError", (Exception,), {})),
        # What scopes mean to the hub's database. Compared with each other, they are text.
        StandIn("jupyterhub.orm"),
        StandIn("jupyterhub.roles"),
        StandIn("sqlalchemy", package=True),
    ]


def _deferred_call(module: str, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    return call


if __name__ == "__main__":
    sys.exit(main())
