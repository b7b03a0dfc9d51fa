"""The paper version of Pod Security "restricted": each control is seen when it is broken."""

from copy import deepcopy
from typing import Any

import pytest

from tests.pod_security import violations

RESTRICTED: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "c",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
    "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "x"}}],
}


def pod(**changes: Any) -> dict[str, Any]:
    return {**deepcopy(RESTRICTED), **changes}


def container(**changes: Any) -> dict[str, Any]:
    """Return a pod whose container has ``changes``."""
    changed = pod()
    changed["containers"][0].update(changes)
    return changed


def security(**changes: Any) -> dict[str, Any]:
    """Return a pod whose container's securityContext has ``changes``."""
    changed = pod()
    changed["containers"][0]["securityContext"].update(changes)
    return changed


def test_a_restricted_pod_breaks_no_control() -> None:
    assert violations(RESTRICTED) == []
    assert violations(security(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})) == []
    assert violations(security(seccompProfile={"type": "Localhost"})) == []


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (pod(hostNetwork=True), "hostNetwork is true"),
        (pod(hostPID=True), "hostPID is true"),
        (pod(hostIPC=True), "hostIPC is true"),
        (pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "volume v is a hostPath"),
        (pod(volumes=[{"name": "v", "nfs": {}}]), "volume v is a nfs"),
        (container(ports=[{"hostPort": 80}]), "container c has a port of the host"),
        (
            container(livenessProbe={"httpGet": {"host": "10.0.0.1"}}),
            "livenessProbe of container c asks a host",
        ),
        (
            container(lifecycle={"preStop": {"tcpSocket": {"host": "x"}}}),
            "preStop of container c asks a host",
        ),
        (security(privileged=True), "container c is privileged"),
        (security(allowPrivilegeEscalation=None), "container c may gain privileges"),
        (security(capabilities={}), "container c does not drop all capabilities"),
        (
            security(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
            "container c adds the capability NET_ADMIN",
        ),
        (security(procMount="Unmasked"), "container c has a procMount"),
        (security(runAsUser=0), "container c runs as root"),
        (
            security(seLinuxOptions={"type": "spc_t"}),
            "container c sets SELinux options",
        ),
        (
            security(appArmorProfile={"type": "Unconfined"}),
            "container c is outside AppArmor",
        ),
        (
            security(windowsOptions={"hostProcess": True}),
            "container c is a process of the host",
        ),
    ],
    ids=str,
)
def test_a_broken_control_is_seen(broken: dict[str, Any], sentence: str) -> None:
    assert violations(broken) == [sentence]


def test_what_the_pod_says_holds_for_containers_that_say_nothing() -> None:
    assert violations(pod(securityContext={})) == [
        "container c may run as root",
        "container c has no seccomp profile",
    ]
    assert violations(pod(securityContext={**RESTRICTED["securityContext"], "runAsUser": 0})) == [
        "the pod runs as root"
    ]


def test_a_container_may_undo_what_the_pod_says() -> None:
    assert violations(security(runAsNonRoot=False)) == [
        "container c allows root",
        "container c may run as root",
    ]
    assert violations(security(seccompProfile={"type": "Unconfined"})) == [
        "container c is outside seccomp",
        "container c has no seccomp profile",
    ]


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
def test_no_kind_of_container_is_forgotten(kind: str) -> None:
    assert violations(pod(**{kind: [{"name": "other", "securityContext": {}}]})) == [
        "container other may gain privileges",
        "container other does not drop all capabilities",
    ]


def test_a_sysctl_must_be_a_safe_one() -> None:
    sysctls = [{"name": "net.ipv4.tcp_syncookies"}, {"name": "kernel.msgmax"}]
    changed = {**RESTRICTED["securityContext"], "sysctls": sysctls}
    assert violations(pod(securityContext=changed)) == ["sysctl kernel.msgmax is set"]
