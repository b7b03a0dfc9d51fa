"""Sandboxes in a cluster: a pod of their own without a lasting home, which ends at its deadline."""

import json
from typing import Any

import httpx

from tests.cluster.harness import Installation, eventually

API = "/services/api"


def test_a_sandbox_is_a_restricted_pod_without_a_volume_that_ends_at_its_deadline(
    caesarion: Installation,
) -> None:
    session = caesarion.login("sandro")
    headers = {"Authorization": f"Bearer {session.token()}"}

    def call(method: str, path: str, body: Any = None) -> httpx.Response:
        url = f"{caesarion.url}{API}{path}"
        answer = httpx.request(method, url, json=body, headers=headers, timeout=300)
        assert answer.is_success, (answer.text, caesarion.report())
        return answer

    def pods() -> list[dict[str, Any]]:
        return [
            pod
            for pod in caesarion.pods("singleuser-server")
            if pod["metadata"]["annotations"].get("hub.jupyter.org/username") == "sandro"
        ]

    made = call("POST", "/sandboxes", {"timeout": 3600, "env": {"TOWN": "Lisbon"}}).json()
    assert made["state"] == "starting"
    code = "import os; print(os.environ['TOWN'], os.getuid(), os.uname().nodename)"
    run = call("POST", f"/sandboxes/{made['id']}/execute", {"code": code})
    *_, output, end = [json.loads(line) for line in run.text.splitlines()]
    (pod,) = pods()
    assert output["text"] == f"Lisbon 1000 {pod['metadata']['name']}\n"
    assert end["status"] == "ok"
    assert pod["metadata"]["annotations"]["hub.jupyter.org/servername"] == made["id"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["home"]["emptyDir"] == {"sizeLimit": "10Gi"}
    assert not any("persistentVolumeClaim" in volume for volume in volumes.values())
    # A restart of hub and api service changes nothing about the deadline.
    call("POST", f"/sandboxes/{made['id']}/timeout", {"timeout": 20})
    for component in ("hub", "api"):
        for one in caesarion.pods(component):
            name = one["metadata"]["name"]
            caesarion.cluster.kubectl("delete", "pod", name, "--namespace", caesarion.namespace)
    eventually(lambda: pods() == [], 180)
    eventually(
        lambda: (
            httpx.get(f"{caesarion.url}{API}/sandboxes", headers=headers, timeout=60).text == "[]"
        ),
        180,
    )
