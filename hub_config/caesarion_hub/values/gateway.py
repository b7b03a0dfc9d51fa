"""
The gateway's section of the values: providers, prices, budgets, limits, what is kept.

Used by ``values``, whose ``gateway`` key it is, and by the gateway itself, which
finds it as a file of its own. Money is in US dollars and never a float.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic import model_validator as after_fields
from pydantic_core import PydanticCustomError

from caesarion_hub.values.fields import MEMORY, Memory, Section, WebAddress

CONFIG_VARIABLE = "CAESARION_GATEWAY_CONFIG"
"""Names the YAML file that holds this section."""

GATEWAY_FILE = "gateway.yaml"
"""The file in which ``make up`` hands the gateway this section, in the folder of its state."""

Money = Annotated[Decimal, Field(ge=0, lt=10**9, decimal_places=9)]
Scope = Literal["user", "group", "everyone"]
Window = Literal["day", "week", "month", "total"]


FieldName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
"""A top-level field of a request; small letters, since some providers ignore their case."""

_SECONDS = "a number of seconds above 0"
_FIELDS = "a list of names of request fields in small letters, such as [top_k, min_p]"
_TOKENS = "a whole number of tokens, 1 or more"


class Timeouts(Section):
    """How long a provider may take."""

    connect: float = Field(10.0, gt=0, allow_inf_nan=False, description=_SECONDS)
    first_byte: float = Field(300.0, gt=0, allow_inf_nan=False, description=_SECONDS)
    silence: float = Field(300.0, gt=0, allow_inf_nan=False, description=_SECONDS)


class Breaker(Section):
    """After how many failures in a row a provider is left alone, and for how long."""

    failures: int = Field(5, ge=1, description="a whole number, 1 or more")
    seconds: float = Field(30.0, gt=0, allow_inf_nan=False, description=_SECONDS)


Droppable = Literal[
    "parallel_tool_calls",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
]
_DROPPABLE = ", ".join(get_args(Droppable))


class ModelParameters(Section):
    """How a model takes requests, where that is not OpenAI's own form."""

    drop: tuple[Droppable, ...] = Field((), description=f"a list of {_DROPPABLE}")
    output_limit: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        None, description="max_tokens or max_completion_tokens"
    )
    system_role: Literal["system", "developer", "user"] | None = Field(
        None, description="system, developer or user"
    )


class UpstreamOptions(Section):
    """
    What a provider is asked for, and how.

    Where several have a model, the one of the lowest ``priority`` is asked
    first; among equals chance decides, by ``weight``; the others are asked if
    it fails. Without ``models`` a provider is asked for what no other was named for.
    """

    kind: Literal["openai", "azure"] = Field("openai", description="openai or azure")
    models: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="a list of models' names, or of patterns such as gpt-*"
    )
    aliases: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        {}, description="its models by other names: {gpt-4.1: my-deployment}"
    )
    timeouts: Timeouts = Field(Timeouts(), description="a table with connect, firstByte, silence")
    breaker: Breaker = Field(Breaker(), description="a table with failures and seconds")
    retries: int = Field(2, ge=0, le=10, description="a whole number from 0 to 10")
    priority: int = Field(0, ge=0, description="a whole number, 0 or more")
    weight: float = Field(1.0, gt=0, allow_inf_nan=False, description="a number above 0")
    parameters: dict[str, ModelParameters] = Field(
        {},
        description="tables with drop, outputLimit and systemRole, by the model's name or pattern: "
        "{o3*: {outputLimit: max_completion_tokens}}",
    )
    extra_fields: tuple[FieldName, ...] = Field((), description=_FIELDS)


class Upstream(UpstreamOptions):
    """One provider; its key lies in a file and never stands here."""

    name: str = Field(
        pattern="^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$",
        description="a word of small letters, digits and dashes",
    )
    base_url: WebAddress = Field(
        description="a web address such as http://127.0.0.1:11434/v1; for a deployment of Azure's "
        "https://NAME.openai.azure.com/openai/deployments/{model}?api-version=VERSION"
    )
    key_file: Path | None = Field(None, description="the path of a file that holds the key")


def _differ(upstreams: tuple[Upstream, ...]) -> tuple[Upstream, ...]:
    if len({upstream.name for upstream in upstreams}) < len(upstreams):
        raise PydanticCustomError("same_name", "two of them have the same name")
    return upstreams


_UPSTREAMS = (
    "a list of tables with different names, "
    'such as {name: ollama, baseUrl: "http://127.0.0.1:11434/v1", models: [llama*]}'
)


class Price(Section):
    """What a million tokens of a model cost, in dollars; cached ones as others if not said."""

    prompt: Money = Field(description="dollars for a million tokens, such as 2.50")
    completion: Money = Field(description="dollars for a million tokens, such as 10")
    cached: Money | None = Field(None, description="dollars for a million tokens, such as 1.25")


class Budget(Section):
    """
    What may be spent in a window of time; windows begin at midnight UTC, weeks on Monday.

    Without a ``name`` it is a budget of each user or of each group; one with a
    name stands in the place of that, for the same scope and window.
    """

    scope: Scope = Field(description="user, group or everyone")
    name: str | None = Field(None, min_length=1, description="the name of a user or of a group")
    window: Window = Field(description="day, week, month or total")
    tokens: int | None = Field(None, ge=0, description="a whole number of tokens")
    money: Money | None = Field(None, description="dollars, such as 5.00")

    @after_fields(mode="after")
    def _limits_something(self) -> Self:
        if self.tokens is None and self.money is None:
            raise PydanticCustomError("no_limit", "neither tokens nor money")
        if self.scope == "everyone" and self.name:
            raise PydanticCustomError("no_name", "everyone has no name")
        return self


class Limits(Section):
    """What a user may ask, whatever is left of the budgets."""

    models: tuple[str, ...] | None = Field(None, description="a list of models' names")
    default_model: str | None = Field(
        None, min_length=1, description="the model that the name 'default' stands for"
    )
    max_output_tokens: int | None = Field(None, ge=1, description=_TOKENS)
    max_choices: int | None = Field(
        None, ge=1, le=128, description="a whole number of answers from 1 to 128"
    )
    requests_per_minute: int | None = Field(None, ge=1, description="a whole number, 1 or more")
    concurrent_streams: int | None = Field(None, ge=1, description="a whole number, 1 or more")


class Requests(Section):
    """
    What a request may be, before any budget is looked at.

    A field that is not OpenAI's is refused, or dropped, unless ``extraFields`` names it here,
    for all upstreams, or at one of them. A body that is not there after ``timeout`` is given
    up. The bodies of all requests in progress have ``memory`` together, those of one user
    ``userMemory``: parsed, they take up to five times as much.
    """

    unknown_fields: Literal["refuse", "drop"] = Field("refuse", description="refuse or drop")
    extra_fields: tuple[FieldName, ...] = Field((), description=_FIELDS)
    timeout: float = Field(60.0, gt=0, allow_inf_nan=False, description=_SECONDS)
    memory: Memory = Field(64 * 2**20, description=MEMORY)
    user_memory: Memory = Field(20 * 2**20, description=MEMORY)


class Reservations(Section):
    """
    What a request reserves of the budgets until it is settled.

    ``output`` is for an answer whose request sets no limit. ``longestAnswers`` are what models
    can answer at most, by their names or by patterns. No request reserves more than ``max``.
    """

    output: int = Field(4096, ge=1, description=_TOKENS)
    longest_answers: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {}, description="whole numbers of tokens by model or pattern: {gpt-4.1*: 32768}"
    )
    max: int = Field(200_000, ge=1, description=_TOKENS)


class Database(Section):
    """Where the ledger and the audit lie; without a URL they end with the process."""

    url: SecretStr | None = Field(
        None, description="sqlite:////folder/gateway.sqlite or postgresql://user:word@host/name"
    )


class Audit(Section):
    """What is kept of the tool calls that models ask for."""

    text: bool = Field(False, description="true to keep the code itself, or false")
    retention_days: int = Field(0, ge=0, description="whole days, or 0 for ever")
    key_file: Path | None = Field(
        None, description="the path of a file with the key that signs the records"
    )


_BUDGETS = (
    "a list of tables with scope, window, and tokens or money, "
    "such as {scope: user, window: day, tokens: 100000}"
)


class Gateway(Section):
    """The way to the model; without a key and a base URL the demo model answers."""

    model: str = Field("gpt-4.1", min_length=1, description="the name of a model")
    base_url: WebAddress | None = Field(
        None, description="a web address such as http://127.0.0.1:11434/v1"
    )
    key_file: Path | None = Field(None, description="the path of a file that holds the key")
    upstreams: Annotated[tuple[Upstream, ...], AfterValidator(_differ)] = Field(
        (), description=_UPSTREAMS
    )
    database: Database = Field(Database(), description="a table with url")
    prices: dict[str, Price] = Field(
        {}, description="tables with prompt and completion, by model: {gpt-4.1: {prompt: 2, ...}}"
    )
    budgets: tuple[Budget, ...] = Field((), description=_BUDGETS)
    limits: Limits = Field(Limits(), description="a table such as {requestsPerMinute: 20}")
    groups: dict[str, Limits] = Field(
        {}, description="tables such as {requestsPerMinute: 20}, by group"
    )
    aliases: dict[str, str] = Field({}, description="models by other names: {fast: gpt-4.1-mini}")
    requests: Requests = Field(Requests(), description="a table such as {unknownFields: drop}")
    reservations: Reservations = Field(Reservations(), description="a table such as {max: 100000}")
    audit: Audit = Field(Audit(), description="a table with text and retentionDays")
    open_metrics: bool = Field(False, description="true to show the metrics to all, or false")
    retention_days: int = Field(400, ge=1, description="whole days, 1 or more")


def check(table: Mapping[str, Any]) -> Gateway:
    """Return ``table`` as the section; raises ValueError with a sentence for every problem."""
    try:
        return Gateway.model_validate_json(json.dumps(table, default=str))
    except ValidationError as problem:
        raise ValueError(
            "\n".join(
                f"gateway.{'.'.join(str(part) for part in error['loc'])}: {error['msg']}."
                for error in problem.errors(include_input=False, include_url=False)
            )
        ) from None
