"""
Every setting of the extension: traits with their units and traps.

A value comes from Jupyter's configuration files and command line (highest),
else from the environment variable ``CAESARION_<CLASS WORD>_<TRAIT>`` (how the
hub sets it), else from the default here. Called by :mod:`caesarion.extension`,
which builds them, and read by all that take them. Its law: this is the only
module that reads the environment, and imports nothing of ours but the errors.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from traitlets import Bool, Enum, Float, Integer, List, TraitError, Unicode, default, validate
from traitlets.config import Configurable
from traitlets.utils.bunch import Bunch

from caesarion.errors import SettingError

Mode = Literal["read-only", "ask", "auto"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""How a call of a tool with effects comes to run, the strictest first."""


_environment: Mapping[str, str] = os.environ


def fix_environment() -> None:
    """
    Read settings from the environment as it is now, whatever is done to it later.

    Called by :mod:`caesarion.singleuser` before any file of the user's is read: a
    configuration file of Jupyter's is Python, and could change the hub's variables.
    """
    global _environment
    _environment = dict(os.environ)


class Settings(Configurable):
    """Traits that may also be set by environment variables."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        configured = self.config.get(type(self).__name__, {})
        for name, trait in self.traits(config=True).items():
            variable = self.variable(name)
            if variable not in _environment or name in configured or name in kwargs:
                continue
            text = _environment[variable]
            try:
                if isinstance(trait, List):
                    self.set_trait(name, trait.from_string_list(text.split()))
                else:
                    self.set_trait(name, trait.from_string(text))
            except (TraitError, ValueError) as error:
                raise SettingError(
                    f"{variable} is {text!r}, which is not a value of "
                    f"{type(self).__name__}.{name} ({trait.info()}). Mend or remove the variable."
                ) from error

    @classmethod
    def variable(cls, name: str) -> str:
        """Return the environment variable of the trait ``name``."""
        return f"CAESARION_{cls.__name__.removeprefix('Caesarion').upper()}_{name.upper()}"


class CaesarionModel(Settings):
    """Where the model is and how long to wait for it."""

    base_url = Unicode(
        help="An OpenAI-compatible endpoint, up to and with its /v1: on a hub, the gateway's. "
        "Never put a provider's key into a user's server; the gateway holds it.",
    ).tag(config=True)
    name = Unicode("gpt-4.1", help="The model that is asked for.").tag(config=True)
    token = Unicode(
        help="What is sent as the bearer token. By default the server's own JUPYTERHUB_API_TOKEN, "
        "which is all that the gateway asks for.",
    ).tag(config=True)
    timeout = Float(
        300.0,
        min=0.1,
        help="Seconds of silence after which a request is given up; keep-alive comments end a "
        "silence. Behind a gateway its limit holds instead, which the gateway says itself "
        "(gateway.silence, or timeouts of gateway.upstreams).",
    ).tag(config=True)
    retries = Integer(
        2,
        min=0,
        help="How often a request that failed before its first word (429, 5xx, no connection) is "
        "sent again, with back-off or after what Retry-After says.",
    ).tag(config=True)
    max_images = Integer(
        4,
        min=0,
        help="Images attached to questions that one request shows the model at most, the newest of "
        "the conversation. Set it to 0 for a model without vision, which may refuse them.",
    ).tag(config=True)
    image_bytes = Integer(
        6_000_000,
        min=1_024,
        help="Bytes of all images of one request together; one that does not fit is not shown to "
        "the model, which is told so. They grow by a third on the way, and the gateway takes "
        "10 MiB a request.",
    ).tag(config=True)

    @default("token")
    def _token_from_the_hub(self) -> str:
        # The SDK insists on some key; an endpoint that needs none ignores it.
        return _environment.get("JUPYTERHUB_API_TOKEN", "none")


class CaesarionAgent(Settings):
    """The bounds of a turn, and who decides what runs in it."""

    approval = Enum(
        MODES,
        "auto",
        help="How a call that has effects (code, above all) comes to run where the chat does not "
        "say it: 'auto' at once, 'ask' when a person says so, 'read-only' never. Never above "
        "max_approval.",
    ).tag(config=True)
    max_approval = Enum(
        MODES,
        "auto",
        help="The freest mode that may be chosen: read-only < ask < auto. Where the hub sets it, "
        "by CAESARION_AGENT_MAX_APPROVAL, nothing raises it: neither a configuration file of the "
        "user's nor an assignment later. It is a cap for the agent, not a wall around the user, "
        "whose notebooks run what they type: code that runs in the server's container could also "
        "replace the server.",
    ).tag(config=True)
    program_approvals = Bool(
        False,
        help="Whether a token may decide about a call that waits. Without it only the session of a "
        "browser can. A decision by a token is recorded as a program's. The server's own token "
        "stands in the environment of its kernels: with True, code that was let run once can "
        "approve all that follows. A hub that sets CAESARION_AGENT_PROGRAM_APPROVALS to false "
        "cannot be overruled by a configuration file.",
    ).tag(config=True)

    max_rounds = Integer(
        10,
        min=1,
        help="How often the model is asked within one turn; each round may call several tools.",
    ).tag(config=True)
    max_failures = Integer(
        3,
        min=1,
        help="Calls that may fail in a row within one turn before the model must report.",
    ).tag(config=True)
    history_tokens = Integer(
        60_000,
        min=1_000,
        help="Budget of what is sent to the model, estimated at four characters a token. Over it, "
        "the oldest tool results shrink first, then the oldest turns go.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # traitlets does not validate a value that a file sets to what is the default anyway.
        self.max_approval = self.max_approval
        self.program_approvals = self.program_approvals

    @validate("max_approval")
    def _not_above_the_hubs(self, proposal: Bunch) -> str:
        cap = _environment.get(self.variable("max_approval"), "")
        wanted: str = proposal["value"]
        return min(wanted, cap, key=MODES.index) if cap in MODES else wanted

    @validate("program_approvals")
    def _only_where_the_hub_lets_it(self, proposal: Bunch) -> bool:
        hubs = _environment.get(self.variable("program_approvals"), "true")
        return bool(proposal["value"]) and hubs.lower() in ("true", "1")


class CaesarionKernel(Settings):
    """How code runs, and how much of its output is kept."""

    time_limit = Float(
        300.0,
        min=0.1,
        help="Seconds one run may take before it is interrupted; also how long to wait for a "
        "kernel that is busy with a cell of the user's.",
    ).tag(config=True)
    stop_limit = Float(
        5.0,
        min=0.1,
        help="Seconds an interrupted run has to end before its kernel is restarted, which loses "
        "the kernel's variables.",
    ).tag(config=True)
    start_limit = Float(60.0, min=1.0, help="Seconds a kernel has to start.").tag(config=True)
    spare = Float(
        600.0,
        min=0.0,
        help="Seconds that a kernel, started when the server has first answered somebody, waits "
        "for the first conversation, which finds it ready; then it is ended. It takes some 60 MB. "
        "With 0 none is started ahead of its use.",
    ).tag(config=True)
    shown_text = Integer(
        65_536,
        min=1_024,
        help="Characters of text a run shows at most; of more, head and tail are kept.",
    ).tag(config=True)
    told_text = Integer(
        8_192,
        min=256,
        help="Characters of a run's outputs that the model is told at most: head and tail.",
    ).tag(config=True)
    max_media = Integer(
        5_242_880,
        min=1_024,
        help="Characters of one image or other rich output as sent (base64 where binary); "
        "a larger one is left out, and said so.",
    ).tag(config=True)
    max_outputs = Integer(
        200,
        min=1,
        help="Outputs other than text that one run shows at most.",
    ).tag(config=True)


class CaesarionWeather(Settings):
    """Where the weather comes from."""

    forecast_url = Unicode(
        "https://api.open-meteo.com/v1/forecast", help="Open-Meteo's forecast, or a stand-in."
    ).tag(config=True)
    geocoding_url = Unicode(
        "https://geocoding-api.open-meteo.com/v1/search",
        help="Open-Meteo's search for places, or a stand-in.",
    ).tag(config=True)
    timeout = Float(10.0, min=0.1, help="Seconds a whole look-up may take.").tag(config=True)


class CaesarionUploads(Settings):
    """The folder of what a user gives the agent."""

    folder = Unicode(
        help="Where uploaded files lie; relative to the server's root. In a pod /uploaded_files.",
    ).tag(config=True)
    max_size = Integer(
        200_000_000,
        min=1,
        help="Bytes that one uploaded file may have. A proxy in front of the server may have a "
        "lower limit of its own.",
    ).tag(config=True)
    types = List(
        Unicode(),
        ["csv", "tsv", "txt", "json", "py", "md", "ipynb", "xlsx", "parquet", "png", "jpg", "jpeg"],
        help="Suffixes that an uploaded file may have, with or without a dot, in any case. An "
        "empty list takes nothing. In the environment they are separated by spaces.",
    ).tag(config=True)

    @default("folder")
    def _the_pods_volume_or_a_folder_at_home(self) -> str:
        mounted = "/uploaded_files"
        return mounted if Path(mounted).is_dir() else "uploads"

    @validate("types")
    def _suffixes_without_dots(self, proposal: Bunch) -> list[str]:
        suffixes = [str(suffix).lower().removeprefix(".") for suffix in proposal["value"]]
        for suffix in suffixes:
            if not (suffix.isascii() and suffix.isalnum()):
                raise TraitError(
                    f"{suffix!r} in CaesarionUploads.types is not a suffix such as csv or .csv."
                )
        return suffixes
