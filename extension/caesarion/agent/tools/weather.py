"""
The tool ``get_current_weather``: now, and sunrise and sunset of the coming days.

Source: Open-Meteo (https://open-meteo.com/en/docs), its forecast for
coordinates and its geocoding for names. Weather codes are WMO's table 4677 as
Open-Meteo lists them.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.config import CaesarionWeather
from caesarion.errors import ToolError

CARD_MIME = "application/vnd.caesarion.weather+json"
"""The weather as JSON, which :func:`make_card` makes and the labextension draws as a card."""

_CURRENT = {
    "temperature_2m": "Temperature",
    "apparent_temperature": "Feels like",
    "relative_humidity_2m": "Humidity",
    "precipitation": "Precipitation",
    "cloud_cover": "Cloud cover",
    "wind_speed_10m": "Wind",
}
_DAILY = ("sunrise", "sunset", "temperature_2m_max", "temperature_2m_min")

# The highest code of each kind of weather, and its name.
_CODES = (
    (0, "clear sky"),
    (1, "mainly clear"),
    (2, "partly cloudy"),
    (3, "overcast"),
    (48, "fog"),
    (57, "drizzle"),
    (67, "rain"),
    (77, "snow"),
    (82, "rain showers"),
    (86, "snow showers"),
    (99, "thunderstorm"),
)


class Place(BaseModel):
    """The arguments: coordinates, or a place's name."""

    model_config = ConfigDict(extra="forbid")

    latitude: float | None = Field(None, ge=-90, le=90)
    longitude: float | None = Field(None, ge=-180, le=180)
    place: str | None = Field(None, min_length=1, description="Name of a town or region.")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "Place":
        if self.place is None and (self.latitude is None or self.longitude is None):
            raise ValueError("either place, or both latitude and longitude are needed")
        return self


class CurrentWeather(Tool[Place]):
    """The weather at a place, from Open-Meteo."""

    name = "get_current_weather"
    description = (
        "Weather now and today, sunrise and sunset of the next days, in local time, of a place or "
        "coordinates. The user sees it as a card."
    )
    kind = "read"
    arguments = Place

    def __init__(self, settings: CaesarionWeather) -> None:
        self._settings = settings

    async def run(self, arguments: Place) -> AsyncGenerator[Step, None]:
        """Yield one card; an unknown place or a silent service is told to the model."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                where, latitude, longitude = await self._locate(arguments)
                card = make_card(where, await self._forecast(latitude, longitude))
                table = make_table(card)
        except TimeoutError as error:
            raise ToolError(
                f"The weather service gave no answer within {self._settings.timeout:g} seconds. "
                "It may work later."
            ) from error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ToolError(
                "The weather service's answer cannot be read. It may work later."
            ) from error
        yield {
            "output_type": "display_data",
            "data": {CARD_MIME: card, "text/markdown": table, "text/plain": table},
            "metadata": {},
        }
        yield ToolResult("ok", table)

    async def _locate(self, place: Place) -> tuple[str, float, float]:
        if place.latitude is not None and place.longitude is not None:
            return (f"{place.latitude:g}, {place.longitude:g}", place.latitude, place.longitude)
        found = await self._get(self._settings.geocoding_url, {"name": place.place, "count": 1})
        results = found.get("results")
        if not results:
            raise ToolError(
                f"No place named {place.place!r} is known. Check the spelling, or give "
                "latitude and longitude."
            )
        first = results[0]
        names = (first.get("name"), first.get("admin1"), first.get("country"))
        where = ", ".join(dict.fromkeys(name for name in names if name))
        return where, float(first["latitude"]), float(first["longitude"])

    async def _forecast(self, latitude: float, longitude: float) -> Any:
        return await self._get(
            self._settings.forecast_url,
            {
                "latitude": latitude,
                "longitude": longitude,
                "current": ",".join(("weather_code", *_CURRENT)),
                "daily": ",".join(_DAILY),
                "forecast_days": 3,
                "timezone": "auto",
            },
        )

    async def _get(self, url: str, query: dict[str, Any]) -> Any:
        import httpx2  # the SDK's own client, imported with it at the first question

        try:
            async with httpx2.AsyncClient(timeout=self._settings.timeout) as client:
                response = await client.get(url, params=query)
                body = response.json()
        except httpx2.TimeoutException as error:
            raise TimeoutError from error
        except (httpx2.HTTPError, ValueError) as error:
            raise ToolError(
                f"The weather service at {httpx2.URL(url).host} could not be reached or did not "
                "answer in JSON. It may work later."
            ) from error
        if response.is_error:
            reason = body.get("reason") if isinstance(body, dict) else None
            words = reason or "it does not say why"
            raise ToolError(f"The weather service refused ({response.status_code}): {words}.")
        return body


def make_card(where: str, forecast: dict[str, Any]) -> dict[str, Any]:
    """
    Return Open-Meteo's ``forecast`` for ``where`` as the chat's weather card shows it.

    Has ``place``, ``code`` (WMO), ``weather`` in words, ``time``, ``timezone``; ``now``, pairs of
    label and value with its unit; ``days``, each with ``date``, ``low`` and ``high`` in ``unit``,
    ``sunrise`` and ``sunset``.
    """
    current, units = forecast["current"], forecast["current_units"]
    daily, day_units = forecast["daily"], forecast["daily_units"]
    return {
        "place": where,
        "code": current["weather_code"],
        "weather": describe(current["weather_code"]),
        "time": current["time"].replace("T", " "),
        "timezone": forecast["timezone"],
        "now": [
            [label, f"{current[key]} {units[key]}"]
            for key, label in _CURRENT.items()
            if current.get(key) is not None
        ],
        "unit": day_units["temperature_2m_max"],
        "days": [
            {
                "date": day,
                "low": low,
                "high": high,
                "sunrise": rise.partition("T")[2],
                "sunset": fall.partition("T")[2],
            }
            for day, rise, fall, high, low in zip(
                daily["time"], *(daily[key] for key in _DAILY), strict=True
            )
        ],
    }


def make_table(card: dict[str, Any]) -> str:
    """Return a weather card as Markdown, for the model and where cards are not drawn."""
    days = [
        f"| {day['date']} | {day['low']} to {day['high']} {card['unit']} "
        f"| {day['sunrise']} | {day['sunset']} |"
        for day in card["days"]
    ]
    return "\n".join(
        [
            f"**{card['place']}**: {card['weather']} ({card['time']}, {card['timezone']})",
            "",
            "| Now | |",
            "|---|---|",
            *(f"| {label} | {value} |" for label, value in card["now"]),
            "",
            "| Day | Range | Sunrise | Sunset |",
            "|---|---|---|---|",
            *days,
        ]
    )


def describe(code: int) -> str:
    """Return the words for a WMO weather code."""
    return next((words for highest, words in _CODES if code <= highest), f"weather code {code}")
