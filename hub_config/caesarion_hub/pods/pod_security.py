"""
The Pod Security Standards: how a pod violates *baseline* or *restricted*.

Called by ``configuration`` and ``objects``, which refuse users' pods that exceed
``singleuser.podSecurity``, whether or not the namespace enforces a level. Pure.
The checks and the messages are those of Kubernetes 1.37, for Linux:
https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Spec = Mapping[str, Any]

LEVELS = ("privileged", "baseline", "restricted")

BASELINE_CAPABILITIES = {
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
}
VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def violations(level: str, spec: Spec) -> list[str]:
    """Return how a pod's spec violates a level, one message for each check."""
    if level == "privileged":
        return []
    found = [text for check in BASELINE for text in check(spec)]
    if level == "restricted":
        found += [text for check in RESTRICTED for text in check(spec)]
    return found


def required_level(spec: Spec) -> str:
    """Return the strictest level that a pod's spec complies with."""
    return next(level for level in reversed(LEVELS) if not violations(level, spec))


def _containers(spec: Spec) -> list[Spec]:
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in spec.get(kind) or ()]


def _context(holder: Spec) -> Spec:
    return holder.get("securityContext") or {}


def _name(containers: list[Spec]) -> str:
    names = ", ".join(f'"{container["name"]}"' for container in containers)
    return f"container{'s' * (len(containers) > 1)} {names}"


def _find(spec: Spec, is_wrong: Callable[[Spec], Any]) -> list[Spec]:
    return [container for container in _containers(spec) if is_wrong(container)]


def _find_contexts(spec: Spec, is_wrong: Callable[[Spec], bool]) -> str:
    """Name the pod and the containers whose security context is wrong; empty if none is."""
    bad = ["pod"] if is_wrong(_context(spec)) else []
    if containers := _find(spec, lambda one: is_wrong(_context(one))):
        bad.append(_name(containers))
    return " and ".join(bad)


def _host_namespaces(spec: Spec) -> Iterator[str]:
    used = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if used:
        yield f"host namespaces ({', '.join(f'{name}=true' for name in used)})"


def _privileged(spec: Spec) -> Iterator[str]:
    if bad := _find(spec, lambda one: _context(one).get("privileged")):
        yield f"privileged ({_name(bad)} must not set securityContext.privileged=true)"


def _host_process(spec: Spec) -> Iterator[str]:
    def is_set(context: Spec) -> bool:
        return bool((context.get("windowsOptions") or {}).get("hostProcess"))

    if bad := _find_contexts(spec, is_set):
        yield f"hostProcess ({bad} must not set securityContext.windowsOptions.hostProcess=true)"


def _baseline_capabilities(spec: Spec) -> Iterator[str]:
    def added(container: Spec) -> set[str]:
        capabilities = _context(container).get("capabilities") or {}
        return set(capabilities.get("add") or ()) - BASELINE_CAPABILITIES

    if bad := _find(spec, added):
        names = ", ".join(sorted({f'"{name}"' for container in bad for name in added(container)}))
        yield (
            f"non-default capabilities ({_name(bad)} must not include {names}"
            " in securityContext.capabilities.add)"
        )


def _host_paths(spec: Spec) -> Iterator[str]:
    names = [f'"{one["name"]}"' for one in spec.get("volumes") or () if "hostPath" in one]
    if names:
        yield f"hostPath volumes (volume{'s' * (len(names) > 1)} {', '.join(names)})"


def _host_ports(spec: Spec) -> Iterator[str]:
    def ports(container: Spec) -> list[int]:
        return [one["hostPort"] for one in container.get("ports") or () if one.get("hostPort")]

    if bad := _find(spec, ports):
        listed = ", ".join(str(port) for container in bad for port in ports(container))
        yield f"hostPort ({_name(bad)} uses hostPort {listed})"


def _contexts(spec: Spec) -> list[tuple[str, Spec]]:
    """Return the security contexts of the pod and of its containers, with their names."""
    own = [(_name([container]), _context(container)) for container in _containers(spec)]
    return [("pod", _context(spec)), *own]


def _probe_hosts(spec: Spec) -> Iterator[str]:
    def hosts(container: Spec) -> list[str]:
        lifecycle = container.get("lifecycle") or {}
        hooks = [container.get(name) or {} for name in PROBES]
        hooks += [lifecycle.get(name) or {} for name in ("postStart", "preStop")]
        actions = [one.get(name) or {} for one in hooks for name in ("httpGet", "tcpSocket")]
        return [action["host"] for action in actions if action.get("host")]

    if bad := _find(spec, hosts):
        listed = ", ".join(f'"{host}"' for container in bad for host in hosts(container))
        yield f"probe or lifecycle host ({_name(bad)} uses hosts {listed})"


def _app_armor(spec: Spec) -> Iterator[str]:
    for who, context in _contexts(spec):
        profile = (context.get("appArmorProfile") or {}).get("type")
        if profile == "Unconfined":
            yield f'forbidden AppArmor profile ({who} must not set it to "Unconfined")'


def _se_linux(spec: Spec) -> Iterator[str]:
    for who, context in _contexts(spec):
        options = context.get("seLinuxOptions") or {}
        if (
            options.get("type", "") not in SELINUX_TYPES
            or options.get("user")
            or options.get("role")
        ):
            yield f"seLinuxOptions ({who} set forbidden securityContext.seLinuxOptions)"


def _proc_mount(spec: Spec) -> Iterator[str]:
    if bad := _find(spec, lambda one: _context(one).get("procMount", "Default") != "Default"):
        yield f"procMount ({_name(bad)} must not set securityContext.procMount)"


def _baseline_seccomp(spec: Spec) -> Iterator[str]:
    for who, context in _contexts(spec):
        if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
            yield f'seccompProfile ({who} must not set its type to "Unconfined")'


def _sysctls(spec: Spec) -> Iterator[str]:
    names = [one["name"] for one in _context(spec).get("sysctls") or ()]
    if bad := [name for name in names if name not in SYSCTLS]:
        yield f"forbidden sysctls ({', '.join(bad)})"


def _restricted_volumes(spec: Spec) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        kinds = {key for key in volume if key != "name"}
        if bad := kinds - VOLUMES:
            yield (
                f'restricted volume types (volume "{volume["name"]}" uses restricted volume'
                f' type "{bad.pop()}")'
            )


def _privilege_escalation(spec: Spec) -> Iterator[str]:
    if bad := _find(spec, lambda one: _context(one).get("allowPrivilegeEscalation") is not False):
        yield (
            f"allowPrivilegeEscalation != false ({_name(bad)} must set"
            " securityContext.allowPrivilegeEscalation=false)"
        )


def _restricted_capabilities(spec: Spec) -> Iterator[str]:
    def capabilities(container: Spec, field: str) -> list[str]:
        return (_context(container).get("capabilities") or {}).get(field) or []

    if bad := _find(spec, lambda one: "ALL" not in capabilities(one, "drop")):
        yield (
            f"unrestricted capabilities ({_name(bad)} must set"
            ' securityContext.capabilities.drop=["ALL"])'
        )
    if bad := _find(spec, lambda one: set(capabilities(one, "add")) - {"NET_BIND_SERVICE"}):
        yield (
            f"unrestricted capabilities ({_name(bad)} must not add others than"
            ' "NET_BIND_SERVICE" in securityContext.capabilities.add)'
        )


def _non_root(spec: Spec) -> Iterator[str]:
    for_pod = _context(spec).get("runAsNonRoot")
    if refusing := _find_contexts(spec, lambda context: context.get("runAsNonRoot") is False):
        yield f"runAsNonRoot != true ({refusing} must not set securityContext.runAsNonRoot=false)"
    elif bad := _find(spec, lambda one: not _context(one).get("runAsNonRoot", for_pod)):
        yield (
            f"runAsNonRoot != true (pod or {_name(bad)} must set securityContext.runAsNonRoot=true)"
        )


def _root_user(spec: Spec) -> Iterator[str]:
    bad = [who for who, context in _contexts(spec) if context.get("runAsUser") == 0]
    if bad:
        yield f"runAsUser=0 ({', '.join(bad)} must not set runAsUser=0)"


def _restricted_seccomp(spec: Spec) -> Iterator[str]:
    for_pod = _context(spec).get("seccompProfile")

    def is_open(container: Spec) -> bool:
        profile = _context(container).get("seccompProfile") or for_pod or {}
        return profile.get("type") not in ("RuntimeDefault", "Localhost")

    if bad := _find(spec, is_open):
        yield (
            f"seccompProfile (pod or {_name(bad)} must set securityContext.seccompProfile.type"
            ' to "RuntimeDefault" or "Localhost")'
        )


BASELINE = (
    _host_namespaces,
    _privileged,
    _host_process,
    _baseline_capabilities,
    _host_paths,
    _host_ports,
    _probe_hosts,
    _app_armor,
    _se_linux,
    _proc_mount,
    _baseline_seccomp,
    _sysctls,
)
RESTRICTED = (
    _privilege_escalation,
    _restricted_capabilities,
    _restricted_volumes,
    _non_root,
    _root_user,
    _restricted_seccomp,
)
