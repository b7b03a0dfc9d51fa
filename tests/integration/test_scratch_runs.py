"""Scratch runs in a real kernel: they see the user's variables and leave no names of their own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio
from caesarion.errors import NoScratchRun, Stopped
from caesarion.kernels import kernel as kernel_module
from caesarion.kernels.kernel import Kernel

from tests.kernels import Gate, Notebook, Ran, run, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def kernel(make: Callable[..., Kernel]) -> Kernel:
    """A kernel without names of the user's."""
    made = make()
    await run(made, "%reset -f")
    return made


@pytest.fixture
def gate(tmp_path: Any) -> Gate:
    return Gate(tmp_path)


async def scratch(kernel: Kernel, code: str, ran: Ran | None = None) -> Ran:
    return await run(kernel, code, ran, scratch=True)


async def printed(kernel: Kernel, expression: str) -> str:
    return (await run(kernel, f"print(repr(({expression})))")).text.strip()


async def callbacks(kernel: Kernel) -> str:
    """Return how many callbacks the kernel calls around a cell."""
    events = "get_ipython().events.callbacks"
    return await printed(kernel, f"{{event: len(known) for event, known in {events}.items()}}")


async def test_new_names_are_gone_and_the_users_are_seen(kernel: Kernel) -> None:
    await run(kernel, "rows = [1, 2, 3]")
    ran = await scratch(kernel, "import json\ntotal = sum(rows)\nprint(json.dumps(total))")
    assert (ran.end.status, ran.text) == ("ok", "6\n")
    assert await printed(kernel, "'total' in globals(), 'json' in globals()") == "(False, False)"


async def test_rebinding_and_deleting_are_undone(kernel: Kernel) -> None:
    await run(kernel, "rows = [1, 2, 3]\nname = 'hana'")
    ran = await scratch(kernel, "rows = rows[:1]\ndel name\nprint(rows, 'name' in globals())")
    assert ran.text == "[1] False\n"
    assert await printed(kernel, "rows, name") == "([1, 2, 3], 'hana')"


async def test_objects_are_shared_so_a_change_in_place_stays(kernel: Kernel) -> None:
    await run(kernel, "rows = [1, 2, 3]")
    await scratch(kernel, "rows.append(4)")
    assert await printed(kernel, "rows") == "[1, 2, 3, 4]"


async def test_functions_refer_to_the_names_of_their_own_run(kernel: Kernel) -> None:
    await run(kernel, "factor = 2\ndef scaled(value): return factor * value")
    code = "factor = 10\ndef shifted(value): return factor + value\nprint(shifted(1), scaled(1))"
    assert (await scratch(kernel, code)).text == "11 2\n"
    assert await printed(kernel, "factor") == "2"


async def test_classes_can_be_pickled_and_annotations_are_not_left(kernel: Kernel) -> None:
    code = """
import dataclasses, pickle, sys
@dataclasses.dataclass
class Point:
    x: int
    before: "Point | None" = None
origin: Point = Point(0)
print(pickle.loads(pickle.dumps(origin)), sys.modules["__main__"].origin is origin)
"""
    await run(kernel, "mine: int = 1")
    assert (await scratch(kernel, code)).text == "Point(x=0, before=None) True\n"
    left = "sorted(__annotations__), hasattr(__import__('__main__'), 'origin')"
    assert await printed(kernel, left) == "(['mine'], False)"


async def test_a_future_statement_does_not_reach_the_users_cells(kernel: Kernel) -> None:
    await scratch(kernel, "from __future__ import annotations\ndef f(x: nothing): pass")
    assert (await run(kernel, "def f(x: nothing): pass")).end.status == "error"


async def test_count_history_and_last_results_stay_the_users_own(kernel: Kernel) -> None:
    await run(kernel, "'before'")
    first = (await run(kernel, "'the last'")).end.execution_count
    assert first
    ran = await scratch(kernel, "'another'")
    [result] = ran.outputs
    assert (result["data"]["text/plain"], result["execution_count"]) == ("'another'", None)
    assert (ran.starts[0].execution_count, ran.end.execution_count) == (None, None)
    told = f"_, __, Out[{first}], _{first}, In[-2], sorted(Out)[-1]"
    assert await printed(kernel, told) == (
        f"('the last', 'before', 'the last', 'the last', \"'the last'\", {first})"
    )
    hidden = "get_ipython().history_manager"
    assert await printed(kernel, f"{hidden}.output_hist_reprs[{first}]") == "\"'the last'\""
    assert (await run(kernel, "1 + 1")).end.execution_count == first + 3
    assert await printed(kernel, "_") == "2"


async def test_last_results_and_outputs_can_be_used(kernel: Kernel) -> None:
    await run(kernel, "20 + 1")
    ran = await scratch(kernel, "_ * 2\nprint(_)\nOut.clear()\nIn.append('x')")
    assert ran.text == "21\n"
    assert await printed(kernel, "_") == "21"


async def test_a_failure_has_its_line_in_the_traceback(kernel: Kernel) -> None:
    ran = await scratch(kernel, "made = 0\n1 / made")
    assert ran.end.status == "error"
    assert "1 / made" in ran.end.digest
    assert "ZeroDivisionError" in ran.end.digest
    assert "scratch" not in ran.end.digest
    assert await printed(kernel, "'made' in globals()") == "False"


async def test_code_that_cannot_be_parsed_leaves_the_namespace_alone(kernel: Kernel) -> None:
    await run(kernel, "mine = 1")
    assert (await scratch(kernel, "mine = = 2")).end.status == "error"
    assert await printed(kernel, "mine, globals() is get_ipython().user_ns") == "(1, True)"


async def test_plots_and_displays_are_shown(kernel: Kernel) -> None:
    code = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\ndisplay('shown')"
    ran = await scratch(kernel, code)
    shown = [output["data"] for output in ran.outputs]
    assert [sorted(data) for data in shown if "image/png" in data] == [["image/png", "text/plain"]]
    assert {"text/plain": "'shown'"} in shown
    assert await printed(kernel, "'plt' in globals()") == "False"


async def test_await_works_at_the_top_level(kernel: Kernel) -> None:
    code = "import asyncio\nmade = await asyncio.sleep(0, 'waited')\nprint(made)"
    assert (await scratch(kernel, code)).text == "waited\n"
    assert await printed(kernel, "'made' in globals()") == "False"


async def test_magics_work_with_the_copy_also_those_that_run_cells(kernel: Kernel) -> None:
    await run(kernel, "mine = 1")
    await scratch(kernel, "%%capture shown\nprint('captured')\nmine = 2")
    code = (
        "%time mine = 3\n"
        "get_ipython().run_cell('%matplotlib inline\\ninside = 1')\n"
        "get_ipython().run_cell('')\n"
        "told = !echo {mine}\n"
        "print(told, inside)\n"
        "%who_ls"
    )
    ran = await scratch(kernel, code)
    assert "['3'] 1" in ran.text
    [result] = [output for output in ran.outputs if output["output_type"] == "execute_result"]
    assert result["data"]["text/plain"] == "['inside', 'mine', 'told']"
    assert await printed(kernel, "mine, {'shown', 'told', 'inside'} & set(globals())") == (
        "(1, set())"
    )


@pytest.mark.parametrize(
    "wait", ["import time\ntime.sleep(60)", "import asyncio\nawait asyncio.sleep(60)"]
)
async def test_a_stop_leaves_the_users_namespace(kernel: Kernel, wait: str) -> None:
    await run(kernel, "mine = 1")
    ran = Ran()
    code = f"mine = 2\nprint('begun', flush=True)\n{wait}"
    task = asyncio.ensure_future(scratch(kernel, code, ran))
    await until(lambda: "begun" in ran.text)
    task.cancel()
    with pytest.raises(Stopped, match=r"^$"):
        await task
    assert await printed(kernel, "mine, {'time', 'asyncio'} & set(globals())") == "(1, set())"


async def test_a_limit_leaves_the_users_namespace(make: Callable[..., Kernel]) -> None:
    kernel = make(time_limit=1)
    await run(kernel, "mine = 1")
    ran = await scratch(kernel, "mine = 2\nimport time\ntime.sleep(60)")
    assert ran.end.status == "timeout"
    assert await printed(kernel, "mine") == "1"


async def test_nothing_is_left_in_the_kernel(kernel: Kernel) -> None:
    before = await callbacks(kernel)
    await scratch(kernel, "1 / 0")
    await scratch(kernel, "   ")
    await scratch(kernel, "print('last')")
    assert await callbacks(kernel) == before


async def test_an_end_that_the_kernel_misses_is_made_up_for(kernel: Kernel) -> None:
    await run(kernel, "mine = 1")
    ran = await scratch(kernel, "mine = 2\nget_ipython().events.callbacks['post_run_cell'].clear()")
    assert ran.end.status == "ok"
    assert await kernel.evaluate("def look(names): return names['mine']", "look") == "1"
    assert await printed(kernel, "mine") == "1"


async def test_a_cell_of_the_users_between_is_in_the_users_namespace(
    kernel: Kernel, user: Notebook, gate: Gate
) -> None:
    ran = Ran()
    before = asyncio.ensure_future(scratch(kernel, f"{gate.code}\nmine = 2", ran))
    await until(lambda: bool(ran.starts))
    queued = user.queue("mine = 3")
    after = asyncio.ensure_future(scratch(kernel, "mine += 1\nprint(mine)"))
    gate.open()
    assert (await before).end.status == "ok"
    assert await user.reply(queued) == "ok"
    assert (await after).text == "4\n"
    assert await printed(kernel, "mine") == "3"


async def test_a_task_of_the_run_goes_on_with_its_own_names(kernel: Kernel) -> None:
    code = (
        "import asyncio\nresults = []\nmine = 2\n"
        "async def later():\n    results.append(mine)\n"
        "keep.append(asyncio.ensure_future(later()))\nkeep.append(results)"
    )
    await run(kernel, "keep, mine = [], 1")
    await scratch(kernel, code)
    await run(kernel, "await keep[0]")
    assert await printed(kernel, "keep[1], mine") == "([2], 1)"


async def test_code_does_not_run_in_a_kernel_that_cannot_copy(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = ("def prepare(names): raise ImportError('IPython')", "prepare")
    monkeypatch.setattr(kernel_module, "prepare_call", lambda _token: foreign)
    with pytest.raises(NoScratchRun, match=r"so the code was not run\. Run it without"):
        await scratch(kernel, "mine = 2")
    assert await printed(kernel, "'mine' in globals()") == "False"
