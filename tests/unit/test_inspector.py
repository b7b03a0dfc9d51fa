"""What a digest of a value says, exactly; that it is bounded and survives whatever it looks at."""

import collections
import time
import unittest.mock
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from caesarion.kernels.inspector import DIGEST, NAMES, Inspection, listed
from hypothesis import given
from hypothesis import strategies as st


def digest(value: Any, look: float = 10.0, altogether: float = 20.0) -> str:
    told = Inspection(look, altogether).digest({"it": value}, "it")
    assert told is not None
    return told.replace(f" ({__name__.partition('.')[0]})", " (tests)")


class Raises:
    def __repr__(self) -> str:
        raise ValueError("a secret")


class Slow:
    def __repr__(self) -> str:
        time.sleep(30)
        return "never"


class Stubborn:
    """Catches what is raised into it, once."""

    def __repr__(self) -> str:
        try:
            time.sleep(30)
        except BaseException:
            time.sleep(30)
        return "never"


class Huge:
    def __repr__(self) -> str:
        return "x" * 10_000_000


class Wrong:
    def __repr__(self) -> str:
        return 3  # type: ignore[return-value]


class Hostile:
    """Fails at whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise KeyError(name)


class Liar:
    """Says that it is a list, and a table."""

    __class__ = list  # type: ignore[assignment]
    shape = "many"
    columns = dtypes = 3

    def __repr__(self) -> str:
        return "Liar()"


class OddText(str):
    __slots__ = ()

    def __len__(self) -> int:
        return -1

    def __getitem__(self, key: Any) -> str:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


class OddList(list[Any]):
    def __len__(self) -> int:
        raise RuntimeError

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError


class Tensor:
    """Like one of a library that is not known here."""

    def __init__(self, values: Any, device: str = "cuda:0") -> None:
        self.shape = np.shape(values)
        self.dtype = "float16"
        self.device = device
        self._values = values

    def __getitem__(self, key: Any) -> "Tensor":
        return Tensor(np.asarray(self._values)[key], self.device)

    def tolist(self) -> Any:
        return np.asarray(self._values).tolist()


def area(width: float, height: float = 1.0) -> float:
    """Return the area.

    Of a rectangle.
    """
    return width * height


Point = collections.namedtuple("Point", ["x", "y"])

TABLE = pd.DataFrame(
    {
        "day": pd.date_range("2026-01-01", periods=1000),
        "rain": [0.5] * 1000,
        "place": ["a rather long name of a place that nobody needs whole"] * 1000,
    }
)

RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "NoneType\nNone"),
        (True, "bool\nTrue"),
        (41, "int\n41"),
        (10**6000, "int\n[an integer of 19,932 bits]"),
        (0.5, "float\n0.5"),
        ("", "str, 0 characters\n''"),
        ("a\nb", "str, 3 characters\n'a\\nb'"),
        ("ab" * 1000, f"str, 2,000 characters\n'{'ab' * 200}'..."),
        (b"\x00", "bytes, 1 byte\nb'\\x00'"),
        ([], "list, 0 items\n[]"),
        (list(range(100)), "list, 100 items\n[0, 1, 2, 3, 4, 5, 6, 7, ... 92 more]"),
        ((1, "a"), "tuple, 2 items\n(1, 'a')"),
        ({1}, "set, 1 item\n{1}"),
        ({"a": [1, {"b": 2}]}, "dict, 1 item\n{'a': [1, {'b': 2}]}"),
        ([[[[1]]]], "list, 1 item\n[[[[...]]]]"),
        (RECURSIVE, "list, 1 item\n[[[[...]]]]"),
        (collections.Counter("aab"), "Counter (collections), 2 items\n{'a': 2, 'b': 1}"),
        (Point(1, 2), "Point (tests), 2 items\n(1, 2)"),
        (area, "function\narea(width: float, height: float = 1.0) -> float\nReturn the area."),
        (np.zeros((3, 4)), "ndarray (numpy), 3 x 4\nshape: (3, 4), dtype: float64\n"
                           "first values: [0.0, 0.0, 0.0, 0.0]"),
        (np.array(2), "ndarray (numpy), a single value\nshape: (), dtype: int64\nfirst values: 2"),
        (np.zeros((0, 3)), "ndarray (numpy), 0 x 3\nshape: (0, 3), dtype: float64"),
        (pd.Series([1.5, 2.5]), "Series (pandas), 2 values\ndtype: float64\n"
                                "first values:\n0    1.5\n1    2.5"),
        (Tensor([[1, 2], [3, 4]]), "Tensor (tests)\nshape: (2, 2), dtype: float16, device: cuda:0\n"
                                   "first values: [1, 2]"),
        (Raises(), "Raises (tests)\n[not shown: ValueError when it was looked at]"),
        (Wrong(), "Wrong (tests)\n[not shown: TypeError when it was looked at]"),
        (Hostile(), "Hostile (tests)\n[not shown: KeyError when it was looked at]"),
        (Liar(), "Liar (tests)\nLiar()"),
        (OddText("abc"), "OddText (tests), 3 characters\n'abc'"),
        (OddList([1]), "OddList (tests), 1 item\n[1]"),
        (Slow(), "Slow (tests)\n[not shown: it took longer than 0.2 seconds]"),
        (Stubborn(), "Stubborn (tests)\n[not shown: it took longer than 0.2 seconds]"),
        ([Slow(), 1], "list, 2 items\n[[not shown: it took longer than 0.2 seconds], 1]"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_digest_says_what_a_value_is(value: Any, told: str) -> None:
    assert digest(value, look=0.2, altogether=1.0) == told


def test_a_value_cannot_end_the_kernel() -> None:
    class Quits:
        def __repr__(self) -> str:
            raise SystemExit

    assert digest(Quits()) == "Quits (tests)\n[not shown: SystemExit when it was looked at]"


def test_a_table_is_told_by_its_columns_and_first_rows() -> None:
    assert digest(TABLE).split("\n") == [
        "DataFrame (pandas), 1,000 rows x 3 columns",
        f"columns: day: {TABLE['day'].dtype}, rain: float64, place: {TABLE['place'].dtype}",
        "first rows:",
        "         day  rain                          place",
        "0 2026-01-01   0.5  a rather long name of a pl...",
        "1 2026-01-02   0.5  a rather long name of a pl...",
        "2 2026-01-03   0.5  a rather long name of a pl...",
        "3 2026-01-04   0.5  a rather long name of a pl...",
        "4 2026-01-05   0.5  a rather long name of a pl...",
    ]


def test_of_a_wide_table_some_columns_are_told() -> None:
    told = digest(pd.DataFrame(np.zeros((3, 1000))))
    assert "39: float64, ... 960 more columns" in told
    assert len(told) <= DIGEST


def test_a_table_of_hostile_things_is_told_without_its_rows() -> None:
    assert digest(pd.DataFrame({"a": [Raises()]})) == (
        "DataFrame (pandas), 1 row x 1 column\ncolumns: a: object\nfirst rows:\n"
        "[not shown: ValueError when it was looked at]"
    )


def test_all_looks_together_take_a_bounded_time() -> None:
    told = digest([Slow() for _ in range(8)], look=0.1, altogether=0.25)
    looked_at = told.count("took longer than 0.1 seconds")
    assert 1 <= looked_at <= 3
    assert told.count("[not looked at: the values before it took too long]") == 8 - looked_at


def test_an_unknown_name_has_no_digest() -> None:
    assert Inspection().digest({"x": 1}, "y") is None


def test_the_list_runs_no_code_of_the_users() -> None:
    mock = unittest.mock.MagicMock()
    namespace = {"hostile": Hostile(), "odd": OddText("abc"), "mock": mock, "slow": Slow()}
    assert listed(namespace) == [
        {"name": "hostile", "type": "Hostile", "shape": ""},
        {"name": "odd", "type": "OddText", "shape": "3 characters"},
        {"name": "mock", "type": "MagicMock", "shape": ""},
        {"name": "slow", "type": "Slow", "shape": ""},
    ]
    assert mock.mock_calls == []


def test_of_many_names_the_newest_are_listed() -> None:
    names = [one["name"] for one in listed({f"v{number}": 1 for number in range(NAMES + 5)})]
    assert names == [f"v{number}" for number in range(5, NAMES + 5)]


def test_modules_and_hidden_names_are_not_listed() -> None:
    assert listed({"np": np, "_x": 1, "a-b": 1, 3: 1}) == []  # type: ignore[dict-item]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.integers(0, 5000).map(lambda size: "ü\n" * size)
    | st.builds(Raises)
    | st.builds(Huge)
    | st.builds(Hostile),
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.dictionaries(st.text(max_size=300), inner, max_size=30)
        | st.tuples(inner, inner)
        | st.lists(inner, max_size=30).map(OddList)
        | st.lists(st.text(), min_size=1, max_size=30).map(lambda names: pd.DataFrame([names]))
    ),
    max_leaves=60,
)


@given(values)
def test_whatever_a_value_is_its_digest_is_bounded_text(value: Any) -> None:
    told = digest(value)
    assert type(told) is str
    assert 0 < len(told) <= DIGEST
