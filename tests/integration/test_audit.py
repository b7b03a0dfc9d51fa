"""`make audit`: real npm asks a registry that we are; pip-audit's answers are as it prints them."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import audit
from deploy.audit import Flaw, UnreachableError

ROOT = audit.ROOT


class Registry(http.server.BaseHTTPRequestHandler):
    """Answers the calls of `npm audit` about the package left, and refuses all others."""

    advisories: dict[str, Any] | None = None

    def do_POST(self) -> None:
        known = self.path == "/-/npm/v1/security/advisories/bulk"
        self._answer(self.advisories if known else None)

    def do_GET(self) -> None:
        versions = {one: {"name": "left", "version": one} for one in ("1.0.0", "1.0.1")}
        package = {"name": "left", "dist-tags": {"latest": "1.0.1"}, "versions": versions}
        self._answer(package if self.path == "/left" else None)

    def _answer(self, content: dict[str, Any] | None) -> None:
        body = json.dumps(content or {}).encode()
        self.send_response(405 if content is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
        monkeypatch.setenv("npm_config_fetch_retries", "0")
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def npm_lock(tmp_path: Path) -> str:
    package = {"name": "a", "version": "1.0.0", "dependencies": {"left": "1.0.0"}}
    locked = {"node_modules/left": {"version": "1.0.0", "integrity": "sha512-AA=="}}
    lock = {"name": "a", "lockfileVersion": 3, "packages": {"": package, **locked}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    return "package-lock.json"


@pytest.mark.usefixtures("registry")
def test_npm_names_a_flaw_of_a_locked_package(
    tmp_path: Path, npm_lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    advisory = {
        "id": 1,
        "url": "https://example.org/GHSA-1",
        "title": "It is wrong",
        "severity": "high",
        "vulnerable_versions": "<=1.0.0",
    }
    monkeypatch.setattr(Registry, "advisories", {"left": [advisory]})
    (flaw,) = audit.audit_npm(npm_lock, tmp_path)
    url = "https://example.org/GHSA-1"
    assert flaw == Flaw(npm_lock, "left 1.0.0", url, "fixed with left 1.0.1")


@pytest.mark.usefixtures("registry")
def test_npm_finds_nothing_where_there_is_nothing(
    tmp_path: Path, npm_lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "advisories", {})
    assert audit.audit_npm(npm_lock, tmp_path) == []


@pytest.mark.usefixtures("registry")
def test_a_registry_without_advisories_is_not_taken_for_good_news(
    tmp_path: Path, npm_lock: str
) -> None:
    with pytest.raises(UnreachableError, match=r"npm's registry cannot be asked .* It said: .*405"):
        audit.audit_npm(npm_lock, tmp_path)


def stand_in(folder: Path, printed: str) -> str:
    """Return a program that prints what pip-audit would."""
    program = folder / "pip-audit"
    program.write_text(f"#!/bin/sh\ncat <<'EOT'\n{printed}\nEOT\n")
    program.chmod(0o755)
    return str(program)


def test_pip_audit_names_flaw_and_remedy(tmp_path: Path) -> None:
    flaw = {"id": "PYSEC-1", "fix_versions": ["2.0", "3.0"], "aliases": [], "description": "x"}
    table = {"dependencies": [{"name": "left", "version": "1.0", "vulns": [flaw]}], "fixes": []}
    found = audit.audit_pip("lock", tmp_path, stand_in(tmp_path, json.dumps(table)))
    assert found == [Flaw("lock", "left 1.0", "PYSEC-1", "fixed in 2.0, 3.0")]


def test_what_pip_audit_skips_is_not_taken_for_good_news(tmp_path: Path) -> None:
    table = {"dependencies": [{"name": "left", "skip_reason": "Dependency not found on PyPI"}]}
    with pytest.raises(UnreachableError, match=r"PyPI cannot be asked .* not found on PyPI"):
        audit.audit_pip("lock", tmp_path, stand_in(tmp_path, json.dumps(table)))


def test_every_lock_of_the_repository_is_audited() -> None:
    ignored = {".venv", "node_modules", ".git"}
    files = [
        str(file.relative_to(ROOT))
        for name in ("*requirements*.txt", "package-lock.json")
        for file in ROOT.rglob(name)
        if not ignored & set(file.parts)
    ]
    assert sorted(files) == sorted([*audit.PIP_LOCKS, *audit.NPM_LOCKS])
