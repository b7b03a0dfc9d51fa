"""
Pod Security "restricted", as Kubernetes' Pod Security Standards word it.

Law: pure. ``violations`` takes a pod's spec, rendered by the chart or made by
KubeSpawner, and returns a sentence for each control that it breaks. Source:
https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}

SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}

SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}

Spec = Mapping[str, Any]


def violations(pod: Spec) -> list[str]:
    """Return what is not restricted about a pod's spec, empty if all is."""
    return [*_of_pod(pod), *(line for c in _containers(pod) for line in _of_container(c, pod))]


def _containers(pod: Spec) -> Iterator[Spec]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.get(kind) or []


def _of_pod(pod: Spec) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{name} is true"
    for volume in pod.get("volumes") or []:
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    security = pod.get("securityContext") or {}
    for sysctl in security.get("sysctls") or []:
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']} is set"
    yield from _of_context("the pod", security)


def _of_container(container: Spec, pod: Spec) -> Iterator[str]:
    name = f"container {container['name']}"
    own = container.get("securityContext") or {}
    both = {**(pod.get("securityContext") or {}), **own}
    yield from _of_context(name, own)
    if own.get("privileged"):
        yield f"{name} is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may gain privileges"
    if own.get("procMount", "Default") != "Default":
        yield f"{name} has a procMount"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield f"{name} does not drop all capabilities"
    for capability in set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"{name} adds the capability {capability}"
    if both.get("runAsNonRoot") is not True:
        yield f"{name} may run as root"
    if (both.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield f"{name} has no seccomp profile"
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"{name} has a port of the host"
    for hook, handler in _handlers(container):
        for action in ("httpGet", "tcpSocket"):
            if (handler.get(action) or {}).get("host"):
                yield f"{hook} of {name} asks a host"


def _handlers(container: Spec) -> Iterator[tuple[str, Spec]]:
    for hook in ("startupProbe", "livenessProbe", "readinessProbe"):
        yield hook, container.get(hook) or {}
    for hook in ("postStart", "preStop"):
        yield hook, (container.get("lifecycle") or {}).get(hook) or {}


def _of_context(whose: str, context: Spec) -> Iterator[str]:
    """What a pod's and a container's securityContext have in common."""
    if context.get("runAsUser") == 0:
        yield f"{whose} runs as root"
    if context.get("runAsNonRoot") is False:
        yield f"{whose} allows root"
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield f"{whose} is outside seccomp"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield f"{whose} is outside AppArmor"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in SELINUX or selinux.get("user") or selinux.get("role"):
        yield f"{whose} sets SELinux options"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{whose} is a process of the host"
