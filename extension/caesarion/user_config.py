"""
Files in the user's home configure no part of their server, and add no code to its pages.

Called by :mod:`caesarion.singleuser` and :mod:`caesarion.extension` where the hub sets
JupyterHub's ``Spawner.disable_user_config``. Then JupyterHub leaves out configuration files,
labextensions and templates that lie in the home: code in a kernel can write there, and would
act with the session of whoever opens the lab. JupyterHub 6.1 forgets JupyterLab's
``page_config.json``, which can disable labextensions, and takes the user's own kernels away,
which run nothing in the server. The lab's settings, such as its theme, stay the user's.
"""

from pathlib import Path
from typing import Any

from caesarion import config


def leave_out_home() -> None:
    """
    Keep what lies in the home out of where Jupyter looks for settings, also of the lab's.

    Only where the hub says so, which a server that waits for its user is told later.
    """
    # Before the modules that take the function from here.
    from jupyter_core import paths

    find = paths.jupyter_config_path

    def jupyter_config_path() -> list[str]:
        if not config.leaves_out_home():
            return find()
        home = Path.home().resolve()
        return [path for path in find() if not Path(path).resolve().is_relative_to(home)]

    paths.jupyter_config_path = jupyter_config_path


def keep_users_kernels(manager: Any) -> None:
    """Let ``manager``, of kernels' specifications, find those that the user has installed."""
    if manager.user_kernel_dir not in manager.kernel_dirs:
        manager.kernel_dirs = [*manager.kernel_dirs, manager.user_kernel_dir]
