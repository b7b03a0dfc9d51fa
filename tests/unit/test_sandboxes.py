"""What a sandbox is: its options, its deadline, its environment."""

from datetime import UTC, datetime
from typing import Any

import pytest
from caesarion_hub import sandboxes
from caesarion_hub.sandboxes import SandboxError

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def made(**sandbox: Any) -> dict[str, Any]:
    return sandboxes.new_options({"profile": "small", "sandbox": sandbox}, NOW, 3600, 86_400)


def test_a_sandbox_without_wishes_ends_after_the_operators_time() -> None:
    assert sandboxes.new_options(None, NOW, 60, 100) == {
        "sandbox": {
            "created_at": "2026-11-30T12:00:00.000Z",
            "expires_at": "2026-11-30T12:01:00.000Z",
            "metadata": {},
            "env": {},
        }
    }


def test_a_sandbox_keeps_its_profile_and_names_its_own_deadline() -> None:
    options = made(timeout=86_400, metadata={"a": "b"})
    assert options["profile"] == "small"
    assert options["sandbox"]["expires_at"] == "2026-12-01T12:00:00.000Z"
    moved = sandboxes.prolonged(options, NOW, 5, 10)
    assert moved["sandbox"] == options["sandbox"] | {"expires_at": "2026-11-30T12:00:05.000Z"}


@pytest.mark.parametrize("timeout", [0, 86_401])
def test_no_deadline_is_further_away_than_the_operator_allows(timeout: int) -> None:
    with pytest.raises(SandboxError, match="timeout"):
        made(timeout=timeout)
    with pytest.raises(SandboxError, match="from 1 to 86400 seconds"):
        sandboxes.prolonged(made(), NOW, timeout, 86_400)


def test_a_sandbox_expires_at_its_deadline_and_one_without_a_deadline_at_once() -> None:
    options = made(timeout=1)
    assert not sandboxes.has_expired(options, NOW)
    assert sandboxes.has_expired(options, datetime(2026, 11, 30, 12, 0, 1, tzinfo=UTC))
    for broken in (None, {}, {"sandbox": None}, {"sandbox": {"expires_at": "soon"}}):
        assert sandboxes.has_expired(broken, NOW)


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "PYTHONPATH", "LD_PRELOAD", "JUPYTERHUB_API_TOKEN", "caesarion_x", "BASH_ENV"],
)
def test_the_environment_sets_nothing_that_configures_the_server(name: str) -> None:
    with pytest.raises(SandboxError, match=f"'{name}' belongs to the server"):
        made(env={name: "x"})


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_no_text_has_what_an_environment_cannot_hold(text: str) -> None:
    for asked in ({"env": {"A": text}}, {"metadata": {"A": text}}, {"metadata": {text: "a"}}):
        with pytest.raises(SandboxError, match="should have no NUL and no lone surrogate"):
            made(**asked)
    assert made(env={"A": "é\n\U0001f3db"})["sandbox"]["env"] == {"A": "é\n\U0001f3db"}


def test_only_a_sandbox_gets_an_environment_of_its_own() -> None:
    options = made(env={"TOWN": "Lisbon", "PATHS": "1"})
    assert sandboxes.environment("sandbox-aaaaaa", options) == {"TOWN": "Lisbon", "PATHS": "1"}
    for name, given in (("", options), ("mine", options), ("sandbox-aaaaaa", None)):
        assert sandboxes.environment(name, given) == {}


def test_metadata_and_environment_together_have_a_limit() -> None:
    with pytest.raises(SandboxError, match="more than 65,536 characters"):
        made(env={f"V{n}": "x" * 30_000 for n in range(3)})
