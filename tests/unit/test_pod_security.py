"""The paper version of Pod Security: each control is seen when it is broken."""

from copy import deepcopy
from typing import Any

import pytest
from caesarion_hub.pods.pod_security import violations

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


def for_all(**changes: Any) -> dict[str, Any]:
    """Return a pod whose own securityContext has ``changes``."""
    return pod(securityContext={**RESTRICTED["securityContext"], **changes})


def restricted(spec: dict[str, Any]) -> list[str]:
    return violations("restricted", spec)


def test_a_restricted_pod_breaks_no_control() -> None:
    assert restricted(RESTRICTED) == []
    assert restricted(security(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})) == []
    assert restricted(security(seccompProfile={"type": "Localhost"})) == []
    assert restricted(for_all(sysctls=[{"name": "net.ipv4.tcp_syncookies"}])) == []


def test_privileged_asks_nothing() -> None:
    assert violations("privileged", security(privileged=True)) == []


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (pod(hostNetwork=True), "host namespaces (hostNetwork=true)"),
        (pod(hostPID=True, hostIPC=True), "host namespaces (hostPID=true, hostIPC=true)"),
        (container(ports=[{"hostPort": 80}]), 'hostPort (container "c" uses hostPort 80)'),
        (
            container(livenessProbe={"httpGet": {"host": "10.0.0.1"}}),
            'probe or lifecycle host (container "c" uses hosts "10.0.0.1")',
        ),
        (
            container(lifecycle={"preStop": {"tcpSocket": {"host": "x"}}}),
            'probe or lifecycle host (container "c" uses hosts "x")',
        ),
        (
            security(privileged=True),
            'privileged (container "c" must not set securityContext.privileged=true)',
        ),
        (
            security(procMount="Unmasked"),
            'procMount (container "c" must not set securityContext.procMount)',
        ),
        (
            security(seLinuxOptions={"type": "spc_t"}),
            'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions)',
        ),
        (
            for_all(seLinuxOptions={"role": "r"}),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions)",
        ),
        (
            security(appArmorProfile={"type": "Unconfined"}),
            'forbidden AppArmor profile (container "c" must not set it to "Unconfined")',
        ),
        (
            for_all(windowsOptions={"hostProcess": True}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            security(windowsOptions={"hostProcess": True}),
            'hostProcess (container "c" must not set'
            " securityContext.windowsOptions.hostProcess=true)",
        ),
        (for_all(sysctls=[{"name": "kernel.msgmax"}]), "forbidden sysctls (kernel.msgmax)"),
    ],
    ids=str,
)
def test_what_breaks_baseline_breaks_restricted(broken: dict[str, Any], sentence: str) -> None:
    assert violations("baseline", broken) == [sentence]
    assert restricted(broken) == [sentence]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (
            pod(volumes=[{"name": "v", "nfs": {}}]),
            'restricted volume types (volume "v" uses restricted volume type "nfs")',
        ),
        (
            security(allowPrivilegeEscalation=None),
            'allowPrivilegeEscalation != false (container "c" must set'
            " securityContext.allowPrivilegeEscalation=false)",
        ),
        (
            security(capabilities={"drop": ["NET_RAW"]}),
            'unrestricted capabilities (container "c" must set'
            ' securityContext.capabilities.drop=["ALL"])',
        ),
        (
            security(capabilities={"drop": ["ALL"], "add": ["CHOWN"]}),
            'unrestricted capabilities (container "c" must not add others than'
            ' "NET_BIND_SERVICE" in securityContext.capabilities.add)',
        ),
        (security(runAsUser=0), 'runAsUser=0 (container "c" must not set runAsUser=0)'),
        (for_all(runAsUser=0), "runAsUser=0 (pod must not set runAsUser=0)"),
        (
            for_all(runAsNonRoot=None),
            'runAsNonRoot != true (pod or container "c" must set'
            " securityContext.runAsNonRoot=true)",
        ),
        (
            for_all(runAsNonRoot=False),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (
            for_all(seccompProfile=None),
            'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type'
            ' to "RuntimeDefault" or "Localhost")',
        ),
    ],
    ids=str,
)
def test_restricted_asks_more_than_baseline(broken: dict[str, Any], sentence: str) -> None:
    assert violations("baseline", broken) == []
    assert restricted(broken) == [sentence]


def test_what_both_levels_forbid_is_told_of_both() -> None:
    assert restricted(pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}])) == [
        'hostPath volumes (volume "v")',
        'restricted volume types (volume "v" uses restricted volume type "hostPath")',
    ]
    assert restricted(security(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]})) == [
        'non-default capabilities (container "c" must not include "NET_ADMIN"'
        " in securityContext.capabilities.add)",
        'unrestricted capabilities (container "c" must not add others than'
        ' "NET_BIND_SERVICE" in securityContext.capabilities.add)',
    ]


def test_a_container_may_undo_what_the_pod_says() -> None:
    assert restricted(security(runAsNonRoot=False)) == [
        'runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)'
    ]
    assert restricted(security(seccompProfile={"type": "Unconfined"})) == [
        'seccompProfile (container "c" must not set its type to "Unconfined")',
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type'
        ' to "RuntimeDefault" or "Localhost")',
    ]


def test_a_container_that_forbids_root_does_not_excuse_a_pod_that_allows_it() -> None:
    both = security(runAsNonRoot=True)
    both["securityContext"]["runAsNonRoot"] = False
    assert restricted(both) == [
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    ]


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
def test_no_kind_of_container_is_forgotten(kind: str) -> None:
    assert restricted(pod(**{kind: [{"name": "other", "securityContext": {}}]})) == [
        'allowPrivilegeEscalation != false (container "other" must set'
        " securityContext.allowPrivilegeEscalation=false)",
        'unrestricted capabilities (container "other" must set'
        ' securityContext.capabilities.drop=["ALL"])',
    ]
