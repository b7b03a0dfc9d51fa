"""
What KubeSpawner is told: the pod of a user, as the values want it.

Called by ``spawner``. Pure: values in, traits out. Everything is set on
KubeSpawner's own section, so that an operator's ``hub.config.KubeSpawner``
lies on top. The pod passes Pod Security *restricted*.
"""

from pathlib import Path
from typing import Any

from traitlets.config import Config

from caesarion_hub.pods import template_check
from caesarion_hub.pods.api import ANSWER
from caesarion_hub.pods.profiles import profile_list
from caesarion_hub.pods.spawner import PodSpawner
from caesarion_hub.values import Cluster, Singleuser, ValuesError

NAME = "caesarion"
HOME, UPLOADS, SCRATCH = "home", "uploaded_files", "tmp"
"""The volumes; the uploads are a folder of the home, so that people see them there too."""

GRACE = 10
"""Seconds that a server gets to save what it holds after SIGTERM; a made-up number."""


TEMPLATES = Path(__file__).with_name("templates")
"""What we say otherwise than JupyterHub's pages, and KubeSpawner's form, about pods."""

OUTAGE = 120
"""Seconds without the Kubernetes API through which a request is tried again; made up."""


def configure(c: Config, singleuser: Singleuser, cluster: Cluster) -> None:
    """Set the spawner, its pods and their disks; raise ValuesError for what it would not read."""
    sentences = [
        *template_check.problems("singleuser.extraEnv", singleuser.extra_env),
        *template_check.problems("singleuser.extraLabels", singleuser.extra_labels),
        *template_check.problems("singleuser.extraAnnotations", singleuser.extra_annotations),
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
            "delete_grace_period": GRACE,
            "profile_list": profile_list(singleuser.profile_list),
            "additional_profile_form_template_paths": [str(TEMPLATES)],
            # Beyond it a request is tried again, until start_timeout is over.
            "k8s_api_request_timeout": ANSWER,
            "k8s_api_request_retry_timeout": max(singleuser.start_timeout, OUTAGE),
        }
    )
    c.PodSpawner.cpu_start_limit = singleuser.cpu.start_limit
    c.KubeSpawner.update(resources(singleuser))
    c.KubeSpawner.update(placement(singleuser))
    c.KubeSpawner.update(security(singleuser))
    c.KubeSpawner.update(storage(singleuser))


def labels(cluster: Cluster) -> dict[str, str]:
    """Return what network policies and people find the pods and disks of a release by."""
    return {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/instance": cluster.release,
        **cluster.labels,
        "app.kubernetes.io/managed-by": "kubespawner",
    }


def environment(singleuser: Singleuser) -> dict[str, str]:
    """Return what a server must know of its pod."""
    return {
        "HOME": singleuser.storage.home_mount_path,
        # Not at home, where a full disk would keep the server from starting.
        "JUPYTER_RUNTIME_DIR": "/tmp/jupyter",  # noqa: S108
        "CAESARION_UPLOADS_FOLDER": singleuser.storage.uploads_mount_path,
    }


def resources(singleuser: Singleuser) -> dict[str, Any]:
    """Return the image and the traits of what a pod may use."""
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
    """Return the traits that say on which nodes, and how, a pod runs."""
    # A server that ends is not started again in its pod, without a word and without its
    # kernels: its user is told why it ended, and starts the next one.
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
        # Without OnRootMismatch every file of a home is touched at each start.
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
    """Return the traits of the home, the uploads in it and a scratch folder."""
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
