"""What the tests' API server reads: quantities, times, schemas, protobuf."""

import base64
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.kubernetes.apiserver.errors import ApiError
from tests.fakes.kubernetes.apiserver.objects import Json, copied
from tests.fakes.kubernetes.apiserver.protobuf import MAGIC, decode
from tests.fakes.kubernetes.apiserver.schemas import problems_of, pruned, schema_named
from tests.fakes.kubernetes.apiserver.tables import as_table, since
from tests.fakes.kubernetes.quantities import quantity, written
from tests.fakes.kubernetes.times import now, read
from tests.fakes.kubernetes.times import written as written_time

PODS = schema_named("v1", "Pod")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("100m", "0.1"),
        ("2Gi", "2147483648"),
        ("2G", "2000000000"),
        ("1e3", "1000"),
        ("1E", "1000000000000000000"),
        (".5", "0.5"),
        (3, "3"),
        (0.1, "0.1"),
        ("-1k", "-1000"),
    ],
)
def test_a_quantity_is_read_exactly(text: Any, amount: str) -> None:
    assert quantity(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "2GB", "1 Gi", "Gi", "1e", "two"])
def test_what_is_no_quantity_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)


def test_quantities_are_written_shortly() -> None:
    assert written(Decimal(512 * 1024**2), "requests.memory") == "512Mi"
    assert written(Decimal("0.1")) == "100m"
    assert written(Decimal(3), "pods") == "3"
    assert written(Decimal(0), "requests.memory") == "0"


def test_times_are_whole_seconds_of_utc() -> None:
    assert written_time(1.75) == "1970-01-01T00:00:01Z"
    assert read("1970-01-01T01:00:01+01:00") == 1
    assert written_time(read(now())) == now()


@given(
    st.recursive(st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_a_copy_is_equal_and_another(value: Any) -> None:
    copy = copied(value)
    assert copy == value
    assert copy is not value or isinstance(value, int)


def pod(**container: Any) -> Json:
    return {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "a", **container}]}}


@pytest.mark.parametrize(
    ("body", "kind", "path", "message"),
    [
        (pod(imag="x"), "unknown", "spec.containers[0].imag", "unknown field"),
        (pod(image=1), "type", "spec.containers[0].image", "1 is not of type string"),
        (pod(stdin="yes"), "type", "spec.containers[0].stdin", '"yes" is not of type boolean'),
        (pod(command="x"), "type", "spec.containers[0].command", "is not of type array"),
        (
            pod(resources={"limits": {"memory": "2GB"}}),
            "type",
            "spec.containers[0].resources.limits.memory",
            '"2GB" is no quantity',
        ),
        ({"spec": {}}, "missing", "spec.containers", "Required value"),
        (
            {**pod(), "metadata": {"creationTimestamp": "today"}},
            "type",
            "metadata.creationTimestamp",
            '"today" is no date-time',
        ),
    ],
)
def test_a_schema_says_what_is_wrong_where(body: Json, kind: str, path: str, message: str) -> None:
    (problem,) = problems_of(body, PODS)
    assert (problem.kind, problem.path) == (kind, path)
    assert message in problem.message


def test_a_port_may_be_a_number_or_a_name() -> None:
    for port in (8080, "http"):
        assert problems_of(pod(readinessProbe={"httpGet": {"port": port}}), PODS) == []


def test_pruning_drops_nulls_and_what_nobody_knows() -> None:
    body = pod(imag="x", env=None, resources={"limits": {"nvidia.com/gpu": "1"}})
    body["metadata"]["annotations"] = {"any": "thing"}
    clean = pruned(body, PODS)
    assert clean == {
        "metadata": {"name": "one", "annotations": {"any": "thing"}},
        "spec": {"containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
    }


def field(number: int, value: bytes) -> bytes:
    """Write a protobuf field of bytes."""
    return bytes([number << 3 | 2, len(value)]) + value


def envelope(kind: bytes, raw: bytes) -> bytes:
    return MAGIC + field(1, field(1, b"v1") + field(2, kind)) + field(2, raw)


def test_a_secret_is_read_from_protobuf() -> None:
    labels = field(11, field(1, b"owner") + field(2, b"helm"))
    metadata = field(1, b"release") + field(2, b"") + field(8, b"\x08\x80\x94\xeb\xdc\x03") + labels
    raw = field(1, metadata) + field(2, field(1, b"key") + field(2, b"\x00\xff")) + b"\x28\x01"
    assert decode(envelope(b"Secret", raw)) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "release",
            "creationTimestamp": "2001-09-09T01:46:40Z",
            "labels": {"owner": "helm"},
        },
        "data": {"key": base64.b64encode(b"\x00\xff").decode()},
        "immutable": True,
    }


def test_protobuf_that_is_not_read_is_415_with_the_remedy() -> None:
    with pytest.raises(ApiError, match="protobuf of kind Node is not read") as refused:
        decode(envelope(b"Node", b""))
    assert refused.value.code == 415
    with pytest.raises(ApiError, match="field 9 of Secret is not read") as refused:
        decode(envelope(b"Secret", field(9, b"new")))
    assert refused.value.code == 415


@pytest.mark.parametrize("body", [b"{}", MAGIC + b"\x0a\xff", envelope(b"Secret", b"\x12\x7fx")])
def test_broken_protobuf_is_400(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        decode(body)
    assert refused.value.code == 400


# Tables


def row(kind: str, **parts: Any) -> dict[str, Any]:
    """Return what ``kubectl get`` shows of an object, by column."""
    obj = {"metadata": {"name": "one", "creationTimestamp": now()}, **parts}
    table = as_table(kind, {"metadata": {"resourceVersion": "7"}, "items": [obj]})
    assert table["metadata"] == {"resourceVersion": "7"}
    (only,) = table["rows"]
    assert only["object"]["kind"] == "PartialObjectMetadata"
    return dict(
        zip([one["name"] for one in table["columnDefinitions"]], only["cells"], strict=True)
    )


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({}, "Unknown"),
        ({"phase": "Running"}, "Running"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "ErrImagePull",
        ),
        (
            {"initContainerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]},
            "Init:3",
        ),
        (
            {
                "phase": "Running",
                "initContainerStatuses": [{"state": {"terminated": {"exitCode": 0}}}],
                "containerStatuses": [{"ready": True, "state": {"running": {}}}],
            },
            "Running",
        ),
    ],
)
def test_a_pod_shows_why_it_does_not_run(status: Json, shown: str) -> None:
    pod = row("Pod", spec={"containers": [{}], "nodeName": "n"}, status=status)
    assert (pod["Name"], pod["Status"], pod["Node"]) == ("one", shown, "n")


def test_an_event_shows_what_it_says_of_whom() -> None:
    event = row(
        "Event",
        type="Warning",
        reason="FailedScheduling",
        message="0/1 nodes are available",
        involvedObject={"kind": "Pod", "name": "jupyter-ada"},
        lastTimestamp=now(),
    )
    assert event == {
        "Name": "one",
        "Last Seen": "0s",
        "Type": "Warning",
        "Reason": "FailedScheduling",
        "Object": "pod/jupyter-ada",
        "Message": "0/1 nodes are available",
        "Count": 1,
    }


def test_a_kind_without_columns_of_its_own_shows_its_age() -> None:
    assert row("Lease") == {"Name": "one", "Age": "0s"}


@pytest.mark.parametrize(
    ("seconds", "shown"), [(5, "5s"), (65, "1m5s"), (3600, "1h"), (90000, "1d1h")]
)
def test_ages_have_two_units(seconds: int, shown: str) -> None:
    assert since(written_time(time.time() - seconds)) == shown
