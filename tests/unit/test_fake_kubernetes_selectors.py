"""The selectors of the tests' API server: what they match, and what they refuse to read."""

from typing import Any

import pytest

from tests.fakes.kubernetes.apiserver.errors import ApiError
from tests.fakes.kubernetes.apiserver.selectors import matches_selector, parse_selection


def make(**labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "one", "labels": labels}}


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c),d", {"a": "c"}, False),
        ("a notin (b,c)", {}, True),
        ("a notin (b,c)", {"a": "b"}, False),
        ("!a", {}, True),
        ("!a", {"a": ""}, False),
        ("a", {"a": ""}, True),
        ("a=", {"a": ""}, True),
        ("a=", {}, False),
        ("n>3", {"n": "4"}, True),
        ("n>3", {"n": "many"}, False),
        ("n<3", {"n": "4"}, False),
        ("app.kubernetes.io/name=caesarion", {"app.kubernetes.io/name": "caesarion"}, True),
    ],
)
def test_a_label_selector_matches_as_kubernetes_does(
    selector: str, labels: dict[str, str], matches: bool
) -> None:
    assert parse_selection("pods", selector, "")(make(**labels)) is matches


@pytest.mark.parametrize("selector", ["a b", "a in b", "=b", "a=b c", "(a)"])
def test_a_label_selector_that_cannot_be_read_is_400(selector: str) -> None:
    with pytest.raises(ApiError, match="is no label requirement") as refused:
        parse_selection("pods", selector, "")
    assert refused.value.code == 400


def test_fields_are_compared_as_text() -> None:
    pod = {
        "metadata": {"name": "one"},
        "spec": {"hostNetwork": True},
        "status": {"phase": "Failed"},
    }
    for text, matches in (
        ("metadata.name=one", True),
        ("metadata.name==two", False),
        ("status.phase!=Failed", False),
        ("spec.nodeName=", True),
        ("spec.hostNetwork=true,status.phase=Failed", True),
    ):
        assert parse_selection("pods", "", text)(pod) is matches, text


def test_a_field_that_a_kind_does_not_offer_is_400() -> None:
    with pytest.raises(ApiError, match=r"field label not supported: status\.phase") as refused:
        parse_selection("services", "", "status.phase=Running")
    assert refused.value.code == 400


def test_a_selection_by_name_tells_the_name_for_rbac() -> None:
    assert parse_selection("pods", "", "metadata.name=one").name == "one"
    assert parse_selection("pods", "", "metadata.name!=one").name == ""


@pytest.mark.parametrize(
    ("operator", "values", "matches"),
    [
        ("In", ["b"], True),
        ("In", ["c"], False),
        ("NotIn", ["b"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ],
)
def test_a_selector_object_matches_expressions(
    operator: str, values: list[str] | None, matches: bool
) -> None:
    expression: dict[str, Any] = {"key": "a", "operator": operator, "values": values}
    assert matches_selector({"matchExpressions": [expression]}, {"a": "b"}) is matches


def test_no_selector_is_nothing_and_an_empty_one_everything() -> None:
    assert not matches_selector(None, {"a": "b"})
    assert matches_selector({}, {"a": "b"})
    assert not matches_selector({"matchLabels": {"a": "c"}}, {"a": "b"})
    with pytest.raises(ValueError, match="'Like' is no operator"):
        matches_selector({"matchExpressions": [{"key": "a", "operator": "Like"}]}, {})
