"""Every trait of JupyterHub's and KubeSpawner's spawners is honoured by ours or refused."""

import ast
import inspect
import textwrap
from typing import Any

import pytest
from caesarion_hub import overrides
from caesarion_hub.local_spawner import HomeSpawner
from caesarion_hub.pods.objects import PodObjects
from caesarion_hub.pods.spawner import PodSpawner
from caesarion_hub.values import ValuesError
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner, Spawner
from kubespawner import KubeSpawner
from traitlets.config import Config

from tests.values import make_cluster_values, make_values

Methods = dict[str, ast.AST]


def methods_of(*classes: type) -> Methods:
    """Return the methods of classes, those of earlier classes first, as syntax trees."""
    found: Methods = {}
    for each in classes:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.setdefault(node.name, node)
    return found


def names_in(tree: ast.AST) -> set[str]:
    """Return the attributes that a method uses: of self and super(), or by getattr."""
    owners = ("self", "super()", "self.__class__", "cls", "spawner")
    dotted = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in owners
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [call.args[1] for call in calls if ast.unparse(call.func) == "getattr"]
    return dotted | {str(name.value) for name in names if isinstance(name, ast.Constant)}


def replaced(ours: Methods, theirs: Methods, base: Methods) -> set[str]:
    """Return the methods of ``theirs`` that never run: replaced, or called by such alone."""
    both = ours.keys() & theirs.keys()
    dead = {name for name in both if f"super().{name}(" not in ast.unparse(ours[name])}
    used_elsewhere = set().union(*map(names_in, [*ours.values(), *base.values()])) | base.keys()
    while True:
        alive = [tree for name, tree in theirs.items() if name not in dead]
        reachable = used_elsewhere.union(*map(names_in, alive))
        called_by_the_dead = set().union(*(names_in(theirs[name]) for name in dead))
        more = (theirs.keys() & called_by_the_dead) - reachable - dead
        if not more:
            return dead
        dead |= more


def ignored_traits(ours: tuple[Any, ...], theirs: tuple[Any, ...], base: Any) -> set[str]:
    """Return the traits that only methods of ``theirs`` read which ``ours`` replaces."""
    own, upstream, common = methods_of(*ours), methods_of(*theirs), methods_of(base)
    dead = replaced(own, upstream, common)
    read_by_the_dead = set().union(*(names_in(upstream[name]) for name in dead))
    read_by_us = set().union(*map(names_in, own.values()))
    return (read_by_the_dead & set(theirs[0].class_trait_names(config=True))) - read_by_us


OF_SERVICES = {"extra_annotations", "extra_labels"}
"""Also read for a pod's Service and Secret, which ``services_enabled`` and the like refuse."""

PODS = (PodSpawner, PodObjects), (KubeSpawner,), Spawner
LOCAL = (HomeSpawner,), (SimpleLocalProcessSpawner, LocalProcessSpawner), Spawner


def test_the_pods_spawner_ignores_only_traits_that_it_refuses() -> None:
    ignored = ignored_traits(*PODS)
    assert ignored >= {"services_enabled", "enable_user_namespaces"}, "the analysis sees nothing"
    assert ignored - PodSpawner.unsupported_traits.keys() == OF_SERVICES


def test_the_local_spawner_ignores_only_traits_that_it_refuses() -> None:
    ignored = ignored_traits(*LOCAL)
    assert "home_dir_template" in ignored, "the analysis sees nothing"
    assert ignored - HomeSpawner.unsupported_traits.keys() == set()


@pytest.mark.parametrize("spawner", [PodSpawner, HomeSpawner])
def test_refused_traits_exist_upstream(spawner: Any) -> None:
    theirs = spawner.mro()[1].class_trait_names(config=True)
    known = {*theirs, *KubeSpawner.class_trait_names(config=True)}
    assert spawner.unsupported_traits.keys() - known == set()


def refused(values: Any, spawner: type) -> list[str]:
    c = Config()
    c.JupyterHub.spawner_class = spawner
    with pytest.raises(ValuesError) as caught:
        overrides.configure(c, values)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("section", ["KubeSpawner", "PodSpawner"])
def test_a_trait_without_effect_keeps_the_hub_from_starting(section: str) -> None:
    config = {section: {"services_enabled": True}, "JupyterHub": {"internal_ssl": True}}
    assert refused(make_cluster_values(hub={"config": config}), PodSpawner) == [
        "hub.config.JupyterHub.internal_ssl is not supported. "
        "Traffic inside the cluster is unencrypted; a service mesh can encrypt it.",
        f"hub.config.{section}.services_enabled is not supported. The hub's role allows neither "
        "Services nor Secrets for users' servers; the hub connects to the pod's address.",
    ]


def test_on_one_machine_the_local_spawners_traits_are_refused() -> None:
    config = {
        "LocalProcessSpawner": {"interrupt_timeout": 3},
        "KubeSpawner": {"services_enabled": True},
    }
    assert refused(make_values(hub={"config": config}), HomeSpawner) == [
        "hub.config.LocalProcessSpawner.interrupt_timeout is not supported. "
        "Servers are stopped with SIGTERM; set term_timeout."
    ]


def test_a_spawner_of_the_operators_own_has_all_its_traits() -> None:
    config = {
        "JupyterHub": {"spawner_class": "kubespawner.KubeSpawner"},
        "KubeSpawner": {"services_enabled": True},
    }
    c = Config()
    c.JupyterHub.spawner_class = PodSpawner
    overrides.configure(c, make_cluster_values(hub={"config": config}))
    assert c.KubeSpawner.services_enabled is True
