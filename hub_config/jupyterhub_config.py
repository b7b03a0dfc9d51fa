"""What JupyterHub executes: checked values, handed to the parts."""

import sys

from caesarion_hub import auth, hub, overlay, services, spawner, values

try:
    settings = values.from_environment()
    for part in (auth, hub, services, spawner, overlay):
        part.configure(get_config(), settings)  # type: ignore[name-defined]  # noqa: F821
except values.ValuesError as problem:
    sys.exit(str(problem))
