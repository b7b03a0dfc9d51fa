"""The entry points of installed packages: looked through once for all who ask."""

import importlib
import warnings
from importlib import metadata
from pathlib import Path
from unittest import mock

import pytest
from caesarion import entry_points
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyterlab_server.translation_utils import get_language_pack, get_language_packs

with warnings.catch_warnings():  # jupyter_lsp 2.3 uses what traitlets no longer wants.
    warnings.simplefilter("ignore", DeprecationWarning)
    lsp = importlib.import_module("jupyter_lsp.manager")

PROVISIONERS = "jupyter_client.kernel_provisioners"


@pytest.fixture(autouse=True)
def another_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody have looked through these packages."""
    monkeypatch.syspath_prepend(tmp_path)
    entry_points.answer_others()


def test_those_who_ask_share_one_look_and_are_told_what_they_would_have_found() -> None:
    with mock.patch.object(metadata, "entry_points", wraps=metadata.entry_points) as read:
        provisioners = KernelProvisionerFactory._get_all_provisioners()
        servers = lsp.entry_points(group=lsp.EP_SPEC_V1)
        assert "de" not in get_language_packs()[0]
        read.assert_called_once_with()
    assert list(provisioners) == list(metadata.entry_points(group=PROVISIONERS))
    assert list(servers) == list(metadata.entry_points(group=lsp.EP_SPEC_V1))
    [usual] = entry_points.installed(PROVISIONERS, name="local-provisioner")
    assert usual.value == "jupyter_client.provisioning:LocalProvisioner"


def test_packages_are_looked_through_again_once_one_is_installed(tmp_path: Path) -> None:
    assert "de" not in get_language_packs()[0]
    package = tmp_path / "german-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: german\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[jupyterlab.languagepack]\nde = german\n")
    (tmp_path / "german.py").write_text("")
    assert "de" in get_language_packs()[0]


def test_a_server_that_waits_has_looked_through_the_packages_before_its_first_page() -> None:
    entry_points.read_ahead()
    with mock.patch.object(metadata, "entry_points", side_effect=AssertionError):
        assert get_language_pack("en") == ({}, "")
        assert list(get_language_packs()[0]) == ["en"]
