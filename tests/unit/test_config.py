"""Settings come from the environment by one rule, and a wrong one is a sentence."""

import pytest
from caesarion.config import (
    CaesarionAgent,
    CaesarionKernel,
    CaesarionModel,
    CaesarionRuns,
    CaesarionUploads,
    CaesarionWeather,
    Settings,
)
from caesarion.errors import SettingError
from traitlets import Float, Integer
from traitlets.config import Config


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAESARION_KERNEL_TIME_LIMIT", "CAESARION_AGENT_MAX_ROUNDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)


def test_a_variable_is_named_after_class_and_trait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESARION_KERNEL_TIME_LIMIT", "7.5")
    assert CaesarionKernel.variable("time_limit") == "CAESARION_KERNEL_TIME_LIMIT"
    assert CaesarionKernel().time_limit == 7.5


def test_a_configuration_file_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESARION_AGENT_MAX_ROUNDS", "4")
    configured = Config({"CaesarionAgent": {"max_rounds": 6}})
    assert CaesarionAgent(config=configured).max_rounds == 6


@pytest.mark.parametrize("value", ["soon", "0"])
def test_a_value_that_cannot_be_used_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("CAESARION_AGENT_MAX_ROUNDS", value)
    sentence = (
        f"CAESARION_AGENT_MAX_ROUNDS is '{value}', which is not a value of "
        r"CaesarionAgent.max_rounds \(.*\). Mend or remove the variable."
    )
    with pytest.raises(SettingError, match=sentence):
        CaesarionAgent()


def test_the_model_is_asked_with_the_servers_own_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of-this-server")
    assert CaesarionModel().token == "of-this-server"


def test_without_a_hub_the_token_is_a_word_that_says_nothing() -> None:
    assert CaesarionModel().token == "none"


UNITS = (
    "Seconds",
    "characters",
    "bytes",
    "tokens",
    "images",
    "requests",
    "calls",
    "outputs",
    "Times",
    "Minutes",
    "Days",
)


@pytest.mark.parametrize(
    "settings",
    [
        CaesarionModel,
        CaesarionAgent,
        CaesarionKernel,
        CaesarionWeather,
        CaesarionUploads,
        CaesarionRuns,
    ],
)
def test_every_setting_says_what_it_is_and_every_number_its_unit(settings: type[Settings]) -> None:
    for name, trait in settings.class_traits(config=True).items():
        assert trait.help.endswith("."), name
        if isinstance(trait, Float | Integer):
            assert any(unit in trait.help for unit in UNITS), name


@pytest.mark.parametrize(
    ("hubs", "configured", "minutes"),
    [("30", 60.0, 30.0), ("30", 10.0, 10.0), ("30", None, 30.0), (None, 600.0, 600.0)],
)
def test_a_file_of_the_users_lowers_the_hubs_limit_for_runs_and_never_raises_it(
    monkeypatch: pytest.MonkeyPatch, hubs: str | None, configured: float | None, minutes: float
) -> None:
    if hubs is not None:
        monkeypatch.setenv("CAESARION_AGENT_BACKGROUND_MAX_MINUTES", hubs)
    traits = {} if configured is None else {"background_max_minutes": configured}
    assert CaesarionAgent(config=Config({"CaesarionAgent": traits})).background_max_minutes == (
        minutes
    )


def test_uploads_lie_below_the_servers_root_unless_the_hub_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert CaesarionUploads().folder == "uploads"
    monkeypatch.setenv("CAESARION_UPLOADS_FOLDER", "/uploaded_files")
    assert CaesarionUploads().folder == "/uploaded_files"
