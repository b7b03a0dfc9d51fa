"""
Translates the values into KubeSpawner's traits.

Called by ``spawner``. Pure: values in, traits out. All traits are set on the
section ``KubeSpawner``, so that ``hub.config.KubeSpawner`` overrides them. The
resulting pod complies with Pod Security *restricted*.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any

from traitlets.config import Config

from caesarion_hub.pods.api import REQUEST_TIMEOUT
from caesarion_hub.pods.profiles import profile_list
from caesarion_hub.pods.spawner import PodSpawner
from caesarion_hub.values import Cluster, Singleuser, ValuesError

NAME = "caesarion"
HOME, UPLOADS, SCRATCH = "home", "uploaded_files", "tmp"
"""Names of the volumes; uploads are a folder of the home, where users see them as well."""

STOP_GRACE = 10
"""Seconds that a server has after SIGTERM to save its work; an estimate."""

TEMPLATES = Path(__file__).with_name("templates")
"""Our extensions of JupyterHub's page templates, and the form of the spawn page."""

API_RETRY_TIMEOUT = 120
"""Seconds for which a request is retried while the Kubernetes API fails; an estimate."""

USUAL_FIELDS = ("username", "servername", "user_server", "unescaped_username", "userid")
FIELDS = {
    *USUAL_FIELDS,
    *("unescaped_servername", "hubnamespace", "namespace", "pod_name", "pvc_name"),
    *("safe_username", "safe_servername", "safe_user_server"),
    *("escaped_username", "escaped_servername", "escaped_user_server"),
}
"""The fields that ``KubeSpawner._expand_user_properties`` fills in, in KubeSpawner 7.1."""


def configure(c: Config, singleuser: Singleuser, cluster: Cluster) -> None:
    """Set the spawner class and its traits; raise ValuesError for texts that it cannot expand."""
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
            # After this a request is made again, until start_timeout.
            "slow_spawn_message": "It has taken {seconds} seconds so far.",
            "k8s_api_request_timeout": REQUEST_TIMEOUT,
            "k8s_api_request_retry_timeout": max(singleuser.start_timeout, API_RETRY_TIMEOUT),
        }
    )
    c.PodSpawner.cpu_start_limit = singleuser.cpu.start_limit
    c.KubeSpawner.update(resources(singleuser))
    c.KubeSpawner.update(placement(singleuser))
    c.KubeSpawner.update(security(singleuser))
    c.KubeSpawner.update(storage(singleuser))


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
