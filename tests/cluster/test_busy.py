"""The example for many users, as it is: images first, room ahead, users in their own namespace."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.harness import AnyCluster, Installation, Json
from tests.helm import EXAMPLES

NAMESPACE = "caesarion-busy"
PEOPLE = "caesarion-users"

FOR_TESTS: Json = {
    "scheduling": {"userPlaceholder": {"replicas": 1}},
    "hub": {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}},
}
"""What a small cluster has no room for, or no metrics server."""


@pytest.fixture(scope="module")
def busy(cluster: AnyCluster) -> Iterator[Installation]:
    example: dict[str, Any] = yaml.safe_load((EXAMPLES / "busy.yaml").read_text("utf-8"))
    del example["singleuser"]["nodeSelector"]  # nodes of a cluster for tests have no pools
    given = (example, FOR_TESTS)
    with Installation.installed(cluster, NAMESPACE, *given, others=[PEOPLE]) as installed:
        yield installed


def test_the_images_are_on_every_node_and_the_hook_has_left_nothing(busy: Installation) -> None:
    (puller,) = busy.cluster.get(NAMESPACE, "daemonsets")["items"]
    assert puller["metadata"]["name"] == "caesarion-puller"
    assert puller["status"]["numberReady"] == puller["status"]["desiredNumberScheduled"] > 0
    assert busy.cluster.get(NAMESPACE, "jobs")["items"] == []


def test_a_placeholder_holds_room_at_a_lower_priority_than_users_have(busy: Installation) -> None:
    (placeholder,) = busy.pods("user-placeholder")
    (hub,) = busy.pods("hub")
    assert placeholder["status"]["phase"] == "Running"
    assert placeholder["spec"]["priority"] < hub["spec"]["priority"]


def test_a_users_pod_is_in_the_users_namespace_and_its_policies_find_it(
    busy: Installation,
) -> None:
    ada = busy.login("ada")
    ada.start_server()
    labels = "app.kubernetes.io/instance=caesarion,app.kubernetes.io/component=singleuser-server"
    (pod,) = busy.cluster.get(PEOPLE, "pods", "--selector", labels)["items"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "caesarion"
    assert pod["spec"]["priorityClassName"] == f"{NAMESPACE}-caesarion-default"
    assert busy.cluster.get(NAMESPACE, "pods", "--selector", labels)["items"] == []
    (volume,) = busy.cluster.get(PEOPLE, "persistentvolumeclaims")["items"]
    assert volume["metadata"]["name"] == "claim-ada"
    ada.stop_server()
