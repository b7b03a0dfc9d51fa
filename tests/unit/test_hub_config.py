"""What JupyterHub is told: each part's configuration, compared whole."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from caesarion_hub import auth, hub, services, spawner
from caesarion_hub.names import NETWORK_VARIABLES
from caesarion_hub.spawner import HomeSpawner, slug
from hypothesis import given
from hypothesis import strategies as st
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from tests.values import ADMIN_PASSWORD, USER_PASSWORD, make_values


def told(part: Any, **changes: Any) -> dict[str, dict[str, Any]]:
    """Return what ``part`` sets, by class; lists it adds to as lists."""
    c = Config()
    part.configure(c, make_values(**changes))
    return {
        section: {
            name: value.get_value([]) if isinstance(value, LazyConfigValue) else value
            for name, value in traits.items()
        }
        for section, traits in c.items()
    }


def test_anybody_logs_in_with_the_users_password_and_administrators_with_theirs() -> None:
    assert told(auth, auth={"adminUsers": ["admin", "ada"]}) == {
        "JupyterHub": {
            "authenticator_class": "shared-password",
            "load_roles": [{"name": "user", "scopes": ["self", "access:services!service=gateway"]}],
        },
        "Authenticator": {"allow_all": True, "admin_users": {"admin", "ada"}},
        "SharedPasswordAuthenticator": {
            "user_password": USER_PASSWORD,
            "admin_password": ADMIN_PASSWORD,
        },
    }


def test_everything_listens_on_the_loopback_interface_and_lies_in_the_folder() -> None:
    assert told(hub) == {
        "JupyterHub": {
            "bind_url": "http://127.0.0.1:8000",
            "hub_bind_url": "http://127.0.0.1:8081",
            "db_url": "sqlite:////state/jupyterhub.sqlite",
            "upgrade_db": True,
            "cookie_secret_file": "/state/cookie_secret",
        },
        "ConfigurableHTTPProxy": {
            "api_url": "http://127.0.0.1:8001",
            "command": ["node", "proxy"],
            "pid_file": "/state/proxy.pid",
            "log_level": "warn",
        },
    }


@pytest.fixture
def no_network_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NETWORK_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_network_settings")
def test_the_services_get_their_rights_and_an_environment_of_their_own() -> None:
    cull = {"timeout": 5, "every": 1, "maxAge": 9}
    assert told(services, cull=cull) == {
        "JupyterHub": {
            "services": [
                {
                    "name": "gateway",
                    "url": "http://127.0.0.1:8082",
                    "command": [sys.executable, "-m", "caesarion_hub.gateway"],
                    "environment": {
                        "CAESARION_RUN": "abc",
                        "CAESARION_GATEWAY_CONFIG": "/state/gateway.yaml",
                    },
                },
                {
                    "name": "idle-culler",
                    "command": [
                        *(sys.executable, "-m", "jupyterhub_idle_culler"),
                        *("--timeout=5", "--cull-every=1", "--max-age=9"),
                    ],
                    "environment": {"CAESARION_RUN": "abc"},
                },
            ],
            "load_roles": [
                {
                    "name": "idle-culler",
                    "scopes": [
                        "list:users",
                        "read:users:activity",
                        "read:servers",
                        "delete:servers",
                    ],
                    "services": ["idle-culler"],
                }
            ],
        }
    }


def test_without_culling_there_is_neither_a_culler_nor_its_role() -> None:
    made = told(services, cull={"enabled": False})["JupyterHub"]
    assert [service["name"] for service in made["services"]] == ["gateway"]
    assert "load_roles" not in made


def test_the_gateway_learns_where_its_settings_lie_and_how_the_outside_is_reached() -> None:
    inherited = {"HTTPS_PROXY": "http://proxy", "OPENAI_API_KEY": "sk-1", "PATH": "/bin"}
    assert services.gateway(make_values(), inherited)["environment"] == {
        "CAESARION_RUN": "abc",
        "CAESARION_GATEWAY_CONFIG": "/state/gateway.yaml",
        "HTTPS_PROXY": "http://proxy",
    }


def test_a_users_server_knows_the_gateway_and_may_ask_it() -> None:
    changes = {"gateway": {"model": "m"}, "singleuser": {"extraEnv": {"CAESARION_X_Y": "1"}}}
    assert told(spawner, **changes) == {
        "JupyterHub": {"spawner_class": HomeSpawner},
        "HomeSpawner": {"folder": "/state"},
        "Spawner": {
            "cmd": [sys.executable, "-m", "jupyterhub.singleuser"],
            "args": ["--allow-root"] if os.geteuid() == 0 else [],
            "notebook_dir": "~",
            "default_url": "/lab",
            "start_timeout": 60,
            "environment": {
                "CAESARION_RUN": "abc",
                "CAESARION_MODEL_BASE_URL": "http://127.0.0.1:8082/services/gateway/v1",
                "CAESARION_MODEL_NAME": "m",
                "CAESARION_AGENT_APPROVAL": "auto",
                "CAESARION_AGENT_MAX_APPROVAL": "auto",
                "CAESARION_X_Y": "1",
            },
            "server_token_scopes": [
                "users:activity!user",
                "access:servers!server",
                "access:services!service=gateway",
            ],
        },
    }


def test_a_server_inherits_how_the_outside_is_reached_and_no_key() -> None:
    kept = HomeSpawner(folder="/state").env_keep
    assert {"PATH", "HTTPS_PROXY", "SSL_CERT_FILE"} <= set(kept)
    assert not [name for name in kept if name.startswith(("OPENAI", "CAESARION"))]


def test_the_process_of_an_earlier_hub_is_forgotten() -> None:
    made = HomeSpawner(folder="/state")
    made.load_state({"pid": os.getpid()})
    assert made.pid == 0


@pytest.mark.parametrize("name", ["ada", "ada.lovelace", "user-2", "a_b", "7"])
def test_a_simple_name_is_its_folder(name: str) -> None:
    assert slug(name) == name


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Ada L", "ada-l---7d981b26171c885a"),
        ("a---b", "a-b---1acd27f89b4f44dd"),
        ("..", "user---5ec1f7e700f37c3d"),
        ("日本", "user---cf2abf0c5be326cb"),
    ],
)
def test_another_name_is_marked_by_its_digest(name: str, folder: str) -> None:
    assert slug(name) == folder


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_folder_belongs_to_one_name_and_lies_among_the_homes(one: str, other: str) -> None:
    homes = Path("/state/homes")
    assert Path(os.path.normpath(homes / slug(one))).parent == homes
    assert len(slug(one)) <= 44
    assert (slug(one) == slug(other)) == (one == other)
    # Names that look like another's folder are the likeliest to meet it.
    assert slug(slug(one)) != slug(one) or slug(one) == one
