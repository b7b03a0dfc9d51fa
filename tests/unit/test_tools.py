"""What a tool says of itself, and what a wrong call is told."""

from collections.abc import AsyncGenerator
from typing import Literal

import pytest
from caesarion.agent.tools.python import PythonInterpreter
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.agent.tools.weather import CurrentWeather, describe, make_card, make_table
from caesarion.config import CaesarionWeather
from caesarion.errors import ToolError
from caesarion.kernels.kernel import Kernel
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field


async def no_kernel() -> Kernel:
    raise AssertionError("No kernel is needed to read arguments.")


python = PythonInterpreter(no_kernel)
weather = CurrentWeather(CaesarionWeather())


def test_the_names_and_parameters_are_the_seeds() -> None:
    assert python.name == "python_interpreter"
    assert weather.name == "get_current_weather"
    assert set(python.definition()["function"]["parameters"]["properties"]) == {
        "code",
        "scratch",
    }
    parameters = weather.definition()["function"]["parameters"]["properties"]
    assert set(parameters) == {"latitude", "longitude", "place"}


class Odd(BaseModel):
    """An odd set of arguments."""

    title: str = Field(description="A field of that name.")
    place: str | None = None
    both: int | str | None = None
    above: str | None
    kind: Literal["a", "b"] = "a"


class OddTool(Tool[Odd]):
    """Does nothing."""

    name = "odd"
    description = "Does nothing."
    kind = "read"
    arguments = Odd

    async def run(self, arguments: Odd) -> AsyncGenerator[Step, None]:
        yield ToolResult("ok", "")


def test_a_definition_has_what_the_model_needs_and_no_more() -> None:
    parameters = OddTool().definition()["function"]["parameters"]
    Draft202012Validator.check_schema(parameters)
    assert parameters == {
        "type": "object",
        "required": ["title", "above"],
        "properties": {
            "title": {"type": "string", "description": "A field of that name."},
            "place": {"type": "string"},
            "both": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "above": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "kind": {"type": "string", "enum": ["a", "b"]},
        },
    }


def test_right_arguments_are_read() -> None:
    assert python.parse('{"code": "1+1"}').code == "1+1"
    assert python.parse('{"code": "1+1", "scratch": true}').scratch
    assert weather.parse('{"place": "Lisbon"}').place == "Lisbon"


WRONG = (
    "The arguments of {} are not right: {}. Call it again with arguments as its description says."
)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("", "code: Field required"),
        ("{}", "code: Field required"),
        ("null", "arguments: Input should be a valid dictionary or instance of Code, not 'None'"),
        ("[1]", "arguments: Input should be a valid dictionary or instance of Code, not '[1]'"),
        ('{"code": 1}', "code: Input should be a valid string, not '1'"),
        ('{"code": ""}', "code: String should have at least 1 character, not ''"),
        ('{"code": "1", "x": 2}', "x: Extra inputs are not permitted, not '2'"),
        (
            '{"cod": "1"}',
            "code: Field required; cod: Extra inputs are not permitted, not '1'",
        ),
        (
            r'{"code": "\ud83d"}',
            "code: Input should be a valid string, unable to parse raw data as a unicode string, "
            r"not '\ud83d'",
        ),
    ],
)
def test_wrong_arguments_are_told_with_the_value(arguments: str, sentence: str) -> None:
    with pytest.raises(ToolError) as told:
        python.parse(arguments)
    assert str(told.value) == WRONG.format("python_interpreter", sentence)


def test_arguments_that_were_cut_off_are_told_where() -> None:
    with pytest.raises(ToolError) as told:
        python.parse('{"code": "pr')
    assert str(told.value) == (
        "The arguments of python_interpreter are not valid JSON (Unterminated string starting at: "
        "character 9 of 12). Send them again, whole."
    )


@pytest.mark.parametrize("arguments", ["[" * 100_000, "1" * 5_000])
def test_absurd_arguments_are_told(arguments: str) -> None:
    with pytest.raises(ToolError, match=r"^The arguments of python_interpreter cannot be read: "):
        python.parse(arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            '{"latitude": 91, "longitude": 0}',
            "latitude: Input should be less than or equal to 90, not '91'",
        ),
        (
            '{"latitude": 0, "longitude": NaN}',
            "longitude: Input should be less than or equal to 180, not 'nan'",
        ),
        (
            '{"latitude": 9}',
            "arguments: either place, or both latitude and longitude are needed",
        ),
        ('{"place": ""}', "place: String should have at least 1 character, not ''"),
    ],
)
def test_an_impossible_place_is_told(arguments: str, sentence: str) -> None:
    with pytest.raises(ToolError) as told:
        weather.parse(arguments)
    assert str(told.value) == WRONG.format("get_current_weather", sentence)


def test_a_forecast_becomes_tables_with_the_services_own_units() -> None:
    forecast = {
        "timezone": "Europe/Lisbon",
        "current_units": {"temperature_2m": "°C", "wind_speed_10m": "km/h"},
        "current": {
            "time": "2026-11-20T12:00",
            "weather_code": 3,
            "temperature_2m": 17.2,
            "wind_speed_10m": 9.0,
        },
        "daily_units": {"temperature_2m_max": "°C"},
        "daily": {
            "time": ["2026-11-20"],
            "sunrise": ["2026-11-20T07:21"],
            "sunset": ["2026-11-20T17:19"],
            "temperature_2m_max": [18.0],
            "temperature_2m_min": [12.5],
        },
    }
    card = make_card("Lisbon, Portugal", forecast)
    assert card["now"] == [["Temperature", "17.2 °C"], ["Wind", "9.0 km/h"]]
    table = make_table(card)
    assert table.startswith("**Lisbon, Portugal**: overcast (2026-11-20 12:00, Europe/Lisbon)")
    assert "| Temperature | 17.2 °C |" in table
    assert "| Wind | 9.0 km/h |" in table
    assert "| 2026-11-20 | 12.5 to 18.0 °C | 07:21 | 17:19 |" in table


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "clear sky"),
        (2, "partly cloudy"),
        (3, "overcast"),
        (45, "fog"),
        (55, "drizzle"),
        (63, "rain"),
        (75, "snow"),
        (81, "rain showers"),
        (86, "snow showers"),
        (95, "thunderstorm"),
        (120, "weather code 120"),
    ],
)
def test_weather_codes_are_words_or_named_by_their_number(code: int, words: str) -> None:
    assert describe(code) == words
