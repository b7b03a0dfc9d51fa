"""The bodies of the REST API, as the OpenAPI document shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints

from caesarion_hub.bodies import Bounded, few
from caesarion_hub.sandboxes import MAX_ENTRIES

MAX_MESSAGES = 1_000
"""Messages of a question's history."""

MAX_TEXT = 1_048_576
"""Characters of a message or of code, which no body can exceed."""

SandboxId = Annotated[
    str,
    Field(
        description="A sandbox's id, or `home`: the user's own server.",
        examples=["home"],
        max_length=100,
    ),
]
SessionId = Annotated[
    str,
    Field(
        description="A name of your choice: the same name uses the same kernel.",
        examples=["mine"],
        min_length=1,
        max_length=200,
    ),
]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=256)],
        Annotated[str, StringConstraints(max_length=4096)],
    ],
    few(MAX_ENTRIES),
    Field(max_length=MAX_ENTRIES),
]
Environment = Annotated[
    dict[
        Annotated[str, StringConstraints(max_length=256)],
        Annotated[str, StringConstraints(max_length=32_768)],
    ],
    few(MAX_ENTRIES),
    Field(max_length=MAX_ENTRIES),
]
Path = Annotated[str, StringConstraints(max_length=4096)]
KernelId = Annotated[str, StringConstraints(max_length=200)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class Body(Bounded):
    """A body of a request; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(BaseModel):
    """Why a call failed."""

    code: str = Field(examples=["not_found"])
    message: str = Field(examples=["There is no sandbox 'sandbox-x': it has ended."])


class Error(BaseModel):
    """The one shape of all errors."""

    error: ErrorDetail


class Message(Body):
    """One message of the history."""

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1, max_length=MAX_TEXT)


class Chat(Body):
    """A question: the whole history, whose last message is the user's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"messages": [{"role": "user", "content": "plot a sine wave"}]}]
        }
    )

    messages: Annotated[list[Message], FailFast()] = Field(min_length=1, max_length=MAX_MESSAGES)
    session_id: SessionId | None = None
    sandbox_id: SandboxId = "home"
    notebook_path: Path | None = None
    approval: Literal["read-only", "plan", "ask", "accept-edits", "auto"] | None = None
    background: bool = Field(False, description="Answer at once with a run, which goes on alone.")


class Execute(Body):
    """Code to run; without a session, in a kernel that is deleted afterwards."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "1+1"}]})

    code: Text
    session_id: SessionId | None = None
    notebook_path: Path | None = None
    kernel_id: KernelId | None = None
    background: bool = Field(False, description="Answer at once with a run, which goes on alone.")


class Initialize(Body):
    """Where a session is to be."""

    sandbox_id: SandboxId = "home"


class Session(BaseModel):
    """A session; `ready` when its kernel has started."""

    session_id: str
    sandbox_id: str
    state: Literal["starting", "ready"]


class NewSandbox(Body):
    """What a sandbox is to be."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"timeout": 600, "metadata": {"purpose": "demo"}}]}
    )

    profile: str | None = Field(
        None, max_length=256, description="One of the operator's profiles, by its slug."
    )
    timeout: int | None = Field(None, ge=1, description="Seconds until it is ended.")
    metadata: Metadata = Field({})
    env: Environment = Field(
        {}, description="Variables of its kernels and commands. The hub's database keeps them."
    )


class Timeout(Body):
    """A new deadline."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"timeout": 600}]})

    timeout: int = Field(ge=1, description="Seconds from now.")


class Sandbox(BaseModel):
    """A sandbox; `url` is its path on the hub."""

    id: str
    owner: str
    profile: str | None
    state: Literal["starting", "ready", "stopping"]
    created_at: str
    expires_at: str
    metadata: dict[str, str]
    url: str


class Upload(BaseModel):
    """An uploaded file."""

    name: str
    size: int
    path: str
    attachment: str
    preview: str


class File(BaseModel):
    """A file in a server's folder of uploads."""

    name: str
    size: int
    path: str


class NewRun(Bounded):
    """A run: its kind, and the body of the call of that kind."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"kind": "execute", "code": "1+1"}]}
    )

    kind: Literal["chat", "execute", "notebook"]
    idempotency_key: str | None = Field(None, max_length=200)


Json = dict[str, Any]
