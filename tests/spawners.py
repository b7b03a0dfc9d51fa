"""Spawners of pods without a hub around them: what a test says about their user and values."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from caesarion_hub import overrides, spawner
from caesarion_hub.pods.spawner import PodSpawner
from traitlets.config import Config

from tests.values import make_cluster_values

HUB = SimpleNamespace(
    public_host="",
    url="http://caesarion-hub.hub:8081/hub/",
    base_url="/hub/",
    api_url="http://caesarion-hub.hub:8081/hub/api",
)


def make_spawner(user: str = "ada", **changes: Any) -> PodSpawner:
    """
    Return a spawner as the hub makes it, configured by values with ``changes`` on top.

    Needs a running loop and, from :func:`without_cluster` or from a test's own
    client, a configured Kubernetes client.
    """
    c = configured(**changes)
    db = SimpleNamespace(commit=lambda: None)
    owner = SimpleNamespace(name=user, id=1, url=f"/user/{user}/", escaped_name=user, db=db)
    made = PodSpawner(config=c, user=owner, hub=HUB, orm_spawner=None, db=db)
    made.api_token = f"the token of {user}"
    made._server = SimpleNamespace(base_url=f"/user/{user}/", url="http://127.0.0.1:1/user/x/")
    return made


def make_hub(**changes: Any) -> Any:
    """Return what a spawner class needs of the hub's application to keep servers warm."""
    c = configured(**changes)
    settings = {"spawner_class": PodSpawner, "config": c, "hub": HUB, "base_url": "/"}
    return SimpleNamespace(
        config=c,
        db=None,
        users=SimpleNamespace(settings=settings),
        sandboxes_enabled=make_cluster_values(**changes).has_sandboxes,
        log=logging.getLogger("hub"),
    )


def configured(**changes: Any) -> Config:
    """Return the hub's configuration of spawners."""
    values = make_cluster_values(**changes)
    c = Config()
    spawner.configure(c, values)
    overrides.configure(c, values)
    return c


@pytest.fixture
def without_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let spawners be made where no cluster is: what they are told is looked at, nothing runs."""
    client = SimpleNamespace()
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    monkeypatch.setattr("kubespawner.spawner.shared_client", lambda _: client)
    monkeypatch.setattr("caesarion_hub.pods.objects.shared_client", lambda _: client)
