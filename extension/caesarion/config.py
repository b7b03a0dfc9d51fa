"""
Every setting of the extension: traits with their units and traps.

A value comes from Jupyter's configuration files and command line (highest), else from the
environment variable ``CAESARION_<CLASS WORD>_<TRAIT>`` (how the hub sets it), else from the
default here. ``max_approval``, ``program_approvals`` and ``background_max_minutes`` are exceptions:
for them the environment is the cap, which a file can only lower.

Called by :mod:`caesarion.extension`, which builds them, and read by all that take them.
Invariant: settings are read from the environment in this module alone (:mod:`caesarion.singleuser`
only hides PATH for a moment, :mod:`caesarion.warm` becomes a user's, and
:mod:`caesarion.kernels.waiting` passes on what Python reads), and it imports nothing of ours but
the errors.
"""

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

from traitlets import Bool, Enum, Float, Integer, List, TraitError, Unicode, default, validate
from traitlets.config import Configurable
from traitlets.utils.bunch import Bunch

from caesarion.errors import SettingError

Mode = Literal["read-only", "plan", "ask", "accept-edits", "auto"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""How a call with effects comes to run, the strictest first."""


_environment: Mapping[str, str] = os.environ


def freeze_environment() -> None:
    """
    Read settings from the environment as it is now, whatever is done to it later.

    Called by :mod:`caesarion.singleuser` before any file of the user's is read: a
    configuration file of Jupyter's is Python, and could change the hub's variables.
    """
    global _environment
    _environment = dict(os.environ)


def add_to_environment(claimed: Mapping[str, str]) -> None:
    """Read settings from these variables, too: what a server is told that waited for its user."""
    global _environment
    _environment = {**_environment, **claimed}


def hub_server() -> dict[str, str]:
    """Return the user and the name of this server, as the hub has set them; empty without one."""
    user = _environment.get("JUPYTERHUB_USER")
    return {"user": user, "server": _environment.get("JUPYTERHUB_SERVER_NAME", "")} if user else {}


def leaves_out_home() -> bool:
    """Return whether the hub has said that files in the home do not configure the server."""
    return _environment.get("JUPYTERHUB_DISABLE_USER_CONFIG") == "1"


def is_beside_the_hub() -> bool:
    """Return whether ``make up`` runs this server, whose hub and kernels have one user."""
    return "CAESARION_RUN" in _environment


def prewarms_kernels() -> bool:
    """Return whether a kernel is started ahead of its use, unless a configuration file says no."""
    text = _environment.get(CaesarionKernel.variable("prewarm"), "")
    try:
        return not text or float(text) > 0
    except ValueError:  # The constructor says it.
        return False


def is_traced() -> bool:
    """Return whether OpenTelemetry's own variables name a collector, and do not disable it."""
    collectors = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    is_disabled = _environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not is_disabled and any(_environment.get(name) for name in collectors)


def traces_content() -> bool:
    """Return whether traces carry what people, the model and tools say."""
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    return _environment.get(name, "").lower() == "true"


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
    """The model: which one, at which endpoint, and the limits of a request."""

    base_url = Unicode(
        help="Address of an OpenAI-compatible endpoint, up to and including its /v1: under a hub "
        "the gateway's. Do not put a provider's key into a user's server: the gateway keeps it.",
    ).tag(config=True)
    name = Unicode(
        "gpt-4.1",
        help="Name of the model that is requested. The gateway may serve it under another name, "
        "or refuse it to this user.",
    ).tag(config=True)
    token = Unicode(
        help="Bearer token of each request. By default the server's own JUPYTERHUB_API_TOKEN, "
        "which is all that the gateway asks for. Kernels can read it, so it must be no provider's "
        "key.",
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
        help="Times that a request is sent again which failed before its first word (429, 5xx, no "
        "connection), with back-off or after what Retry-After says. Each try counts as a request "
        "in the gateway's limits.",
    ).tag(config=True)
    max_images = Integer(
        4,
        min=0,
        help="Most images, of those attached to questions, that one request has: the newest of "
        "the conversation. Set it to 0 for a model without vision, which may refuse a request "
        "with any.",
    ).tag(config=True)
    image_bytes = Integer(
        6_000_000,
        min=1_024,
        help="Most bytes of all images of one request together. An image that does not fit is "
        "left out, and the model is told so. Images grow by a third on the way, and the gateway "
        "takes 10 MiB a request.",
    ).tag(config=True)

    @default("token")
    def _token_from_the_hub(self) -> str:
        # The SDK insists on some key; an endpoint that needs none ignores it.
        return _environment.get("JUPYTERHUB_API_TOKEN", "none")


class CaesarionAgent(Settings):
    """The limits of a turn, and what decides whether a call in it runs."""

    approval = Enum(
        MODES,
        "auto",
        help="The mode of a turn that does not name one, for calls that have effects: runs of "
        "code and changes of notebooks. 'auto' makes them at once; 'accept-edits' makes changes "
        "at once, and runs code when a person has approved; 'ask' does both when a person has "
        "approved; 'plan' does neither and ends in a plan; 'read-only' does neither. It is never "
        "freer than max_approval.",
    ).tag(config=True)
    max_approval = Enum(
        MODES,
        "auto",
        help="The freest mode that may be chosen: read-only < plan < ask < accept-edits < auto. "
        "Where the hub sets it, by CAESARION_AGENT_MAX_APPROVAL, nothing raises it: neither a "
        "configuration file of the user's nor an assignment later. It is a cap for the agent, not "
        "a wall around the user, whose notebooks run what they type: code that runs in the "
        "server's container could also replace the server.",
    ).tag(config=True)
    program_approvals = Bool(
        False,
        help="Whether a token may decide about a call that waits. Without it only the session of "
        "a browser can. A decision by a token is recorded as a program's. The server's own token "
        "stands in the environment of its kernels: with True, code that was let run once can "
        "approve all that follows. A hub that sets CAESARION_AGENT_PROGRAM_APPROVALS to false "
        "cannot be overruled by a configuration file.",
    ).tag(config=True)
    background_max_minutes = Float(
        120.0,
        min=0.0,
        help="Minutes for which a run that nobody listens to counts as activity of its server. "
        "After them a culler may stop the server, and the run with it. With 0 such a run is no "
        "activity. A hub that sets CAESARION_AGENT_BACKGROUND_MAX_MINUTES sets the most; a file "
        "can only lower it.",
    ).tag(config=True)

    max_rounds = Integer(
        10,
        min=1,
        help="Most requests to the model within one turn; each answer may call several tools. A "
        "turn that reaches it ends without an answer.",
    ).tag(config=True)
    max_failures = Integer(
        3,
        min=1,
        help="Failed calls in a row, within one turn, after which the model has to report instead "
        "of trying again.",
    ).tag(config=True)
    history_tokens = Integer(
        60_000,
        min=1_000,
        help="Most tokens of history in one request, estimated at four characters a token. Over "
        "it, the oldest results of tools are shortened first, then the oldest turns left out. "
        "Keep it below the model's context window, with room for the answer.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # traitlets does not validate a value that a file sets to what is the default anyway.
        self.max_approval = self.max_approval
        self.program_approvals = self.program_approvals
        self.background_max_minutes = self.background_max_minutes

    @validate("max_approval")
    def _not_above_the_hubs(self, proposal: Bunch) -> str:
        cap = _environment.get(self.variable("max_approval"), "")
        wanted: str = proposal["value"]
        return min(wanted, cap, key=MODES.index) if cap in MODES else wanted

    @validate("program_approvals")
    def _only_where_the_hub_lets_it(self, proposal: Bunch) -> bool:
        hubs = _environment.get(self.variable("program_approvals"), "true")
        return bool(proposal["value"]) and hubs.lower() in ("true", "1")

    @validate("background_max_minutes")
    def _not_longer_than_the_hub_lets_it(self, proposal: Bunch) -> float:
        cap = _environment.get(self.variable("background_max_minutes"), "")
        wanted = float(proposal["value"])
        try:
            return min(wanted, float(cap)) if cap else wanted
        except ValueError:  # The constructor says it, unless a file has a value of its own.
            return 0.0


class CaesarionKernel(Settings):
    """How code runs, and how much of its output is kept."""

    time_limit = Float(
        300.0,
        min=0.1,
        help="Seconds that a run may take before it is interrupted, and that it waits for a "
        "kernel which is busy with a cell of the user's. Cells that the user runs have no limit.",
    ).tag(config=True)
    stop_limit = Float(
        5.0,
        min=0.1,
        help="Seconds that a run which was interrupted has to end before its kernel is restarted; "
        "halfway it is interrupted again. A restart loses the kernel's variables.",
    ).tag(config=True)
    start_limit = Float(
        60.0,
        min=1.0,
        help="Seconds that a kernel has to start. A user's first kernel may take long where the "
        "home is on a slow volume.",
    ).tag(config=True)
    prewarm = Float(
        600.0,
        min=0.0,
        help="Seconds that a kernel, started with the server, waits for the first conversation, "
        "which finds it ready; then it is ended. It takes some 60 MB meanwhile. With 0 no kernel "
        "is started ahead of its use.",
    ).tag(config=True)
    shown_text = Integer(
        65_536,
        min=1_024,
        help="Most characters of text that a run shows; of a longer text the head and the tail "
        "are kept. They are stored with the chat.",
    ).tag(config=True)
    result_text = Integer(
        8_192,
        min=256,
        help="Most characters of a run's outputs that the model reads; of more, head and tail. "
        "They count in each later request of the conversation.",
    ).tag(config=True)
    max_media = Integer(
        5_242_880,
        min=1_024,
        help="Most characters of one image or other rich output, as it is sent (base64 where it "
        "is binary). A larger one is left out, and a sentence says so.",
    ).tag(config=True)
    max_outputs = Integer(
        200,
        min=1,
        help="Most outputs other than text that a run shows; later ones are left out.",
    ).tag(config=True)


class CaesarionRuns(Settings):
    """How much is kept of runs in the background and of the chats' turns, and for how long."""

    folder = Unicode(
        help="Folder of the journals; by default caesarion/runs in Jupyter's data folder. It has "
        "what was asked and what code has shown, so only its owner should be able to read it.",
    ).tag(config=True)
    journal_bytes = Integer(
        50_000_000,
        min=100_000,
        help="Most bytes of the journal of one run. A run that would write more is stopped and "
        "ends as incomplete: journal_full.",
    ).tag(config=True)
    keep_days = Float(
        7.0,
        min=0.0,
        help="Days for which the journal of a run that has ended is kept.",
    ).tag(config=True)
    keep_bytes = Integer(
        200_000_000,
        min=0,
        help="Most bytes of all journals together. Of more, the oldest are deleted; those of runs "
        "that go on are kept.",
    ).tag(config=True)


class CaesarionWeather(Settings):
    """Where the weather comes from."""

    forecast_url = Unicode(
        "https://api.open-meteo.com/v1/forecast",
        help="Address of Open-Meteo's forecast, or of a mirror. Without a key it is for "
        "non-commercial use.",
    ).tag(config=True)
    geocoding_url = Unicode(
        "https://geocoding-api.open-meteo.com/v1/search",
        help="Address of Open-Meteo's search for places, or of a mirror.",
    ).tag(config=True)
    timeout = Float(
        10.0,
        min=0.1,
        help="Seconds that a whole look-up may take: the search for the place and the forecast.",
    ).tag(config=True)


class CaesarionUploads(Settings):
    """The folder of the files that a user uploads."""

    folder = Unicode(
        "uploads",
        help="Folder of uploaded files; a relative one is below the server's root. In a pod the "
        "hub sets it to a volume of its own (singleuser.storage), which may go with the pod.",
    ).tag(config=True)
    max_size = Integer(
        200_000_000,
        min=1,
        help="Most bytes of one uploaded file. A proxy in front of the server may have a lower "
        "limit of its own.",
    ).tag(config=True)
    types = List(
        Unicode(),
        [
            *("csv", "tsv", "txt", "log", "json", "py", "md", "ipynb", "parquet", "zip"),
            *("xlsx", "xlsm", "xlsb", "xls", "ods", "png", "jpg", "jpeg", "gif", "webp"),
        ],
        help="Suffixes that an uploaded file may have, with or without a dot, in any case. An "
        "empty list refuses every file. In the environment they are separated by spaces.",
    ).tag(config=True)

    @validate("types")
    def _suffixes_without_dots(self, proposal: Bunch) -> list[str]:
        suffixes = [str(suffix).lower().removeprefix(".") for suffix in proposal["value"]]
        for suffix in suffixes:
            if not (suffix.isascii() and suffix.isalnum()):
                raise TraitError(
                    f"{suffix!r} in CaesarionUploads.types is not a suffix such as csv or .csv."
                )
        return suffixes
