"""
Imports what the processes of the tests import, so that they can be forked.

Run by :mod:`tests.forks`, with a socket by which to tell what to fork. Modules that read the
environment while they are imported are left to each process.
"""

import gc
import importlib
import os
import socket
import sys
from pathlib import Path

from tests import forks

_KERNEL = ("ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.completerlib")
_HUB = (
    *("caesarion_hub.application", "caesarion_hub.hub", "caesarion_hub.spawner"),
    *("caesarion_hub.local_spawner", "caesarion_hub.up.launcher", "jupyterhub.app"),
    *("caesarion_hub.pods.spawner", "alembic.command"),
    *("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql"),
)
_GATEWAY = (
    *("uvloop", "aiohttp.web", "caesarion_hub.gateway.config"),
    *("caesarion_hub.gateway.store.ledger", "caesarion_hub.gateway.store.write_queue"),
    *("caesarion_hub.gateway.upstream.router", "caesarion_hub.gateway.upstream.demo.model"),
)
_API = ("uvicorn", "caesarion_hub.api.application")
_SERVER = ("caesarion.warm", "tests.notebook_schema")

os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # Or the debugger warns of frozen modules.
for name in _KERNEL:
    importlib.import_module(name)
forks.of_kernels.update(sys.modules)
for name in (*_HUB, *_GATEWAY, *_API, *_SERVER):
    importlib.import_module(name)
sys.modules["caesarion.warm"].import_all()
# It reads whose child it is.
del sys.modules["ipykernel.kernelapp"], sys.modules["ipykernel"].kernelapp
sys.path.remove(str(Path(__file__).parents[1]))
gc.collect()
gc.freeze()
forks.serve(socket.socket(fileno=int(sys.argv[1])))
