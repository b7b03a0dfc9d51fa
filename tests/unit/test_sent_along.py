"""What goes along with a question is read with care, quoted line by line, and bounded."""

from typing import Any

import pytest
from caesarion.chat import context
from caesarion.errors import BusyKernel, KernelError
from caesarion.kernels.kernel import Kernel
from hypothesis import given
from hypothesis import strategies as st


async def no_kernel() -> Kernel | None:
    return None


async def never() -> Kernel:
    raise AssertionError("no kernel is started to look at variables")


NOWHERE = context.TargetKernel(never, no_kernel, "")

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
cells = st.fixed_dictionaries(
    {"number": st.integers(1, 999), "source": st.text(max_size=9000)},
    optional={"selection": st.text(max_size=9000), "execution_count": st.integers() | st.none()},
)


@given(st.dictionaries(st.sampled_from(["notebook_path", "kernel_id", "cell", "variables"]), json))
def test_whatever_a_stamp_holds_it_can_be_read(metadata: dict[str, Any]) -> None:
    stamp = context.read_stamp(metadata)
    assert isinstance(stamp.notebook_path, str)
    assert all(isinstance(name, str) for name in stamp.variables)


def test_what_is_right_in_a_stamp_counts_beside_what_is_not() -> None:
    stamp = context.read_stamp(
        {"notebook_path": "/a.ipynb", "cell": {"number": 0}, "variables": ["x"]}
    )
    assert (stamp.notebook_path, stamp.cell, stamp.variables) == ("a.ipynb", None, ["x"])


@given(cells)
async def test_a_cell_is_bounded_and_no_line_of_it_stands_unquoted(cell: dict[str, Any]) -> None:
    told = await context.describe(context.read_stamp({"cell": cell}), NOWHERE)
    assert len(told) < 30_000
    mark, *lines = told.split("\n")
    assert mark == context.MARK
    ours = [line for line in lines if not line.startswith("|")]
    assert ours[0].startswith(f"The user has selected cell number {cell['number']} of the notebook")
    assert ours[1:] in ([], ["In it, this text is selected:"])


async def test_of_a_long_cell_head_and_tail_are_told() -> None:
    source = "head\n" + "x\n" * 5000 + "tail"
    told = await context.describe(
        context.read_stamp({"cell": {"number": 1, "source": source}}), NOWHERE
    )
    assert "| head\n" in told
    assert "characters left out" in told
    assert told.endswith("| tail")


async def test_without_a_kernel_there_are_no_variables() -> None:
    told = await context.describe(
        context.read_stamp({"variables": ["x", "x", "not a name"]}), NOWHERE
    )
    assert told == f"{context.MARK}\nThere is no variable x in the kernel."


async def test_of_many_variables_some_are_looked_at_and_the_others_named() -> None:
    names = [f"v{number}" for number in range(10)]
    told = await context.describe(context.read_stamp({"variables": names}), NOWHERE)
    assert told.count("There is no variable") == 8
    assert told.endswith("Not looked at, as these are too many: v8, v9.")


@pytest.mark.parametrize("error", [BusyKernel("It is busy."), KernelError("It died.")])
async def test_why_variables_could_not_be_looked_at_is_told(error: KernelError) -> None:
    async def fails() -> Kernel | None:
        raise error

    told = await context.describe(
        context.read_stamp({"variables": ["x"]}), context.TargetKernel(never, fails, "")
    )
    assert told.endswith(f"The variables x could not be looked at. {error}")


async def test_nothing_goes_along_of_an_empty_stamp() -> None:
    assert await context.describe(context.read_stamp(None), NOWHERE) == ""
