"""JupyterHub's configuration file: reads the values and lets each module set its traits."""

import sys

from caesarion_hub import auth, hub, overrides, services, spawner, values

try:
    settings = values.from_environment()
    for module in (auth, hub, services, spawner, overrides):
        module.configure(get_config(), settings)  # type: ignore[name-defined]  # noqa: F821
except values.ValuesError as problem:
    sys.exit(str(problem))
