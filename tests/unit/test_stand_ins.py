"""Modules that are stood in for until they are needed, and are whole when they are."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from caesarion import singleuser
from caesarion.singleuser import StandIn, standing_in

ROOT = Path(__file__).parents[2]


def run(code: str) -> str:
    """Run ``code`` in a Python that has imported nothing, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "extension")}, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_asked_of_a_stand_in_comes_from_the_real_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in = StandIn("colorsys", known=1)
    monkeypatch.setitem(sys.modules, "colorsys", stand_in)
    import colorsys

    assert colorsys is stand_in
    assert stand_in.known == 1
    assert colorsys.rgb_to_hsv(1, 0, 0) == (0, 1, 1)
    import colorsys as again

    assert again.__spec__ is not None
    assert again is not stand_in


def test_the_modules_below_a_stand_in_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wsgiref", "wsgiref.util"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "wsgiref", StandIn("wsgiref", package=True))
    from wsgiref import util

    assert util.guess_scheme({"HTTPS": "on"}) == "https"


def test_what_the_real_module_has_not_the_stand_in_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "colorsys", StandIn("colorsys"))
    import colorsys

    with pytest.raises(AttributeError, match="module 'colorsys' has no attribute 'paint'"):
        colorsys.paint  # type: ignore[attr-defined] # noqa: B018


def test_nothing_is_stood_in_for_afterwards_or_that_was_there_before() -> None:
    before = dict(sys.modules)
    with standing_in():
        assert {name: sys.modules[name] for name in before} == before
    assert not [name for name, module in sys.modules.items() if isinstance(module, StandIn)]


def test_scopes_know_the_hubs_database_when_they_are_asked_about_it() -> None:
    assert run(
        "import sys\n"
        "from caesarion.singleuser import standing_in\n"
        "with standing_in():\n"
        "    import jupyterhub.singleuser\n"
        "print('sqlalchemy' in sys.modules)\n"
        "from jupyterhub import scopes\n"
        "print(scopes.expand_scopes(['self'], owner=None), scopes.orm.User.__tablename__)\n"
        "import jupyterhub.orm, jupyterhub.roles, sqlalchemy\n"
        "print(scopes.orm.User is jupyterhub.orm.User)\n"
        "print(scopes.roles.create_role is jupyterhub.roles.create_role)\n"
        "print(scopes.sa.inspect is sqlalchemy.inspect)\n"
    ) == "False\nfrozenset() users\nTrue\nTrue\nTrue\n"  # fmt: skip


def test_a_grammar_is_made_when_an_address_is_checked_by_it(tmp_path: Path) -> None:
    (tmp_path / "rfc3987_syntax.py").write_text(
        "print('made')\ndef is_valid_syntax(term, value): return value == 'right'\n"
    )
    assert run(
        f"import sys; sys.path.append({str(tmp_path)!r})\n"
        "from caesarion.singleuser import standing_in\n"
        "with standing_in():\n"
        "    import jsonschema\n"
        "print('imported')\n"
        "checker = jsonschema.FormatChecker()\n"
        "print(checker.conforms('right', 'iri'), checker.conforms('wrong', 'iri'))\n"
    ) == "imported\nmade\nTrue False\n"  # fmt: skip


def test_without_the_grammar_nothing_is_checked_by_it() -> None:
    assert run(
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: name != 'rfc3987_syntax' and found(name)\n"
        "from caesarion.singleuser import standing_in\n"
        "with standing_in():\n"
        "    print('rfc3987_syntax' in sys.modules)\n"
    ) == "False\n"  # fmt: skip


def test_another_jupyterhub_than_the_one_that_was_read_gets_all_that_it_imports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {"jupyterhub.orm", "sqlalchemy", "requests"} <= names()
    monkeypatch.setattr(singleuser, "JUPYTERHUB", "6.2.0")
    assert names() - {"rfc3987_syntax"} == {"httpx._main", "requests"}


def test_upstream_still_imports_all_that_stand_ins_take_the_place_of() -> None:
    """Where this fails, the stand-in of the module that is named can go."""
    expected = names() - {"rfc3987_syntax"}
    imported = run(
        "import sys, jupyterhub.singleuser, jupyterlab.labapp\n"
        f"print(*(name for name in {sorted(expected)} if name in sys.modules))\n"
    )
    assert set(imported.split()) == expected


def names() -> set[str]:
    return {stand_in.__name__ for stand_in in singleuser._stand_ins()}


def test_the_jupyterhub_that_was_read_is_the_one_that_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra in ("hub", "singleuser"):
        wanted = project["optional-dependencies"][extra]
        assert f"jupyterhub=={singleuser.JUPYTERHUB}" in wanted
