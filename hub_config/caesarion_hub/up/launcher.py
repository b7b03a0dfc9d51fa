"""
The steps of ``make up``; called by ``__main__``.

Reads the environment, checks all that can be checked in advance, then runs the
hub until a signal. Every failure is one sentence and exit status 1.
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
from caesarion_hub.up import UpError, machine, processes
from caesarion_hub.up.hub import Hub
from caesarion_hub.up.state import StateFolder, write
from caesarion_hub.values.gateway import Gateway

REPOSITORY = Path(__file__).parents[3]
LOCAL_VALUES = REPOSITORY / "hub_config" / "local.yaml"

SETTINGS = {
    "PORT": "local.port",
    "CAESARION_PASSWORD": "auth.userPassword",
    "CAESARION_ADMIN_PASSWORD": "auth.adminPassword",
    "OPENAI_BASE_URL": "gateway.baseUrl",
    "CAESARION_MODEL": "gateway.model",
}
"""The environment variables that set a value."""

OWN_PREFIXES = ("OPENAI_", "CAESARION_", "JUPYTER", "JPY_", "CONFIGPROXY_")
"""Prefixes of variables that the hub does not inherit; we set those that it needs."""


def main() -> None:
    """Run ``make up``; exit with 0 after Ctrl-C, else with 1 and a sentence."""
    try:
        up(os.environ)
    except (UpError, values.ValuesError) as problem:
        sys.exit(str(problem))


def up(environment: Mapping[str, str]) -> None:
    """Run the hub, configured by ``environment``, until a signal stops it."""
    folder = StateFolder(values.state_folder(environment))
    with folder.locked():
        folder.hide_key(environment)
        try:
            table = make_table(environment, folder)
            settings = values.check(table, {key: name for name, key in SETTINGS.items()})
            end_leftovers(folder)
            machine.claim(settings.local_deployment.port)
            folder.mark(settings.local_deployment.run)
            write(folder.values_file, yaml.safe_dump(table))
            write(
                settings.local_deployment.gateway_file,
                yaml.safe_dump(make_gateway_table(table, folder)),
            )
            print("Starting JupyterHub ...", flush=True)
            inherited = make_environment(environment, folder, settings)
            hub = Hub(settings.local_deployment.run, folder.log_file, inherited)
            asyncio.run(hub.serve(lambda: print(make_banner(environment, settings), flush=True)))
        finally:
            folder.key_file.unlink(missing_ok=True)
    print("\nCaesarion has stopped.")


def make_table(environment: Mapping[str, str], folder: StateFolder) -> dict[str, Any]:
    """Merge the hub's values: our defaults, the operator's files, the environment."""
    files = environment.get(values.VALUES_VARIABLE, "").split(os.pathsep)
    passwords = {
        "userPassword": folder.secret("user_password", 12),
        "adminPassword": folder.secret("admin_password", 32),
    }
    hub, proxy_api, gateway, api = machine.free_ports(4, but=environment.get("PORT", ""))
    determined = {
        "folder": str(folder.path),
        "run": secrets.token_hex(8),
        "hubPort": hub,
        "proxyApiPort": proxy_api,
        "gatewayPort": gateway,
        "apiPort": api,
        "proxyCommand": list(machine.proxy_command()),
    }
    key = {"keyFile": str(folder.key_file)} if folder.key_file.exists() else {}
    return values.merge(
        [
            {"auth": passwords, "local": {"port": 8000}},
            values.read(LOCAL_VALUES),
            *(values.read(Path(file)) for file in files if file),
            *(as_table(key, environment.get(name)) for name, key in SETTINGS.items()),
            {"local": determined, "gateway": key},
        ]
    )


def make_gateway_table(table: Mapping[str, Any], folder: StateFolder) -> dict[str, Any]:
    """Return the gateway's section of the values, with a database and the audit's key in files."""
    folder.secret("audit_key", 64)
    ours = {
        "database": {"url": f"sqlite:///{folder.path / 'gateway.sqlite'}"},
        "audit": {"keyFile": str(folder.path / "audit_key")},
    }
    return values.merge([ours, table.get("gateway") or {}])


def as_table(key: str, text: str | None) -> dict[str, Any]:
    """Return ``{"a": {"b": text}}`` for the key ``a.b``; an empty table if there is no text."""
    section, name = key.split(".")
    value = int(text) if key == "local.port" and text and text.isdecimal() else text
    return {section: {name: value}} if text else {}


def end_leftovers(folder: StateFolder) -> None:
    """End the processes that a killed earlier start left behind."""
    if last := folder.last_run():
        processes.end(processes.of_run(last), 2.0)
    # JupyterHub 6.1 signals the process id in this file, which another program may have by now.
    (folder.path / "proxy.pid").unlink(missing_ok=True)


def make_environment(
    environment: Mapping[str, str], folder: StateFolder, settings: values.Values
) -> dict[str, str]:
    """Return the hub's environment, which its proxy inherits: no settings of ours, no keys."""
    inherited = {
        name: value for name, value in environment.items() if not name.startswith(OWN_PREFIXES)
    }
    path = [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    return inherited | {
        "PATH": os.pathsep.join(path),
        values.VALUES_VARIABLE: str(folder.values_file),
        values.RUN_VARIABLE: settings.local_deployment.run,
    }


def make_banner(environment: Mapping[str, str], settings: values.Values) -> str:
    """Return the text that is printed when the hub is ready."""
    auth = settings.auth
    passwords = {
        "CAESARION_PASSWORD": auth.user_password,
        "CAESARION_ADMIN_PASSWORD": auth.admin_password,
    }
    user, admin = (
        f"as in {name}" if environment.get(name) or not password else password.get_secret_value()
        for name, password in passwords.items()
    )
    base_url = settings.hub.base_url.rstrip("/")
    return f"""
Caesarion is ready: http://127.0.0.1:{settings.local_deployment.port}{base_url}

  Log in      any user name, password {user}
  Administer  {" or ".join(auth.admin_users)}, password {admin}
  Model       {describe_model(settings.gateway)}
  Stop        Ctrl-C
"""


def describe_model(gateway: Gateway) -> str:
    """Return which model answers and from where, in the gateway's order of precedence."""
    if gateway.upstreams:
        names = (f"{each.name} ({urlsplit(each.base_url).hostname})" for each in gateway.upstreams)
        return f"{gateway.model}, upstreams {', '.join(names)}"
    if gateway.base_url:
        return f"{gateway.model} at {urlsplit(gateway.base_url).hostname}"
    if gateway.key_file:
        return f"{gateway.model} at OpenAI"
    return "the demo model; set OPENAI_API_KEY or OPENAI_BASE_URL for a real one"
