"""The weather tool against a small stand-in for Open-Meteo, in good and in bad weather."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import ANY

import pytest
from aiohttp import web
from caesarion.agent.tools.tool import Step, ToolResult
from caesarion.agent.tools.weather import CARD_MIME, CurrentWeather, make_table
from caesarion.config import CaesarionWeather
from caesarion.errors import ToolError

from tests.hub import free_port

LATER = "It may work later."
UNREADABLE = f"The weather service's answer cannot be read. {LATER}"

LISBON = {
    "name": "Lisbon",
    "admin1": "Lisbon",
    "country": "Portugal",
    "latitude": 38.72,
    "longitude": -9.14,
}
FORECAST = {
    "timezone": "Europe/Lisbon",
    "current_units": {
        "temperature_2m": "°C",
        "apparent_temperature": "°C",
        "relative_humidity_2m": "%",
        "precipitation": "mm",
        "cloud_cover": "%",
        "wind_speed_10m": "km/h",
    },
    "current": {
        "time": "2026-11-20T12:00",
        "weather_code": 61,
        "temperature_2m": 17.2,
        "apparent_temperature": 16.0,
        "relative_humidity_2m": 81,
        "precipitation": 0.3,
        "cloud_cover": None,
        "wind_speed_10m": 9.0,
    },
    "daily_units": {"temperature_2m_max": "°C"},
    "daily": {
        "time": ["2026-11-20", "2026-11-21"],
        "sunrise": ["2026-11-20T07:21", "2026-11-21T07:22"],
        "sunset": ["2026-11-20T17:19", "2026-11-21T17:18"],
        "temperature_2m_max": [18.0, 17.5],
        "temperature_2m_min": [12.5, 11.0],
    },
}
TABLE = """\
**{where}**: rain (2026-11-20 12:00, Europe/Lisbon)

| Now | |
|---|---|
| Temperature | 17.2 °C |
| Feels like | 16.0 °C |
| Humidity | 81 % |
| Precipitation | 0.3 mm |
| Wind | 9.0 km/h |

| Day | Range | Sunrise | Sunset |
|---|---|---|---|
| 2026-11-20 | 12.5 to 18.0 °C | 07:21 | 17:19 |
| 2026-11-21 | 11.0 to 17.5 °C | 07:22 | 17:18 |"""


class OpenMeteo:
    """A double: answers what a test wrote down, and keeps what it was asked."""

    def __init__(self) -> None:
        self.places: Any = {"results": [LISBON]}
        self.forecast: Any = FORECAST
        self.status = 200
        self.silent = False
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        if self.silent:
            await asyncio.sleep(60)
        told = self.places if request.path == "/search" else self.forecast
        if isinstance(told, str):
            return web.Response(text=told, status=self.status)
        return web.json_response(told, status=self.status)

    def tool(self, **settings: Any) -> CurrentWeather:
        return CurrentWeather(
            CaesarionWeather(
                geocoding_url=f"{self.url}/search", forecast_url=f"{self.url}/forecast", **settings
            )
        )


@pytest.fixture
async def service() -> AsyncIterator[OpenMeteo]:
    double = OpenMeteo()
    app = web.Application()
    app.router.add_get("/{call}", double.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    double.url = f"http://{host}:{port}"
    yield double
    await runner.cleanup()


async def look(tool: CurrentWeather, arguments: str) -> list[Step]:
    return [step async for step in tool.run(tool.parse(arguments))]


async def refusal(tool: CurrentWeather, arguments: str = '{"place": "Lisbon"}') -> str:
    with pytest.raises(ToolError) as told:
        await look(tool, arguments)
    return str(told.value)


async def test_a_place_is_looked_up_and_shown_as_a_table(service: OpenMeteo) -> None:
    shown, told = await look(service.tool(), '{"place": "Lisbon"}')
    table = TABLE.format(where="Lisbon, Portugal")
    assert shown == {
        "output_type": "display_data",
        "data": {CARD_MIME: ANY, "text/markdown": table, "text/plain": table},
        "metadata": {},
    }
    assert make_table(shown["data"][CARD_MIME]) == table
    assert told == ToolResult("ok", table)
    assert service.asked == [
        {"name": "Lisbon", "count": "1"},
        {
            "latitude": "38.72",
            "longitude": "-9.14",
            "current": "weather_code,temperature_2m,apparent_temperature,relative_humidity_2m,"
            "precipitation,cloud_cover,wind_speed_10m",
            "daily": "sunrise,sunset,temperature_2m_max,temperature_2m_min",
            "forecast_days": "3",
            "timezone": "auto",
        },
    ]


async def test_coordinates_need_no_search(service: OpenMeteo) -> None:
    _, told = await look(service.tool(), '{"latitude": 38.72, "longitude": -9.14}')
    assert told == ToolResult("ok", TABLE.format(where="38.72, -9.14"))
    assert len(service.asked) == 1


@pytest.mark.parametrize("found", [{}, {"results": []}, {"generationtime_ms": 0.5}])
async def test_an_unknown_place_is_told(service: OpenMeteo, found: Any) -> None:
    service.places = found
    assert await refusal(service.tool(), '{"place": "Lisbonn"}') == (
        "No place named 'Lisbonn' is known. Check the spelling, or give latitude and longitude."
    )


async def test_what_the_service_says_to_a_refusal_is_told(service: OpenMeteo) -> None:
    service.status = 400
    service.places = {"error": True, "reason": "Parameter count must be at least 1"}
    assert await refusal(service.tool()) == (
        "The weather service refused (400): Parameter count must be at least 1."
    )


async def test_a_refusal_without_a_reason_is_told(service: OpenMeteo) -> None:
    service.status, service.places = 503, []
    assert await refusal(service.tool()) == (
        "The weather service refused (503): it does not say why."
    )


async def test_a_silent_service_is_given_up(service: OpenMeteo) -> None:
    service.silent = True
    assert await refusal(service.tool(timeout=0.2)) == (
        f"The weather service gave no answer within 0.2 seconds. {LATER}"
    )


async def test_a_service_that_is_not_there_is_told() -> None:
    nowhere = OpenMeteo()
    nowhere.url = f"http://127.0.0.1:{free_port()}"
    assert await refusal(nowhere.tool()) == (
        f"The weather service at 127.0.0.1 could not be reached or did not answer in JSON. {LATER}"
    )


async def test_a_page_instead_of_json_is_told(service: OpenMeteo) -> None:
    service.status, service.places = 502, "<html>Bad gateway</html>"
    assert await refusal(service.tool()) == (
        f"The weather service at 127.0.0.1 could not be reached or did not answer in JSON. {LATER}"
    )


@pytest.mark.parametrize(
    "places", [[1], {"results": "x"}, {"results": [{"name": "X"}]}, {"results": [5]}]
)
async def test_a_search_that_finds_nonsense_is_told(service: OpenMeteo, places: Any) -> None:
    service.places = places
    assert await refusal(service.tool()) == UNREADABLE


@pytest.mark.parametrize(
    "forecast",
    [
        {},
        [FORECAST],
        {**FORECAST, "current": None},
        {**FORECAST, "current": {**FORECAST["current"], "weather_code": None}},  # type: ignore[dict-item]
        {**FORECAST, "daily": {**FORECAST["daily"], "sunset": []}},  # type: ignore[dict-item]
        {**FORECAST, "daily": {**FORECAST["daily"], "sunrise": [None, None]}},  # type: ignore[dict-item]
    ],
)
async def test_a_forecast_of_nonsense_is_told(service: OpenMeteo, forecast: Any) -> None:
    service.forecast = forecast
    assert await refusal(service.tool()) == UNREADABLE
