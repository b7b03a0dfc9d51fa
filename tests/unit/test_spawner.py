"""The pod of a user, compared whole, and what values change in it."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from caesarion_hub.pods.pod_security import violations
from caesarion_hub.values import ValuesError
from kubernetes_asyncio.client import ApiClient

from tests.spawners import make_spawner, without_cluster

__all__ = ["without_cluster"]
pytestmark = pytest.mark.usefixtures("without_cluster")


async def manifest_of(user: str = "ada", **changes: Any) -> dict[str, Any]:
    """Return the pod as it is sent to the API."""
    return await plain(await make_spawner(user, **changes).get_pod_manifest())


async def plain(model: Any) -> dict[str, Any]:
    """Return a model of the client's as it is sent."""
    async with ApiClient() as client:
        made: dict[str, Any] = client.sanitize_for_serialization(model)
        return made


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    [container] = pod["spec"]["containers"]
    made: dict[str, Any] = container
    return made


def environment_of(pod: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container_of(pod)["env"]}


async def test_a_user_has_a_restricted_pod_with_a_disk() -> None:
    pod = await manifest_of("Ada L", singleuser={"image": {"tag": "1.2"}})
    environment = environment_of(pod)
    container_of(pod).pop("env")
    assert pod == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "jupyter-ada-l---7d981b26",
            "labels": {
                "app.kubernetes.io/name": "caesarion",
                "app.kubernetes.io/instance": "caesarion",
                "app.kubernetes.io/component": "singleuser-server",
                "app.kubernetes.io/managed-by": "kubespawner",
                "helm.sh/chart": "caesarion-0.1.0",
                "component": "singleuser-server",
                "hub.jupyter.org/username": "ada-l---7d981b26",
                "hub.jupyter.org/servername": "",
            },
            "annotations": {
                "caesarion.org/cpu-limit": "0.5",
                "hub.jupyter.org/username": "Ada L",
                "hub.jupyter.org/kubespawner-version": "7.1.0",
                "hub.jupyter.org/jupyterhub-version": "6.1.1",
            },
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "imagePullSecrets": [],
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
                "fsGroup": 100,
                "fsGroupChangePolicy": "OnRootMismatch",
            },
            "containers": [
                {
                    "name": "notebook",
                    "image": "caesarion/singleuser:1.2",
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["caesarion-singleuser"],
                    "workingDir": "/home/jovyan",
                    "ports": [{"name": "notebook-port", "containerPort": 8888}],
                    "lifecycle": {},
                    "resources": {
                        "requests": {"cpu": 0.1, "memory": 2 * 2**30},
                        "limits": {"cpu": 2.0, "memory": 5 * 2**30},
                    },
                    "securityContext": {
                        "runAsUser": 1000,
                        "runAsGroup": 100,
                        "runAsNonRoot": True,
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "volumeMounts": [
                        {"name": "home", "mountPath": "/home/jovyan"},
                        {
                            "name": "home",
                            "mountPath": "/uploaded_files",
                            "subPath": "uploaded_files",
                        },
                        {"name": "tmp", "mountPath": "/tmp"},
                    ],
                }
            ],
            "volumes": [
                {
                    "name": "home",
                    "persistentVolumeClaim": {"claimName": "claim-ada-l---7d981b26"},
                },
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }
    ours = {name: value for name, value in environment.items() if name.startswith("CAESARION")}
    assert ours == {
        "CAESARION_MODEL_BASE_URL": "http://caesarion-gateway.hub/services/gateway/v1",
        "CAESARION_MODEL_NAME": "gpt-4.1",
        "CAESARION_AGENT_APPROVAL": "auto",
        "CAESARION_AGENT_MAX_APPROVAL": "auto",
        "CAESARION_AGENT_PROGRAM_APPROVALS": "false",
        "CAESARION_AGENT_BACKGROUND_MAX_MINUTES": "120",
        "CAESARION_UPLOADS_FOLDER": "/uploaded_files",
    }
    assert environment["HOME"] == "/home/jovyan"
    assert environment["JUPYTER_RUNTIME_DIR"] == "/tmp/jupyter"
    assert environment["CPU_LIMIT"] == "0.5"
    assert environment["OMP_NUM_THREADS"] == "1"
    assert not [name for name in environment if name.startswith("OPENAI")]


async def test_no_other_variable_of_the_hub_gets_into_a_pod(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("JPY_COOKIE_SECRET", "secret")
    theirs = environment_of(await manifest_of())
    known = ("CAESARION_", "JUPYTERHUB_", "JUPYTER_", "CPU_", "MEM_", "HOME", "JPY_", "OMP_")
    assert [name for name in theirs if not name.startswith(known)] == []
    assert "secret" not in theirs.values()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"storage": {"type": "none"}},
        {"readOnlyRootFilesystem": False},
        {"uid": 2000, "gid": 2000, "fsGid": 2000},
        {"runtimeClassName": "gvisor", "extraPodConfig": {"hostname": "lab"}},
    ],
)
async def test_pod_security_restricted_lets_the_pod_in(changes: dict[str, Any]) -> None:
    assert violations("restricted", (await manifest_of(singleuser=changes))["spec"]) == []


HOST_PATH = [{"name": "node", "hostPath": {"path": "/"}}]
SHELL = {"name": "fix", "image": "busybox", "securityContext": {"privileged": True}}


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        ({"singleuser": {"extraPodConfig": {"hostPID": True}}}, "host namespaces (hostPID=true)"),
        ({"singleuser": {"extraPodConfig": {"hostNetwork": True}}}, "hostNetwork=true"),
        ({"singleuser": {"extraPodConfig": {"host_ipc": True}}}, "hostIPC=true"),
        ({"singleuser": {"extraPodConfig": {"volumes": HOST_PATH}}}, "hostPath volumes"),
        (
            {"singleuser": {"extraPodConfig": {"securityContext": {"runAsUser": 0}}}},
            "runAsUser=0 (pod must not set runAsUser=0)",
        ),
        ({"hub": {"config": {"KubeSpawner": {"privileged": True}}}}, "privileged (container"),
        ({"hub": {"config": {"PodSpawner": {"uid": 0}}}}, "runAsUser=0"),
        ({"hub": {"config": {"KubeSpawner": {"volumes": {"a": HOST_PATH[0]}}}}}, "hostPath"),
        ({"hub": {"config": {"KubeSpawner": {"init_containers": [SHELL]}}}}, '"fix" must not set'),
        ({"hub": {"config": {"KubeSpawner": {"extra_containers": [SHELL]}}}}, '"fix" must not set'),
        (
            {"hub": {"config": {"KubeSpawner": {"allow_privilege_escalation": True}}}},
            "allowPrivilegeEscalation != false",
        ),
        (
            {
                "hub": {
                    "config": {
                        "KubeSpawner": {
                            "extra_container_config": {
                                "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}
                            }
                        }
                    }
                }
            },
            'must not include "SYS_ADMIN"',
        ),
    ],
    ids=str,
)
async def test_what_exceeds_restricted_is_refused_unless_a_value_allows_it(
    changes: dict[str, Any], violation: str
) -> None:
    with pytest.raises(ValuesError) as caught:
        make_spawner(**changes)
    [sentence] = str(caught.value).splitlines()
    assert sentence.startswith(
        "singleuser.extraPodConfig or hub.config.KubeSpawner violates Pod Security restricted: "
    )
    assert violation in sentence
    level = sentence.removesuffix(".").rpartition(" ")[2]
    assert f"Change it, or set singleuser.podSecurity to {level}." in sentence
    meant = {**changes, "singleuser": {**changes.get("singleuser", {}), "podSecurity": level}}
    assert make_spawner(**meant).pod_security == level


async def test_a_profile_may_exceed_restricted_only_if_it_says_so() -> None:
    large = {"display_name": "Large", "kubespawner_override": {"mem_limit": "8Gi"}}
    root = {"display_name": "Root", "kubespawner_override": {"uid": 0}}
    option = {
        "display_name": "Node",
        "choices": {
            "yes": {
                "display_name": "Yes",
                "kubespawner_override": {"extra_pod_config": {"hostNetwork": True}},
            }
        },
    }
    node = {"display_name": "Node", "profile_options": {"node": option}}
    with pytest.raises(ValuesError) as caught:
        make_spawner(singleuser={"profileList": [large, root, node]})
    uid, network = str(caught.value).splitlines()
    place = "singleuser.profileList[1].kubespawner_override"
    assert uid == (
        f"{place} violates Pod Security restricted: runAsUser=0 "
        f'(container "notebook" must not set runAsUser=0). Change it, or set {place}.pod_security '
        "to baseline."
    )
    assert network.startswith(
        "singleuser.profileList[2].profile_options.node.choices.yes.kubespawner_override violates"
    )
    assert network.endswith(".pod_security to privileged.")
    allowed = {**root["kubespawner_override"], "pod_security": "baseline"}  # type: ignore[dict-item]
    profiles = [large, {**root, "kubespawner_override": allowed}]
    for profile, level in (("root", "baseline"), ("large", "restricted")):
        spawner = make_spawner(singleuser={"profileList": profiles})
        spawner.user_options = {"profile": profile}
        await spawner.load_user_options()
        assert spawner.pod_security == level


async def test_an_unknown_field_of_the_pod_is_one_sentence() -> None:
    with pytest.raises(ValuesError, match=r"extraPodConfig or .* cannot be used: .*hostPid"):
        make_spawner(singleuser={"extraPodConfig": {"hostPid": True}})


async def test_without_a_disk_the_home_lives_as_long_as_its_pod() -> None:
    pod = await manifest_of(singleuser={"storage": {"type": "none", "capacity": "2Gi"}})
    assert pod["spec"]["volumes"][0] == {"name": "home", "emptyDir": {"sizeLimit": "2Gi"}}


async def test_values_say_where_and_how_a_pod_runs() -> None:
    pod = await manifest_of(
        singleuser={
            "image": {"name": "r/i", "pullPolicy": "Always", "pullSecrets": ["registry"]},
            "nodeSelector": {"pool": "users"},
            "extraTolerations": [{"key": "users", "operator": "Exists", "effect": "NoSchedule"}],
            "runtimeClassName": "gvisor",
            "priorityClassName": "people",
            "serviceAccountName": "nobody",
            "extraLabels": {"team": "a"},
            "extraAnnotations": {"note": "b"},
            "extraPodConfig": {"terminationGracePeriodSeconds": 5},
            "extraResource": {"limits": {"nvidia.com/gpu": 1}},
            "extraEnv": {"LANG": "C.UTF-8"},
            "uid": 2000,
            "gid": 2001,
            "fsGid": 2002,
            "readOnlyRootFilesystem": False,
            "storage": {"homeMountPath": "/home/ada", "uploadsMountPath": "/in"},
        }
    )
    spec, container = pod["spec"], container_of(pod)
    assert container["image"] == "r/i"
    assert container["imagePullPolicy"] == "Always"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["nodeSelector"] == {"pool": "users"}
    assert spec["tolerations"] == [{"key": "users", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["runtimeClassName"] == "gvisor"
    assert spec["priorityClassName"] == "people"
    assert spec["serviceAccountName"] == "nobody"
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["terminationGracePeriodSeconds"] == 5
    assert pod["metadata"]["labels"]["team"] == "a"
    assert pod["metadata"]["annotations"]["note"] == "b"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert environment_of(pod)["LANG"] == "C.UTF-8"
    assert environment_of(pod)["HOME"] == "/home/ada"
    assert environment_of(pod)["CAESARION_UPLOADS_FOLDER"] == "/in"
    security = container["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (2000, 2001)
    assert security["readOnlyRootFilesystem"] is False
    assert spec["securityContext"]["fsGroup"] == 2002
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [
        *("/home/ada", "/in", "/tmp")
    ]


async def test_the_disk_is_asked_for_as_the_values_say() -> None:
    storage = {"capacity": "3Gi", "storageClass": "fast", "accessModes": ["ReadWriteOncePod"]}
    made = await plain(make_spawner(singleuser={"storage": storage}).get_pvc_manifest())
    assert made["metadata"]["name"] == "claim-ada"
    assert made["metadata"]["labels"]["app.kubernetes.io/instance"] == "caesarion"
    assert made["spec"] == {
        "accessModes": ["ReadWriteOncePod"],
        "resources": {"requests": {"storage": "3Gi"}},
        "storageClassName": "fast",
    }


@pytest.mark.parametrize(
    ("cpu", "memory", "limit"),
    [
        ({}, {}, 2.0),
        ({"startLimit": None}, {}, 0.5),
        ({"limit": 4}, {}, 4.0),
        # Lowered, these would become another class of service, which Kubernetes refuses.
        ({"guarantee": 0.5}, {"guarantee": "5Gi"}, 0.5),
        ({"guarantee": 0.5}, {}, 2.0),
    ],
)
async def test_a_pod_starts_with_more_of_the_processor_if_that_can_be_taken_back(
    cpu: dict[str, Any], memory: dict[str, Any], limit: float
) -> None:
    pod = await manifest_of(singleuser={"cpu": cpu, "memory": memory})
    assert container_of(pod)["resources"]["limits"]["cpu"] == limit
    noted = pod["metadata"]["annotations"].get("caesarion.org/cpu-limit")
    assert noted == ("0.5" if limit == 2.0 else None)


async def test_no_limit_of_the_processor_stays_none() -> None:
    pod = await manifest_of(singleuser={"cpu": {"limit": None}})
    assert "cpu" not in container_of(pod)["resources"]["limits"]


async def test_the_operators_traits_win() -> None:
    config = {"KubeSpawner": {"working_dir": "/work", "pod_name_template": "lab-{user_server}"}}
    pod = await manifest_of(hub={"config": config})
    assert pod["metadata"]["name"] == "lab-ada"
    assert container_of(pod)["workingDir"] == "/work"


async def test_what_is_in_braces_is_the_users() -> None:
    pod = await manifest_of(singleuser={"extraEnv": {"NAME": "{username}", "SET": "{{1}}"}})
    assert environment_of(pod)["NAME"] == "ada"
    assert environment_of(pod)["SET"] == "{1}"


@pytest.mark.parametrize("text", ['{"depth": 3}', "{user}", "{", "{}"])
async def test_what_no_start_could_read_keeps_the_hub_from_starting(text: str) -> None:
    with pytest.raises(ValuesError) as caught:
        make_spawner(singleuser={"extraEnv": {"SETTINGS": text}})
    assert str(caught.value) == (
        f"singleuser.extraEnv.SETTINGS is {json.dumps(text)}; words in braces must be among "
        "username, servername, user_server, unescaped_username, userid. "
        "Write {{ and }} for literal braces."
    )


async def test_a_closed_lab_is_told_so_on_its_command_line() -> None:
    policy = {"enabled": True, "hosts": ["https://cdn.example.org", "*.example.org"]}
    pod = await manifest_of(singleuser={"contentSecurityPolicy": policy})
    command, option = container_of(pod)["args"]
    assert command == "caesarion-singleuser"
    settings = json.loads(option.removeprefix("--ServerApp.tornado_settings="))
    hosts = "https://cdn.example.org *.example.org"
    assert settings["headers"]["Content-Security-Policy"] == (
        f"default-src 'self' data: blob: {hosts}; "
        f"script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: {hosts}; "
        f"style-src 'self' 'unsafe-inline' {hosts}; form-action 'self' {hosts}; "
        "base-uri 'self'; frame-ancestors 'none'"
    )


@pytest.mark.parametrize("host", ["x; script-src *", "a b", "'self'", ""])
async def test_a_host_adds_no_directive_to_the_policy(host: str) -> None:
    policy = {"enabled": True, "hosts": [host]}
    with pytest.raises(ValuesError, match=r"contentSecurityPolicy\.hosts"):
        make_spawner(singleuser={"contentSecurityPolicy": policy})


async def test_the_state_is_saved_where_it_has_changed_since_the_last_start() -> None:
    spawner = make_spawner()
    commits: list[dict[str, Any]] = []
    spawner.orm_spawner = SimpleNamespace(state={}, server=None)
    spawner.user.db.commit = lambda: commits.append(spawner.orm_spawner.state)
    spawner._save_state()
    spawner._save_state()
    assert commits == [spawner.get_state()]
    spawner.pod_name = "another"
    spawner._save_state()
    assert [state["pod_name"] for state in commits] == ["jupyter-ada", "another"]


async def test_a_text_without_fields_is_kept_as_it_is() -> None:
    labels = {"team": "physics-", "at": "{username}--{servername}", "with": "a-"}
    made = await manifest_of(singleuser={"extraLabels": labels})
    found = {name: made["metadata"]["labels"][name] for name in labels}
    assert found == {"team": "physics-", "at": "ada", "with": "a-"}
