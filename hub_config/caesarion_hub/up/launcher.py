"""
The order of things in ``make up``; called by ``__main__``.

Reads the environment, checks everything that can be checked, then runs the hub
until it is told to stop. Whatever is wrong is one sentence and status 1.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from caesarion_hub import values
from caesarion_hub.names import RUN_VARIABLE
from caesarion_hub.up import machine, processes, state
from caesarion_hub.up.errors import UpError
from caesarion_hub.up.hub import Hub

REPOSITORY = Path(__file__).parents[3]
LOCAL_VALUES = REPOSITORY / "hub_config" / "local.yaml"
STATE_VARIABLE = "CAESARION_STATE"
"""Another folder than ``.caesarion`` for the state, so that tests leave that one alone."""

SETTINGS = {
    "PORT": "local.port",
    "CAESARION_PASSWORD": "auth.userPassword",
    "CAESARION_ADMIN_PASSWORD": "auth.adminPassword",
    "OPENAI_BASE_URL": "gateway.baseUrl",
    "CAESARION_MODEL": "gateway.model",
}
"""The variables that set a value."""

OURS = ("OPENAI_", "CAESARION_", "JUPYTER", "JPY_", "CONFIGPROXY_")
"""Variables that begin so are not handed on: we set the ones that are meant."""


def main() -> None:
    """Run ``make up``; exits with 0 after Ctrl-C and with 1 and a sentence otherwise."""
    try:
        up(os.environ)
    except (UpError, values.ValuesError) as problem:
        sys.exit(str(problem))


def up(environment: Mapping[str, str]) -> None:
    """Run the hub as ``environment`` says until a signal stops it."""
    kept = state.State(Path(environment.get(STATE_VARIABLE) or REPOSITORY / ".caesarion").resolve())
    with kept.held():
        kept.hide_key(environment)
        try:
            table = make_table(environment, kept)
            settings = values.check(table, {key: name for name, key in SETTINGS.items()})
            end_leftovers(kept)
            machine.claim(settings.machine.port)
            kept.mark(settings.machine.run)
            state.write(kept.values_file, yaml.safe_dump(table))
            state.write(kept.gateway_file, yaml.safe_dump(make_gateway_table(table, kept)))
            print("Starting JupyterHub ...", flush=True)
            inherited = make_environment(environment, kept, settings)
            hub = Hub(settings.machine.run, kept.log_file, inherited)
            asyncio.run(hub.serve(lambda: print(make_banner(environment, settings), flush=True)))
        finally:
            kept.key_file.unlink(missing_ok=True)
    print("\nCaesarion has stopped.")


def make_table(environment: Mapping[str, str], kept: state.State) -> dict[str, Any]:
    """Return the hub's values: ours, the operator's files, the environment, the machine's."""
    files = environment.get(values.VALUES_VARIABLE, "").split(os.pathsep)
    passwords = {
        "userPassword": kept.password("user_password", 12),
        "adminPassword": kept.password("admin_password", 32),
    }
    hub, api, gateway = machine.free_ports(3, but=environment.get("PORT", ""))
    found = {
        "folder": str(kept.folder),
        "run": secrets.token_hex(8),
        "hubPort": hub,
        "proxyApiPort": api,
        "gatewayPort": gateway,
        "proxyCommand": list(machine.proxy_command()),
    }
    key = {"keyFile": str(kept.key_file)} if kept.key_file.exists() else {}
    return values.merge(
        [
            {"auth": passwords, "local": {"port": 8000}},
            values.read(LOCAL_VALUES),
            *(values.read(Path(file)) for file in files if file),
            *(as_table(key, environment.get(name)) for name, key in SETTINGS.items()),
            {"local": found, "gateway": key},
        ]
    )


def make_gateway_table(table: Mapping[str, Any], kept: state.State) -> dict[str, Any]:
    """Return the gateway's own section, with a database that lies beside the hub's."""
    database = {"url": f"sqlite:///{kept.folder / 'gateway.sqlite'}"}
    return values.merge([{"database": database}, table.get("gateway") or {}])


def as_table(key: str, text: str | None) -> dict[str, Any]:
    """Return ``{"a": {"b": text}}`` for the key ``a.b``; nothing for no or an empty text."""
    section, name = key.split(".")
    value = int(text) if key == "local.port" and text and text.isdecimal() else text
    return {section: {name: value}} if text else {}


def end_leftovers(kept: state.State) -> None:
    """End what an earlier start left behind because it was killed."""
    if last := kept.last_run():
        processes.end(processes.of_run(last), 2.0)
    # JupyterHub would signal whatever program has this number by now.
    (kept.folder / "proxy.pid").unlink(missing_ok=True)


def make_environment(
    environment: Mapping[str, str], kept: state.State, settings: values.Values
) -> dict[str, str]:
    """Return the hub's environment, which its proxy inherits: without our settings and any key."""
    handed_on = {name: value for name, value in environment.items() if not name.startswith(OURS)}
    path = [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    return handed_on | {
        "PATH": os.pathsep.join(path),
        values.VALUES_VARIABLE: str(kept.values_file),
        RUN_VARIABLE: settings.machine.run,
    }


def make_banner(environment: Mapping[str, str], settings: values.Values) -> str:
    """Return what a newcomer needs to know when the hub is ready."""
    auth, gateway = settings.auth, settings.gateway
    passwords = {
        "CAESARION_PASSWORD": auth.user_password,
        "CAESARION_ADMIN_PASSWORD": auth.admin_password,
    }
    user, admin = (
        f"as in {name}" if environment.get(name) or not password else password.get_secret_value()
        for name, password in passwords.items()
    )
    if gateway.base_url:
        model = f"{gateway.model} at {urlsplit(gateway.base_url).hostname}"
    elif gateway.key_file:
        model = f"{gateway.model} at OpenAI"
    else:
        model = "the demo model; set OPENAI_API_KEY or OPENAI_BASE_URL for a real one"
    base_url = settings.hub.base_url.rstrip("/")
    return f"""
Caesarion is ready: http://127.0.0.1:{settings.machine.port}{base_url}

  Log in      any user name, password {user}
  Administer  {" or ".join(auth.admin_users)}, password {admin}
  Model       {model}
  Stop        Ctrl-C
"""
