"""The agent's turns as the gateway counts them: which answer is a first one, and which a repair."""

from caesarion_hub.gateway.api.turns import MAX_TURNS, Ended, Turns
from caesarion_hub.gateway.store.commands import Called

RUN = Called("call_1", "python_interpreter")


def test_the_first_answer_to_a_message_begins_a_turn() -> None:
    turns = Turns()
    assert turns.answer("ada", "m1", [RUN]) == (True, False)
    assert turns.answer("ada", "m1", []) == (False, False)
    assert turns.answer("ada", "m2", []) == (True, False)
    assert turns.answer("grace", "m1", []) == (True, False)


def test_an_answer_after_a_failed_call_is_a_repair() -> None:
    turns = Turns()
    turns.answer("ada", "m1", [RUN])
    assert turns.end("ada", "call_1", "error") == Ended("python_interpreter", is_repaired=False)
    assert turns.answer("ada", "m1", []) == (False, True)
    assert turns.answer("ada", "m1", []) == (False, False)


def test_a_failure_that_is_reported_late_was_repaired_by_the_answer_before_it() -> None:
    turns = Turns()
    turns.answer("ada", "m1", [RUN])
    assert turns.answer("ada", "m1", []) == (False, False)
    assert turns.end("ada", "call_1", "timeout") == Ended("python_interpreter", is_repaired=True)
    assert turns.answer("ada", "m1", []) == (False, False)


def test_two_failed_calls_of_one_answer_are_repaired_once() -> None:
    turns = Turns()
    turns.answer("ada", "m1", [RUN, Called("call_2", "run_cell")])
    turns.answer("ada", "m1", [])
    assert turns.end("ada", "call_1", "error") == Ended("python_interpreter", is_repaired=True)
    assert turns.end("ada", "call_2", "error") == Ended("run_cell", is_repaired=False)


def test_what_was_refused_or_went_well_needs_no_repair() -> None:
    for outcome in ("ok", "refused", "interrupted"):
        turns = Turns()
        turns.answer("ada", "m1", [RUN])
        assert turns.end("ada", "call_1", outcome) == Ended("python_interpreter", False)
        assert turns.answer("ada", "m1", []) == (False, False)


def test_an_outcome_of_no_known_call_or_a_second_one_counts_for_nothing() -> None:
    turns = Turns()
    turns.answer("ada", "m1", [RUN])
    assert turns.end("ada", "call_9", "error") is None
    assert turns.end("grace", "call_1", "error") is None
    assert turns.end("ada", "call_1", "ok") is not None
    assert turns.end("ada", "call_1", "ok") is None


def test_an_id_that_repeats_is_of_the_latest_turn() -> None:
    turns = Turns()
    turns.answer("ada", "m1", [RUN])
    turns.answer("ada", "m2", [Called("call_1", "run_cell")])
    assert turns.end("ada", "call_1", "error") == Ended("run_cell", is_repaired=False)


def test_old_turns_are_forgotten() -> None:
    turns = Turns()
    for number in range(MAX_TURNS + 1):
        turns.answer("ada", f"m{number}", [])
    assert turns.answer("ada", "m1", []) == (False, False)
    assert turns.answer("ada", "m0", []) == (True, False)
