"""
How far a server starts that waits for its user: to its first step that asks who that is.

Called by :mod:`caesarion.singleuser`; listens by :mod:`caesarion.warm`. In a pod, whose hub says
beforehand all that is the same for all users, the application has begun when the claim comes: it
has read its configuration, linked its extensions and built its managers. JupyterHub has nothing
like it. Written against Jupyter Server 2.21. Measured on two shared cores (AMD EPYC, Python 3.11),
from the claim to the first result: 0.09 s of CPU instead of 0.13 s when it waited while it linked
its extensions, and 0.20 s when it had not begun.
"""

import os
import sys
from types import ModuleType
from typing import Any

from caesarion import config, warm
from caesarion.kernels import waiting

_API, _PREFIX = "JUPYTERHUB_API_URL", "JUPYTERHUB_SERVICE_PREFIX"
_ANOTHER = "JUPYTERHUB_SINGLEUSER_"
"""Begins the variables that choose another one of JupyterHub's servers."""

READ = (
    *("ANDROID_DATA", "COLUMNS", "HOME", "IPYTHONDIR", "JUPYTER_", "JUPYTERLAB_", "LANG", "LC_"),
    *("JUPYTERHUB_ALLOW_", _API, "JUPYTERHUB_DEFAULT_URL", "JUPYTERHUB_DISABLE_"),
    *("JUPYTERHUB_ROOT_DIR", "JUPYTERHUB_SSL_", _ANOTHER),
    *("LINES", "PATH", "PWD", "PYTHON", "XDG_"),
)
"""
Prefixes of the variables that such a server reads before its claim.

``tests/integration/test_warm_start.py`` holds them.
"""


def goes_ahead() -> bool:
    """Return whether the server can begin before its claim, as it does in a pod."""
    is_another = any(name.startswith(_ANOTHER) for name in os.environ)
    return config.leaves_out_home() and _API in os.environ and not is_another


def wait(nonce: str) -> None:
    """Return when this process is a user's; raises SystemExit if it is not to be."""
    _claimed(nonce).apply()


def wait_when_asked(nonce: str, extension: ModuleType) -> None:
    """
    Let the server wait before it makes its web application, where all has its user's address.

    ``extension`` is JupyterHub's part of it, which then reads again whose server it is. A claim
    that changes what else has been read by then starts the server again, from the beginning.
    """
    from jupyter_server.serverapp import ServerApp

    init_webapp = ServerApp.init_webapp

    # As JupyterHub 6.1's own: a server that is not linked with it would let anybody in.
    @extension._fatal_errors  # type: ignore[untyped-decorator]
    def become_users(self: Any) -> None:
        claim = _claimed(nonce)
        if any(name.startswith(READ) for name in claim.changes()):
            _start_again(claim)
        claim.apply()
        config.add_to_environment({name: os.environ[name] for name in claim.environment})
        points = self.extension_manager.extension_points.values()
        hub = next(p.app for p in points if isinstance(p.app, extension.JupyterHubSingleUser))
        for each in (self, self.identity_provider, hub):
            # The default of HubAuth.base_url, which JupyterHub reads when it is imported. Each
            # of these gives its own configuration to a HubAuth that it makes.
            each.config.HubAuth.setdefault("base_url", os.environ.get(_PREFIX) or "/")
        hub.load_config_file()

    def wait_and_init_webapp(self: Any) -> None:
        ServerApp.init_webapp = init_webapp  # type: ignore[method-assign]
        become_users(self)
        init_webapp(self)

    ServerApp.init_webapp = wait_and_init_webapp  # type: ignore[method-assign]


def _claimed(nonce: str) -> warm.Claim:
    try:
        return warm.wait(nonce)
    except SystemExit:
        waiting.end()
        raise


def _start_again(claim: warm.Claim) -> None:
    """Become a server that has not waited; does not return."""
    waiting.end()
    claim.apply()
    options = ("-s", "-P", "-m", "caesarion.singleuser")
    os.execv(sys.executable, [sys.executable, *options, *sys.argv[1:]])  # noqa: S606
