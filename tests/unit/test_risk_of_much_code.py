"""Classes of risk: code that is made to take long is decided in a bounded number of steps."""

import pytest
from caesarion.agent.risk import classify
from caesarion.agent.risk.budget import Budget
from hypothesis import given
from hypothesis import strategies as st

EVERYTHING = ("writes names", "files", "network", "processes", "installs")
STEPS = 100_000


def lists_of_lists(width: int, depth: int) -> str:
    """Return code in which a name stands for ``width ** depth`` others."""
    names = "abcdefghij"
    lines = [f"{names[i]} = [{', '.join([names[i + 1]] * width)}]" for i in range(depth)]
    return "\n".join([*lines, f"{names[depth]} = 'x'", ""])


@pytest.mark.parametrize(
    ("call", "classes"),
    [
        ("pd.read_csv(a)", ("writes names",)),
        ("import sympy\nsympy.simplify(a)", ("writes names", "processes")),
        ("df.agg(a)", ("writes names", "processes")),
    ],
)
def test_a_name_is_looked_up_once_however_many_ways_lead_to_it(
    call: str, classes: tuple[str, ...]
) -> None:
    budget = Budget(STEPS)
    assert classify(lists_of_lists(50, 4) + call, budget) == classes
    assert budget.left > STEPS - 3_000


@pytest.mark.parametrize(
    "code",
    [
        "x" * 30_001,
        ("a" + ".b" * 200 + "\n") * 70,
        ("os.system(" * 80 + ")" * 80 + "\n") * 40,
        "!ls\n" * 5_000,
        "x = '" + "a" * 20_000 + "'\n" + "f.g(x)\n" * 1_000,
        "x = '" + "a," * 9_000 + "a'\n" + "df.query(x)\n" * 900,
        "x = ['pip']\n" + "con.sql('" + "\\' " * 9_000,
    ],
    ids=lambda code: code[:12],
)
def test_code_that_takes_too_many_steps_has_all_classes(code: str) -> None:
    assert classify(code) == EVERYTHING


PARTS = st.sampled_from(
    [
        *".()[]'\"=,:\n!%?@{}#+\\~",
        "a",
        "f(",
        "os.",
        ".system()",
        "pip ",
        "install ",
        "lambda:",
        "df.query(",
        "df.agg(",
        "HTML(",
        "<a ",
        " on",
        "src=",
        "://",
        "import sympy\n",
        "sympy.S(",
    ]
)


@given(st.lists(PARTS, min_size=1, max_size=6), st.integers(1, 200))
def test_repeated_code_takes_no_more_steps_than_its_budget(parts: list[str], count: int) -> None:
    budget = Budget(2_000)
    classes = classify("".join(parts) * count, budget)
    assert budget.left >= 0 or classes == EVERYTHING


def test_an_installer_is_found_behind_many_that_install_nothing() -> None:
    code = "import os\nos.system('" + "pip " * 6_000 + "{}')"
    assert classify(code.format("install x")) == ("processes", "installs")
    assert classify(code.format("list")) == ("processes",)
