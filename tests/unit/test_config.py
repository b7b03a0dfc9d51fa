"""Settings come from the environment by one rule, and a wrong one is a sentence."""

import pytest
from caesarion.config import CaesarionAgent, CaesarionKernel, CaesarionModel
from caesarion.errors import SettingError
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
