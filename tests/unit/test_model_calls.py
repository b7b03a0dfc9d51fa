"""Tool calls are put together from deltas, however a server cuts and numbers them."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from caesarion.agent.model import Calls
from caesarion.events import ToolCall
from hypothesis import given
from hypothesis import strategies as st


def delta(
    index: int | None = 0, id: str | None = None, name: str | None = None, arguments: str = ""
) -> Any:
    function = SimpleNamespace(name=name, arguments=arguments)
    return SimpleNamespace(index=index, id=id, function=function)


def complete(*deltas: Any) -> list[ToolCall]:
    calls = Calls()
    for each in deltas:
        calls.add(each)
    return calls.complete()


@given(st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=5), max_size=4), st.randoms())
def test_pieces_of_several_calls_may_come_in_any_mixture(
    arguments: list[list[str]], random: Any
) -> None:
    waiting = {
        index: [delta(index, f"id{index}", "f"), *(delta(index, arguments=p) for p in pieces)]
        for index, pieces in enumerate(arguments)
    }
    # The calls begin in their order, as servers send them.
    deltas = [pieces.pop(0) for pieces in waiting.values()]
    while waiting:
        index = random.choice(list(waiting))
        deltas.append(waiting[index].pop(0))
        if not waiting[index]:
            del waiting[index]
    assert complete(*deltas) == [
        ToolCall(f"id{index}", "f", "".join(pieces)) for index, pieces in enumerate(arguments)
    ]


def test_an_id_and_a_name_in_every_delta_are_of_one_call() -> None:
    pieces = [delta(0, "a", "f", '{"x'), delta(0, "a", "f", '": 1}')]
    assert complete(*pieces) == [ToolCall("a", "f", '{"x": 1}')]


def test_without_an_index_another_id_begins_another_call() -> None:
    pieces = [
        delta(None, "a", "f", "{"),
        delta(None, None, None, "}"),
        delta(None, "b", "g", "{}"),
    ]
    assert complete(*pieces) == [ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")]


def test_without_index_and_id_a_name_begins_another_call() -> None:
    first, second = complete(delta(None, None, "f", "{}"), delta(None, None, "g", "{}"))
    assert (first.name, second.name) == ("f", "g")


def test_calls_that_are_all_number_0_are_told_apart_by_their_ids() -> None:
    pieces = [
        delta(0, "a", "f", "{"),
        delta(0, None, None, "}"),
        delta(0, "b", "g", "{"),
        delta(0, None, None, "}"),
    ]
    assert complete(*pieces) == [ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")]


@pytest.mark.parametrize("ids", [(None, None), ("same", "same"), ("", "")])
def test_every_call_has_an_id_of_its_own(ids: tuple[str | None, ...]) -> None:
    calls = complete(*(delta(index, id, "f", "{}") for index, id in enumerate(ids)))
    assert len({call.id for call in calls}) == 2
    assert re.fullmatch("same|call_[0-9a-f]{32}", calls[0].id)
    assert re.fullmatch("call_[0-9a-f]{32}", calls[1].id)


def test_a_call_without_a_function_has_no_name() -> None:
    [call] = complete(SimpleNamespace(index=0, id="a", function=None))
    assert call == ToolCall("a", "", "")


def test_halves_of_a_character_are_joined_or_replaced() -> None:
    pieces = [delta(0, "a", "f", '"\ud83d'), delta(0, arguments='\ude42 \ud83d"')]
    assert complete(*pieces) == [ToolCall("a", "f", '"🙂 �"')]
