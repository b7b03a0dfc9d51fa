"""
The keys of the values: :class:`Values` and its sections.

Used by ``validation``. ``singleuser`` and ``gateway`` define the sections of
those names, ``fields`` the types of single fields.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr
from pydantic import model_validator as after_fields
from pydantic_core import PydanticCustomError

from caesarion_hub.values.fields import Port, Section, WebAddress
from caesarion_hub.values.gateway import GATEWAY_FILE, Gateway
from caesarion_hub.values.singleuser import Singleuser

OUR_AUTHENTICATOR = "shared-password"
"""JupyterHub's name for the authenticator that is used unless the operator names another."""

RUN_VARIABLE = "CAESARION_RUN"
"""Carries ``local.run`` in the environment of every process that ``make up`` starts."""

_COUNT = "a whole number, or 0 for no limit"


class Auth(Section):
    """
    The two passwords with which people log in: the users' and the administrators'.

    They may be missing only if ``hub.config`` names another authenticator.
    """

    admin_users: tuple[str, ...] = Field((), description="a list of user names")
    user_password: SecretStr | None = Field(
        None, min_length=8, description="a text of 8 or more characters"
    )
    admin_password: SecretStr | None = Field(
        None, min_length=32, description="a text of 32 or more characters"
    )

    @after_fields(mode="after")
    def _passwords_differ(self) -> Self:
        if self.admin_password and self.admin_password == self.user_password:
            raise PydanticCustomError("same_password", "the passwords are the same")
        return self


class Db(Section):
    """The hub's database."""

    url: str | None = Field(
        None, min_length=1, description="an address such as postgresql+psycopg2://..."
    )


class Role(Section):
    """A role for ``JupyterHub.load_roles``, whose name is its key."""

    description: str | None = Field(None, description="a text")
    scopes: tuple[str, ...] = Field((), description="a list of scopes")
    users: tuple[str, ...] = Field((), description="a list of user names")
    services: tuple[str, ...] = Field((), description="a list of names of services")
    groups: tuple[str, ...] = Field((), description="a list of names of groups")


class Service(Section):
    """A JupyterHub service, whose name is its key; keys are JupyterHub's except ``apiToken``."""

    url: WebAddress | None = Field(None, description="a web address such as http://x:8000")
    api_token: SecretStr | None = Field(None, description="a text")
    admin: bool = Field(False, description="true or false")
    display: bool = Field(True, description="true or false")
    command: tuple[str, ...] = Field((), description="a command as a list of words")
    environment: dict[str, str] = Field({}, description="texts by variable")
    info: dict[str, Any] = Field({}, description="a table of keys")
    oauth_client_id: str | None = Field(None, alias="oauth_client_id", description="a text")
    oauth_no_confirm: bool = Field(False, alias="oauth_no_confirm", description="true or false")
    oauth_redirect_uri: str | None = Field(
        None, alias="oauth_redirect_uri", description="a web address or a path"
    )
    oauth_client_allowed_scopes: tuple[str, ...] = Field(
        (), alias="oauth_client_allowed_scopes", description="a list of scopes"
    )


class Hub(Section):
    """The hub itself."""

    base_url: str = Field("/", pattern="^/([^?#]*/)?$", description="a path such as / or /lab/")
    subdomain_host: str | None = Field(
        None,
        pattern=r"^https?://[^/?#@\s]+$",
        description="a web address without a path, such as https://hub.example.org",
    )
    sticky_cookie: str | None = Field(
        None, pattern="^[a-z0-9-]+$", description="lower-case letters, digits and hyphens"
    )
    config: dict[str, dict[str, Any]] = Field({}, description="tables of traits by class")
    db: Db = Db()
    allow_named_servers: bool = Field(False, description="true or false")
    named_server_limit_per_user: int = Field(0, ge=0, description=_COUNT)
    concurrent_spawn_limit: int = Field(64, ge=0, description=_COUNT)
    active_server_limit: int = Field(0, ge=0, description=_COUNT)
    consecutive_failure_limit: int = Field(0, ge=0, description=_COUNT)
    load_roles: dict[str, Role] = Field({}, description="roles by name")
    services: dict[str, Service] = Field({}, description="services by name")


Mode = Literal["read-only", "plan", "ask", "accept-edits", "auto"]
_MODES = "read-only, plan, ask, accept-edits or auto"


class Agent(Section):
    """Whether the agent changes notebooks and runs code by itself."""

    approval: Mode = Field("auto", description=_MODES)
    max_approval: Mode = Field("auto", description=_MODES)
    program_approvals: bool = Field(False, description="true or false")
    background_max_minutes: int = Field(120, ge=0, description="whole minutes, 0 or more")


class Cull(Section):
    """When an idle server is stopped."""

    enabled: bool = Field(True, description="true or false")
    timeout: int = Field(3600, ge=1, description="whole seconds, 1 or more")
    every: int = Field(600, ge=1, description="whole seconds, 1 or more")
    max_age: int = Field(0, ge=0, description="whole seconds, or 0 for no limit")
    users: bool = Field(False, description="true or false")


class Logs(Section):
    """The form of the hub's log, and of those of users' servers."""

    format: Literal["json", "text"] = Field("text", description="json or text")
    level_key: str = Field("level", min_length=1, description="a key such as level or severity")


class Traces(Section):
    """The collector that traces are sent to, as OTLP over HTTP; without an endpoint, none are."""

    endpoint: WebAddress | None = Field(
        None, description="a web address such as http://alloy.monitoring:4318"
    )
    sampling: float = Field(1, ge=0, le=1, description="a share of the turns, from 0 to 1")
    content: bool = Field(False, description="true or false")

    def environment(self, component: str) -> dict[str, str]:
        """Return OpenTelemetry's variables for the processes of ``component``."""
        if not self.endpoint:
            return {}
        return {
            "OTEL_SERVICE_NAME": f"caesarion-{component}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint.rstrip("/"),
            # By the trace's id alone: all components choose the same turns, and no caller does.
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": f"{self.sampling:g}",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": str(self.content).lower(),
        }


class Monitoring(Section):
    """What operators see from outside."""

    logs: Logs = Logs()
    traces: Traces = Traces()


class Sandboxes(Section):
    """Named servers with a deadline, which programs start."""

    enabled: bool = Field(True, description="true or false")
    per_user: int = Field(5, ge=1, description="a whole number, 1 or more")
    timeout: int = Field(3600, ge=1, description="whole seconds, 1 or more")
    max_timeout: int = Field(86_400, ge=1, description="whole seconds, 1 or more")
    profile: str | None = Field(None, min_length=1, description="the slug of a profile")


Origin = Annotated[str, Field(pattern=r"^https?://[^/?#@*\s]+$")]


class Api(Section):
    """The api service, for programs."""

    enabled: bool = Field(True, description="true or false")
    origins: tuple[Origin, ...] = Field(
        (), description="a list of web addresses without a path, such as https://app.example.org"
    )
    sandboxes: Sandboxes = Sandboxes()


class Local(Section):
    """The facts that ``make up`` determines about its machine at each start."""

    folder: Path = Field(description="the path of the folder that holds the hub's state")
    run: str = Field(min_length=1, description="a word that marks the processes of this start")
    port: Port
    hub_port: Port
    proxy_api_port: Port
    gateway_port: Port
    api_port: Port
    proxy_command: tuple[str, ...] = Field(min_length=1, description="a command as a list of words")

    @property
    def gateway_file(self) -> Path:
        """The YAML file in which ``make up`` hands the gateway its own section."""
        return self.folder / GATEWAY_FILE


class Cluster(Section):
    """The facts that the chart determines about its release."""

    name: str = Field(min_length=1, description="the prefix of the names of the release's objects")
    release: str = Field(min_length=1, description="the name of the release")
    namespace: str = Field(min_length=1, description="the namespace of the hub")
    user_namespace: str = Field(min_length=1, description="the namespace of the users' pods")
    hub_url: WebAddress = Field(description="a web address such as http://caesarion-hub:8081")
    proxy_api_url: WebAddress = Field(
        description="a web address such as http://caesarion-proxy-api:8001"
    )
    gateway_url: WebAddress = Field(description="a web address such as http://caesarion-gateway")
    api_url: WebAddress = Field(description="a web address such as http://caesarion-api")
    gateway_token: SecretStr = Field(min_length=16, description="a text of 16 or more characters")
    metrics_token: SecretStr | None = Field(
        None, min_length=16, description="a text of 16 or more characters"
    )
    labels: dict[str, str] = Field({}, description="texts by label")


class Values(Section):
    """All values. Exactly one of ``local`` and ``cluster`` is set."""

    auth: Auth = Auth()
    hub: Hub = Hub()
    singleuser: Singleuser = Singleuser()
    agent: Agent = Agent()
    gateway: Gateway = Gateway()
    api: Api = Api()
    cull: Cull = Cull()
    monitoring: Monitoring = Monitoring()
    local: Local | None = None
    cluster: Cluster | None = None

    @property
    def has_sandboxes(self) -> bool:
        """Whether programs may start sandboxes."""
        return self.api.enabled and self.api.sandboxes.enabled

    @property
    def authenticator(self) -> str:
        """JupyterHub's name of the authenticator: ours, unless ``hub.config`` names another."""
        named = self.hub.config.get("JupyterHub", {}).get("authenticator_class")
        return str(named or OUR_AUTHENTICATOR)

    @property
    def deployment(self) -> Local | Cluster:
        """The section that is set: ``local`` or ``cluster``."""
        deployment = self.local or self.cluster
        assert deployment is not None  # validation.py guarantees it
        return deployment

    @property
    def local_deployment(self) -> Local:
        """The section ``local``, for ``make up``, which always sets it."""
        assert self.local is not None
        return self.local
