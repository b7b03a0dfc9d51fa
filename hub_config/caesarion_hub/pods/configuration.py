"""
Translates the values into KubeSpawner's traits.

Called by :mod:`caesarion_hub.spawner`. KubeSpawner's traits go on ``c.KubeSpawner``,
so that ``hub.config.KubeSpawner`` overrides them; ours go on ``c.PodSpawner``. Refuses
a pod that exceeds ``singleuser.podSecurity``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from string import Formatter
from typing import Any

from kubespawner.objects import make_pod
from traitlets.config import Config

from caesarion_hub.pods.api import REQUEST_TIMEOUT
from caesarion_hub.pods.pod_security import required_level, violations
from caesarion_hub.pods.profiles import all_overrides, profile_list
from caesarion_hub.pods.spawn_errors import shorten
from caesarion_hub.pods.spawner import PodSpawner
from caesarion_hub.values import Cluster, Profile, Singleuser, Values, ValuesError, merge

NAME = "caesarion"
HOME, UPLOADS, SCRATCH = "home", "uploaded_files", "tmp"
"""Names of the volumes; uploads are a folder of the home, where users see them as well."""

STOP_GRACE = 10
"""Seconds that a server has after SIGTERM to save its work; an estimate."""

TEMPLATES = Path(__file__).with_name("templates")
"""Our extensions of JupyterHub's page templates, and the form of the spawn page."""

API_RETRY_TIMEOUT = 120
"""Seconds for which a request is retried while the Kubernetes API fails; an estimate."""

LIST_TRAITS = {"extra_containers", "init_containers", "volumes"}
SECURITY_TRAITS = (
    *("allow_privilege_escalation", "container_security_context", "extra_container_config"),
    *("extra_pod_config", "fs_gid", "gid", "lifecycle_hooks", "pod_security_context"),
    *("privileged", "supplemental_gids", "uid", *sorted(LIST_TRAITS)),
)
"""The traits that decide about Pod Security; ``LIST_TRAITS`` may be tables as well."""

USUAL_FIELDS = ("username", "servername", "user_server", "unescaped_username", "userid")
FIELDS = {
    *USUAL_FIELDS,
    *("unescaped_servername", "hubnamespace", "namespace", "pod_name", "pvc_name"),
    *("safe_username", "safe_servername", "safe_user_server"),
    *("escaped_username", "escaped_servername", "escaped_user_server"),
}
"""The fields that ``KubeSpawner._expand_user_properties`` fills in, in KubeSpawner 7.1."""


def configure(c: Config, values: Values, cluster: Cluster) -> None:
    """Set the spawner class and its traits; raise ValuesError for what no start could use."""
    singleuser = values.singleuser
    sentences = [
        *template_problems("singleuser.extraEnv", singleuser.extra_env),
        *template_problems("singleuser.extraLabels", singleuser.extra_labels),
        *template_problems("singleuser.extraAnnotations", singleuser.extra_annotations),
    ]
    if sentences:
        raise ValuesError("\n".join(sentences))
    c.JupyterHub.spawner_class = PodSpawner
    c.JupyterHub.template_paths.prepend([str(TEMPLATES)])
    c.Spawner.cmd = ["caesarion-singleuser"]
    c.Spawner.environment.update(environment(singleuser))
    c.KubeSpawner.update(
        {
            "namespace": cluster.user_namespace,
            "common_labels": labels(cluster),
            "extra_labels": singleuser.extra_labels,
            "extra_annotations": singleuser.extra_annotations,
            "delete_grace_period": STOP_GRACE,
            "profile_list": profile_list(singleuser.profile_list),
            "additional_profile_form_template_paths": [str(TEMPLATES)],
            "slow_spawn_message": "It has taken {seconds} seconds so far.",
            # A Kubernetes API request that takes longer is repeated, until
            # k8s_api_request_retry_timeout.
            "k8s_api_request_timeout": REQUEST_TIMEOUT,
            "k8s_api_request_retry_timeout": max(singleuser.start_timeout, API_RETRY_TIMEOUT),
        }
    )
    c.PodSpawner.update(
        {
            "cpu_start_limit": singleuser.cpu.start_limit,
            "pod_security": singleuser.pod_security,
            "warm_replicas": singleuser.warm.replicas,
            "warm_profile": warm_profile(values),
        }
    )
    c.KubeSpawner.update(resources(singleuser))
    c.KubeSpawner.update(placement(singleuser))
    c.KubeSpawner.update(security(singleuser))
    c.KubeSpawner.update(storage(singleuser))
    sections = [c.KubeSpawner, c.PodSpawner]
    sections += [values.hub.config.get(each.__name__, {}) for each in reversed(PodSpawner.mro())]
    if sentences := list(security_problems(merge(sections), singleuser.profile_list)):
        raise ValuesError("\n".join(sentences))


def warm_profile(values: Values) -> str:
    """
    Return the slug of the profile of warm pods, or an empty string for the default one.

    If homes are on volumes, only sandboxes can have warm pods.
    """
    singleuser, boxes = values.singleuser, values.api.sandboxes
    only_sandboxes = singleuser.storage.type == "dynamic" and values.has_sandboxes
    return singleuser.warm.profile or (only_sandboxes and boxes.profile) or ""


def template_problems(key: str, texts: Mapping[str, str]) -> Iterator[str]:
    """
    Yield a sentence for each of ``texts`` that KubeSpawner cannot expand.

    KubeSpawner expands ``{username}`` and the like with ``str.format``. A text
    with other braces, such as JSON in a variable, would fail every start.
    """
    for name, text in texts.items():
        if not is_expandable(text):
            yield (
                f"{key}.{name} is {json.dumps(text, ensure_ascii=False)}; words in braces must be "
                f"among {', '.join(USUAL_FIELDS)}. Write {{{{ and }}}} for literal braces."
            )


def is_expandable(text: str) -> bool:
    """Return whether KubeSpawner knows every field in braces."""
    try:
        fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
    except ValueError:
        return False
    return FIELDS.issuperset(fields)


def labels(cluster: Cluster) -> dict[str, str]:
    """Return the labels that select a release's pods and volumes, as network policies do."""
    return {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/instance": cluster.release,
        **cluster.labels,
        "app.kubernetes.io/managed-by": "kubespawner",
    }


def environment(singleuser: Singleuser) -> dict[str, str]:
    """Return the environment variables that describe the pod to the server."""
    return {
        "HOME": singleuser.storage.home_mount_path,
        # Not in the home: a full volume would prevent the server from starting.
        "JUPYTER_RUNTIME_DIR": "/tmp/jupyter",  # noqa: S108
        "CAESARION_UPLOADS_FOLDER": singleuser.storage.uploads_mount_path,
    }


def resources(singleuser: Singleuser) -> dict[str, Any]:
    """Return the traits for the image and the pod's resources."""
    image, cpu, memory, extra = (
        singleuser.image,
        singleuser.cpu,
        singleuser.memory,
        singleuser.extra_resource,
    )
    return {
        "image": image.reference,
        "image_pull_policy": image.pull_policy,
        "image_pull_secrets": list(image.pull_secrets),
        "cpu_guarantee": cpu.guarantee,
        "cpu_limit": cpu.limit,
        "mem_guarantee": memory.guarantee,
        "mem_limit": memory.limit,
        "extra_resource_guarantees": extra.guarantees,
        "extra_resource_limits": extra.limits,
    }


def placement(singleuser: Singleuser) -> dict[str, Any]:
    """Return the traits that decide on which nodes, and how, a pod runs."""
    # Kubernetes would restart a crashed server silently and without its kernels. With
    # Never its user reads why it stopped, and starts a new one.
    pod: dict[str, Any] = {"enableServiceLinks": False, "restartPolicy": "Never"}
    if singleuser.runtime_class_name:
        pod["runtimeClassName"] = singleuser.runtime_class_name
    return {
        "node_selector": singleuser.node_selector,
        "tolerations": [
            toleration.model_dump(by_alias=True, exclude_none=True)
            for toleration in singleuser.extra_tolerations
        ],
        "priority_class_name": singleuser.priority_class_name or "",
        "extra_pod_config": pod | singleuser.extra_pod_config,
    }


def security(singleuser: Singleuser) -> dict[str, Any]:
    """Return the traits that keep a pod within Pod Security *restricted*."""
    common = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "uid": singleuser.uid,
        "gid": singleuser.gid,
        "fs_gid": singleuser.fs_gid,
        # By default Kubernetes changes the owner of every file in a home at each start.
        "pod_security_context": common | {"fsGroupChangePolicy": "OnRootMismatch"},
        "container_security_context": common
        | {
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": singleuser.read_only_root_filesystem,
        },
        "allow_privilege_escalation": False,
        "privileged": False,
        "service_account": singleuser.service_account_name,
        "automount_service_account_token": False,
    }


def security_problems(traits: Mapping[str, Any], profiles: Sequence[Profile]) -> Iterator[str]:
    """
    Yield a sentence for each way in which pods would exceed ``singleuser.podSecurity``.

    ``traits`` are the spawner's, with the operator's own. What depends on a user,
    such as free text in a profile, is checked at each start (``objects``).
    """
    where = "singleuser.extraPodConfig or hub.config.KubeSpawner"
    if sentence := _violation(traits, where, "singleuser.podSecurity"):
        yield sentence
        return
    for key, overrides in all_overrides([profile.model_dump() for profile in profiles]):
        place = f"{key}.kubespawner_override"
        if sentence := _violation(merge([traits, overrides]), place, f"{place}.pod_security"):
            yield sentence


def _violation(traits: Mapping[str, Any], where: str, remedy: str) -> str:
    """Return a sentence if the pod of ``traits`` exceeds the level in them, else nothing."""
    given = {name: deepcopy(traits[name]) for name in SECURITY_TRAITS if name in traits}
    for name in LIST_TRAITS & given.keys():
        if isinstance(table := given[name], dict):
            given[name] = [table[key] for key in sorted(table)]
    try:
        pod = make_pod(name="pod", cmd=[], port=8888, image="image", **given)
    except (KeyError, TypeError, ValueError) as problem:
        return f"{where} cannot be used: {shorten(str(problem))}."
    level, spec = traits["pod_security"], plain(pod.spec.to_dict(serialize=True))
    if not (found := violations(level, spec)):
        return ""
    return (
        f"{where} violates Pod Security {level}: {'; '.join(found)}. "
        f"Change it, or set {remedy} to {required_level(spec)}."
    )


def plain(value: Any) -> Any:
    """Return a table of a model of the client's without the fields that are not set."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if inner is not None}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def storage(singleuser: Singleuser) -> dict[str, Any]:
    """Return the traits for the home, the uploads folder in it, and a scratch folder."""
    disk = singleuser.storage
    home: dict[str, Any] = {"emptyDir": {"sizeLimit": disk.capacity}}
    if disk.type == "dynamic":
        home = {"persistentVolumeClaim": {"claimName": "{pvc_name}"}}
    return {
        "storage_pvc_ensure": disk.type == "dynamic",
        "storage_capacity": disk.capacity,
        "storage_class": disk.storage_class,
        "storage_access_modes": list(disk.access_modes),
        "delete_pvc": singleuser.delete_pvc_with_user,
        "working_dir": disk.home_mount_path,
        "volumes": [{"name": HOME, **home}, {"name": SCRATCH, "emptyDir": {}}],
        "volume_mounts": [
            {"name": HOME, "mountPath": disk.home_mount_path},
            {"name": HOME, "mountPath": disk.uploads_mount_path, "subPath": UPLOADS},
            {"name": SCRATCH, "mountPath": "/tmp"},  # noqa: S108
        ],
    }
