"""The section ``singleuser``: a user's server and the pod that it runs in. Used by ``schema``."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from slugify import slugify

from caesarion_hub.values.fields import CORES, MEMORY, Amount, Capacity, Cores, Memory, Section

_GIB = 2**30
_TEXTS = "texts by name"
_TABLE = "a table of keys"
_COUNT = "a whole number, 0 or more"


class Image(Section):
    """The image of a user's pod."""

    name: str = Field("caesarion/singleuser", min_length=1, description="the name of an image")
    tag: str | None = Field(None, min_length=1, description="a tag of the image, a text")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="Always, IfNotPresent or Never"
    )
    pull_secrets: tuple[str, ...] = Field((), description="a list of names of Secrets")

    @property
    def reference(self) -> str:
        """The full name of the image, tag included."""
        return f"{self.name}:{self.tag}" if self.tag else self.name


class Cpu(Section):
    """CPU cores: guaranteed, at most, and at most until the server is ready."""

    guarantee: Cores | None = Field(0.1, description=CORES)
    limit: Cores | None = Field(0.5, description=CORES)
    start_limit: Cores | None = Field(2.0, description=CORES)


class MemoryShare(Section):
    """Memory: guaranteed, and at most; a container that exceeds the limit is killed."""

    guarantee: Memory | None = Field(2 * _GIB, description=MEMORY)
    limit: Memory | None = Field(5 * _GIB, description=MEMORY)


class ExtraResource(Section):
    """Extended resources, such as ``nvidia.com/gpu``."""

    guarantees: dict[str, Amount] = Field({}, description="amounts by name of the resource")
    limits: dict[str, Amount] = Field({}, description="amounts by name of the resource")


class Storage(Section):
    """Where a user's home and uploads are stored: on a volume per user, or in the pod."""

    type: Literal["dynamic", "none"] = Field("dynamic", description="dynamic or none")
    capacity: Capacity = Field("10Gi", description="an amount such as 10Gi")
    storage_class: str | None = Field(None, description="the name of a StorageClass")
    access_modes: tuple[str, ...] = Field(
        ("ReadWriteOnce",), min_length=1, description="a list such as [ReadWriteOnce]"
    )
    home_mount_path: str = Field("/home/jovyan", pattern="^/.", description="an absolute path")
    uploads_mount_path: str = Field(
        "/uploaded_files", pattern="^/.", description="an absolute path"
    )


class Toleration(Section):
    """A toleration: a node taint that user pods accept."""

    key: str | None = Field(None, description="the key of a taint")
    operator: Literal["Exists", "Equal"] | None = Field(None, description="Exists or Equal")
    value: str | None = Field(None, description="the value of a taint, a text")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="NoSchedule, PreferNoSchedule or NoExecute"
    )
    toleration_seconds: int | None = Field(None, description="whole seconds")


class SnakeSection(Section):
    """A table with KubeSpawner's own keys, which have underscores."""

    model_config = ConfigDict(alias_generator=None)


class Choice(SnakeSection):
    """One choice of a profile option."""

    display_name: str = Field(min_length=1, description="a text for the spawn page")
    default: bool = Field(False, description="true or false")
    kubespawner_override: dict[str, Any] = Field({}, description=_TABLE)


class UnlistedChoice(SnakeSection):
    """A free-text choice, which users fill in themselves."""

    enabled: bool = Field(False, description="true or false")
    display_name: str = Field("Other", description="a text for the spawn page")
    display_name_in_choices: str | None = Field(None, description="a text for the spawn page")
    validation_regex: str | None = Field(None, description="a regular expression")
    validation_message: str | None = Field(None, description="a text for the spawn page")
    kubespawner_override: dict[str, Any] = Field({}, description=_TABLE)


class Option(SnakeSection):
    """An option that users choose within a profile."""

    display_name: str = Field(min_length=1, description="a text for the spawn page")
    choices: dict[str, Choice] = Field({}, description="choices by name")
    unlisted_choice: UnlistedChoice | None = Field(None, description=_TABLE)


class Profile(SnakeSection):
    """A kind of server that users choose on the spawn page."""

    display_name: str = Field(min_length=1, description="a text for the spawn page")
    slug: str | None = Field(None, min_length=1, description="a word for addresses")
    description: str | None = Field(None, description="a text for the spawn page")
    default: bool = Field(False, description="true or false")
    kubespawner_override: dict[str, Any] = Field({}, description=_TABLE)
    profile_options: dict[str, Option] = Field({}, description="options by name")

    @property
    def name(self) -> str:
        """The slug, which KubeSpawner makes from the display name if there is none."""
        return self.slug or str(slugify(self.display_name))


class Warm(Section):
    """Servers that wait for a user, so that a start takes no time; ``profile`` is a slug."""

    replicas: int = Field(0, ge=0, description=_COUNT)
    profile: str | None = Field(
        None, min_length=1, description="the slug of a profile in singleuser.profileList"
    )


class ContentSecurityPolicy(Section):
    """What the browser may load in users' servers: their own origin, and named hosts."""

    enabled: bool = Field(False, description="true or false")
    hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9.:/*_-]*$")], ...] = Field(
        (), description="a list of hosts such as https://cdn.example.org"
    )

    @property
    def header(self) -> str:
        """
        The value of the HTTP header.

        JupyterLab needs inline styles and evaluates scripts. ``frame-ancestors`` is
        what JupyterHub 6.1 sets without this.
        """
        hosts = "".join(f" {host}" for host in self.hosts)
        directives = {
            "default-src": f"'self' data: blob:{hosts}",
            "script-src": f"'self' 'unsafe-inline' 'unsafe-eval' blob:{hosts}",
            "style-src": f"'self' 'unsafe-inline'{hosts}",
            "form-action": f"'self'{hosts}",
            "base-uri": "'self'",
            "frame-ancestors": "'none'",
        }
        return "; ".join(f"{name} {sources}" for name, sources in directives.items())


class Singleuser(Section):
    """A user's Jupyter server; all keys but the first five are about its pod."""

    default_url: str = Field("/lab", pattern="^/", description="a path such as /lab")
    start_timeout: int = Field(60, ge=1, description="whole seconds, 1 or more")
    content_security_policy: ContentSecurityPolicy = ContentSecurityPolicy()
    user_configuration: bool = Field(False, description="true or false")
    extra_env: dict[str, str] = Field({}, description='texts by variable, numbers quoted: "600"')
    image: Image = Image()
    cpu: Cpu = Cpu()
    memory: MemoryShare = MemoryShare()
    extra_resource: ExtraResource = ExtraResource()
    storage: Storage = Storage()
    node_selector: dict[str, str] = Field({}, description=_TEXTS)
    extra_tolerations: tuple[Toleration, ...] = Field((), description="a list of tolerations")
    runtime_class_name: str | None = Field(None, description="the name of a RuntimeClass")
    priority_class_name: str | None = Field(None, description="the name of a PriorityClass")
    service_account_name: str | None = Field(None, description="the name of a ServiceAccount")
    extra_labels: dict[str, str] = Field({}, description=_TEXTS)
    extra_annotations: dict[str, str] = Field({}, description=_TEXTS)
    pod_security: Literal["restricted", "baseline", "privileged"] = Field(
        "restricted", description="restricted, baseline or privileged"
    )
    extra_pod_config: dict[str, Any] = Field({}, description=_TABLE)
    uid: int = Field(1000, ge=1, description="the number of a user, 1 or more")
    gid: int = Field(100, ge=0, description=_COUNT)
    fs_gid: int = Field(100, ge=0, description=_COUNT)
    read_only_root_filesystem: bool = Field(True, description="true or false")
    delete_pvc_with_user: bool = Field(True, description="true or false")
    profile_list: tuple[Profile, ...] = Field((), description="a list of profiles")
    warm: Warm = Warm()
