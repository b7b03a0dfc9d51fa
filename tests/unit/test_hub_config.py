"""What JupyterHub is told: each part's configuration, compared whole."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from caesarion_hub import auth, hub, overrides, services, spawner
from caesarion_hub.local_spawner import NETWORK_VARIABLES, HomeSpawner, slug
from caesarion_hub.pods.configuration import TEMPLATES
from caesarion_hub.pods.spawner import PodSpawner
from caesarion_hub.values import Values
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub.orm import new_session_factory
from sqlalchemy import text
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from tests.hub import REPOSITORY
from tests.values import (
    ADMIN_PASSWORD,
    GATEWAY_TOKEN,
    USER_PASSWORD,
    make_cluster_values,
    make_values,
)

LIMITS = {
    "upgrade_db": True,
    "allow_named_servers": True,  # for sandboxes; the hub refuses others
    "named_server_limit_per_user": 0,
    "concurrent_spawn_limit": 64,
    "active_server_limit": 0,
    "activity_resolution": 120,
    "template_vars": {"other_named_servers": False},
}

SANDBOXES = {
    "other_named_servers": False,
    "sandboxes_enabled": True,
    "sandboxes_per_user": 5,
    "sandbox_timeout": 3600,
    "sandbox_max_timeout": 86400,
    "sandbox_profiles": [],
}

FULL = 2
"""SQLite's number for "each commit is on the disk"."""

SQLITE = {"connect_args": {"check_same_thread": False, "factory": hub.WalConnection}}

GATEWAY_ROLE = {
    "name": "gateway",
    "scopes": ["list:users", "read:groups:name", "read:users:activity", "read:servers"],
    "services": ["gateway"],
}


def told(part: Any, **changes: Any) -> dict[str, dict[str, Any]]:
    """Return what ``part`` sets on one machine, by class; lists it adds to as lists."""
    return set_by(part, make_values(**changes))


def told_in_a_cluster(part: Any, **changes: Any) -> dict[str, dict[str, Any]]:
    """Return what ``part`` sets in a cluster."""
    return set_by(part, make_cluster_values(**changes))


def set_by(part: Any, values: Values) -> dict[str, dict[str, Any]]:
    c = Config()
    part.configure(c, values)
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
            "load_roles": [
                {
                    "name": "user",
                    "scopes": [
                        "self",
                        "access:services!service=gateway",
                        "access:services!service=api",
                    ],
                }
            ],
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
            **LIMITS,
            "bind_url": "http://127.0.0.1:8000/",
            "hub_bind_url": "http://127.0.0.1:8081",
            "db_url": "sqlite:////state/jupyterhub.sqlite",
            "db_kwargs": SQLITE,
            "cookie_secret_file": "/state/cookie_secret",
        },
        "CaesarionHub": SANDBOXES,
        "ConfigurableHTTPProxy": {
            "api_url": "http://127.0.0.1:8001",
            "command": ["node", "proxy"],
            "pid_file": "/state/proxy.pid",
            "log_level": "warn",
        },
    }


def test_a_database_in_a_file_is_written_ahead(tmp_path: Path) -> None:
    kwargs = told(hub)["JupyterHub"]["db_kwargs"]
    make_session = new_session_factory(f"sqlite:///{tmp_path}/hub.sqlite", **kwargs)
    with make_session() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert session.execute(text("PRAGMA synchronous")).scalar() == FULL
        session.get_bind().dispose()


def test_a_database_elsewhere_that_is_named_past_our_values_is_left_alone() -> None:
    elsewhere = {"JupyterHub": {"db_url": "mysql+pymysql://db/hub"}}
    assert "db_kwargs" not in told(hub, hub={"config": elsewhere})["JupyterHub"]


def test_in_a_cluster_the_proxy_is_elsewhere_and_servers_outlive_the_hub() -> None:
    assert told_in_a_cluster(hub) == {
        "JupyterHub": {
            **LIMITS,
            "bind_url": "http://:8000/",
            "hub_bind_url": "http://0.0.0.0:8081",
            "hub_connect_url": "http://caesarion-hub.hub:8081",
            "db_url": "sqlite:////srv/jupyterhub/jupyterhub.sqlite",
            "db_kwargs": SQLITE,
            "init_spawners_timeout": 1,
            "cleanup_servers": False,
            "cleanup_proxy": False,
            "last_activity_interval": 30,
            "tornado_settings": {"slow_spawn_timeout": 0},
            "proxy_class": "caesarion_hub.pods.orphan_reaper.OrphanReapingProxy",
        },
        "CaesarionHub": SANDBOXES,
        "OrphanReapingProxy": {
            "namespace": "people",
            "release": "caesarion",
            "spare_warm": False,
        },
        "ConfigurableHTTPProxy": {
            "should_start": False,
            "api_url": "http://caesarion-proxy-api:8001",
        },
    }


@pytest.mark.parametrize(
    ("given", "cookie"),
    [
        ({}, "caesarion-release=blue-1; Path=/; HttpOnly; SameSite=Lax"),
        (
            {"subdomainHost": "https://hub.example.org:8443", "baseUrl": "/lab/"},
            "caesarion-release=blue-1; Path=/lab/; HttpOnly; SameSite=Lax; "
            "Domain=hub.example.org; Secure",
        ),
    ],
    ids=["one host", "users' hosts"],
)
def test_a_sticky_cookie_reaches_every_host_of_the_hub(given: dict[str, str], cookie: str) -> None:
    made = told_in_a_cluster(hub, hub={"stickyCookie": "blue-1", **given})["JupyterHub"]
    assert made["tornado_settings"] == {"slow_spawn_timeout": 0, "headers": {"Set-Cookie": cookie}}


@pytest.mark.parametrize("place", [told, told_in_a_cluster])
def test_the_operator_says_where_the_hub_remembers_and_how_much_it_takes_on(place: Any) -> None:
    limits = {
        "allowNamedServers": True,
        "namedServerLimitPerUser": 3,
        "concurrentSpawnLimit": 5,
        "activeServerLimit": 7,
        "baseUrl": "/lab/",
    }
    made = place(hub, hub={**limits, "db": {"url": "postgresql+psycopg2://db/hub"}})["JupyterHub"]
    assert made["db_url"] == "postgresql+psycopg2://db/hub"
    assert "db_kwargs" not in made
    assert made["bind_url"].endswith(":8000/lab/")
    assert made["allow_named_servers"] is True
    assert made["named_server_limit_per_user"] == 3
    assert made["concurrent_spawn_limit"] == 5
    assert made["active_server_limit"] == 7


def test_another_authenticator_says_itself_who_may_log_in() -> None:
    config = {"JupyterHub": {"authenticator_class": "github"}}
    made = told_in_a_cluster(auth, auth={"adminUsers": ["ada"]}, hub={"config": config})
    assert made["Authenticator"] == {"admin_users": {"ada"}}
    assert "SharedPasswordAuthenticator" not in made


def test_the_operators_traits_lie_on_top_of_ours() -> None:
    c = Config()
    config = {
        "JupyterHub": {"authenticator_class": "github", "concurrent_spawn_limit": 9},
        "GitHubOAuthenticator": {"client_id": "abc"},
        "KubeSpawner": {"working_dir": "/work"},
    }
    values = make_cluster_values(hub={"config": config})
    for part in (auth, hub, services, spawner, overrides):
        part.configure(c, values)
    assert c.JupyterHub.authenticator_class == "github"
    assert c.JupyterHub.concurrent_spawn_limit == 9
    assert c.GitHubOAuthenticator.client_id == "abc"
    assert c.KubeSpawner.working_dir == "/work"


@pytest.fixture
def no_network_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NETWORK_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_network_settings")
def test_the_services_get_their_rights_and_an_environment_of_their_own() -> None:
    cull = {"timeout": 5, "every": 1, "maxAge": 9}
    assert told(services, cull=cull) == {
        "JupyterHub": {
            "template_paths": [str(services.TEMPLATES)],
            "services": [
                {
                    **services.GATEWAY,
                    "url": "http://127.0.0.1:8082",
                    "command": [sys.executable, "-m", "caesarion_hub.gateway"],
                    "environment": {
                        "CAESARION_RUN": "abc",
                        "CAESARION_GATEWAY_CONFIG": "/state/gateway.yaml",
                    },
                },
                {
                    "name": "api",
                    "display": False,
                    "url": "http://127.0.0.1:8083",
                    "command": [sys.executable, "-m", "caesarion_hub.api"],
                    "environment": {
                        "CAESARION_RUN": "abc",
                        "CAESARION_API_PROXY_URL": "http://127.0.0.1:8000",
                        "CAESARION_API_ORIGINS": "",
                        "CAESARION_API_PROFILE": "",
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
                GATEWAY_ROLE,
                {
                    "name": "idle-culler",
                    "scopes": [
                        "list:users",
                        "read:users:activity",
                        "read:servers",
                        "delete:servers",
                    ],
                    "services": ["idle-culler"],
                },
            ],
        }
    }


def test_in_a_cluster_the_gateway_is_elsewhere_and_the_operator_adds_services_and_roles() -> None:
    extra = {
        "services": {
            "grader": {
                "url": "http://grader:80",
                "apiToken": "the grader's token",
                "oauth_no_confirm": True,
            },
            "clock": {"command": ["clock", "--often"]},
        },
        "loadRoles": {"graders": {"scopes": ["list:users"], "services": ["grader"]}},
    }
    made = told_in_a_cluster(services, hub=extra, cull={"users": True, "timeout": 5, "every": 1})
    api = made["JupyterHub"]["services"].pop(1)
    assert len(api.pop("api_token")) == 64
    assert api == {"name": "api", "display": False, "url": "http://caesarion-api.hub", "timeout": 1}
    assert made["JupyterHub"] == {
        "services": [
            {
                **services.GATEWAY,
                "url": "http://caesarion-gateway.hub",
                "api_token": GATEWAY_TOKEN,
                "timeout": 1,
            },
            {
                "name": "idle-culler",
                "command": [
                    *(sys.executable, "-m", "jupyterhub_idle_culler"),
                    *("--timeout=5", "--cull-every=1", "--max-age=0", "--cull-users"),
                ],
                "environment": {},
            },
            {
                "name": "grader",
                "url": "http://grader:80",
                "api_token": "the grader's token",
                "oauth_no_confirm": True,
            },
            {"name": "clock", "command": ["clock", "--often"]},
        ],
        "template_paths": [str(services.TEMPLATES)],
        "load_roles": [
            GATEWAY_ROLE,
            {
                "name": "idle-culler",
                "scopes": [
                    *("list:users", "read:users:activity", "read:servers", "delete:servers"),
                    "admin:users",
                ],
                "services": ["idle-culler"],
            },
            {"name": "graders", "scopes": ["list:users"], "services": ["grader"]},
        ],
    }


def test_prometheus_has_a_token_that_reads_metrics_if_the_chart_has_made_one() -> None:
    c = Config()
    services.configure(c, make_cluster_values(cluster={"metricsToken": "m" * 64}))
    own = {"name": "metrics", "display": False, "api_token": "m" * 64}
    assert own in c.JupyterHub.services.get_value([])
    role = {"name": "metrics", "scopes": ["read:metrics"], "services": ["metrics"]}
    assert role in c.JupyterHub.load_roles.get_value([])
    c = Config()
    services.configure(c, make_cluster_values())
    names = [one["name"] for one in c.JupyterHub.services.get_value([])]
    assert "metrics" not in names


def test_the_hubs_menu_shows_the_gateway_which_learns_who_may_administer() -> None:
    assert services.GATEWAY == {
        "name": "gateway",
        "display": True,
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": ["access:services!service=gateway", "admin-ui"],
    }


def test_in_a_cluster_the_menu_and_the_pods_have_pages_of_their_own() -> None:
    c = Config()
    for part in (services, spawner):
        part.configure(c, make_cluster_values())
    assert c.JupyterHub.template_paths.get_value(["JupyterHub's"]) == [
        *(str(TEMPLATES), str(services.TEMPLATES), "JupyterHub's"),
    ]


def test_without_culling_there_is_neither_a_culler_nor_its_role() -> None:
    made = told(services, cull={"enabled": False}, api={"enabled": False})["JupyterHub"]
    assert [service["name"] for service in made["services"]] == ["gateway"]
    assert made["load_roles"] == [GATEWAY_ROLE]


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
        "HomeSpawner": {"folder": "/state", "warm_replicas": 0},
        "Spawner": {
            "cmd": [sys.executable, "-s", "-P", "-m", "caesarion.singleuser"],
            "args": ["--allow-root"] if os.geteuid() == 0 else [],
            "notebook_dir": "~",
            "default_url": "/lab",
            "disable_user_config": True,
            "start_timeout": 60,
            "consecutive_failure_limit": 0,
            "environment": {
                "CAESARION_RUN": "abc",
                "CAESARION_MODEL_BASE_URL": "http://127.0.0.1:8082/services/gateway/v1",
                "CAESARION_MODEL_NAME": "m",
                "CAESARION_AGENT_APPROVAL": "auto",
                "CAESARION_AGENT_MAX_APPROVAL": "auto",
                "CAESARION_AGENT_PROGRAM_APPROVALS": "false",
                "CAESARION_AGENT_BACKGROUND_MAX_MINUTES": "120",
                "CAESARION_X_Y": "1",
            },
            "server_token_scopes": [
                "users:activity!user",
                "access:servers!server",
                "access:services!service=gateway",
            ],
        },
    }


@pytest.mark.parametrize(
    ("cull", "interval"),
    [
        ({"timeout": 900}, None),
        ({"timeout": 45}, "15"),
        ({"timeout": 2}, "1"),
        ({"timeout": 45, "enabled": False}, None),
    ],
)
def test_a_server_reports_its_activity_several_times_within_the_cullers_timeout(
    cull: dict[str, Any], interval: str | None
) -> None:
    environment = told(spawner, cull=cull)["Spawner"]["environment"]
    assert environment.get("JUPYTERHUB_ACTIVITY_INTERVAL") == interval


def test_activity_is_written_several_times_within_the_cullers_timeout() -> None:
    assert told(hub, cull={"timeout": 90})["JupyterHub"]["activity_resolution"] == 30


def test_in_a_cluster_a_users_server_is_a_pod_on_the_operators_terms() -> None:
    made = told_in_a_cluster(spawner, singleuser={"startTimeout": 300, "cpu": {"startLimit": 4}})
    pods = made.pop("KubeSpawner")
    assert made == {
        "JupyterHub": {"spawner_class": PodSpawner, "template_paths": [str(TEMPLATES)]},
        "PodSpawner": {
            "cpu_start_limit": 4.0,
            "pod_security": "restricted",
            "warm_replicas": 0,
            "warm_profile": "",
        },
        "Spawner": {
            "cmd": ["caesarion-singleuser"],
            "notebook_dir": "~",
            "default_url": "/lab",
            "disable_user_config": True,
            "start_timeout": 300,
            "consecutive_failure_limit": 0,
            "environment": {
                "CAESARION_MODEL_BASE_URL": "http://caesarion-gateway.hub/services/gateway/v1",
                "CAESARION_MODEL_NAME": "gpt-4.1",
                "CAESARION_AGENT_APPROVAL": "auto",
                "CAESARION_AGENT_MAX_APPROVAL": "auto",
                "CAESARION_AGENT_PROGRAM_APPROVALS": "false",
                "CAESARION_AGENT_BACKGROUND_MAX_MINUTES": "120",
                "HOME": "/home/jovyan",
                "JUPYTER_RUNTIME_DIR": "/tmp/jupyter",
                "CAESARION_UPLOADS_FOLDER": "/uploaded_files",
            },
            "server_token_scopes": [
                "users:activity!user",
                "access:servers!server",
                "access:services!service=gateway",
            ],
        },
    }
    # What the rest makes of a pod is compared whole in test_spawner.py.
    assert pods["namespace"] == "people"
    assert pods["delete_pvc"] is True
    assert pods["delete_grace_period"] == 10
    assert pods["k8s_api_request_retry_timeout"] == 300


def test_one_machine_does_without_kubernetes() -> None:
    program = (
        "import sys; from traitlets.config import Config; from tests.values import make_values; "
        "from caesarion_hub import auth, hub, overrides, services, spawner; "
        "c = Config(); [part.configure(c, make_values()) "
        "for part in (auth, hub, services, spawner, overrides)]; "
        "print({'kubespawner', 'kubernetes_asyncio'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_server_inherits_how_the_outside_is_reached_and_no_key() -> None:
    kept = HomeSpawner(folder="/state").env_keep
    assert {"PATH", "HTTPS_PROXY", "SSL_CERT_FILE"} <= set(kept)
    assert not [name for name in kept if name.startswith(("OPENAI", "CAESARION"))]


def test_a_server_that_waits_is_told_what_is_the_same_for_all_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    c = Config()
    spawner.configure(c, make_values(singleuser={"extraEnv": {"MINE": "1"}}))
    told = HomeSpawner(config=c).environment_of_all()
    assert told == {
        **{name: os.environ[name] for name in HomeSpawner().env_keep if name in os.environ},
        **c.Spawner.environment,
    }
    assert (told["HTTPS_PROXY"], told["MINE"], told["CAESARION_RUN"]) == (
        "http://proxy",
        "1",
        "abc",
    )


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
