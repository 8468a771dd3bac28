"""Which scheduled snapshots are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.backup.names import by_date, is_snapshot, prefix_of, surplus

OURS = [f"scheduled-alpha-2026010{day}-000000-{day}.sealed" for day in range(1, 6)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kubelite-20260102-030405-21.mdb", True),
        ("kubelite-20260102-030405-21.sealed", True),
        ("scheduled-a.b-c-20260102-030405-21.mdb", True),
        ("kubelite-20260102-030405-21.mdb.new", False),
        ("kubelite-20260102-21.mdb", False),
        ("20260102-030405-21.mdb", False),
        ("\x1b[2Jkubelite-20260102-030405-21.mdb", False),
        ("a/kubelite-20260102-030405-21.mdb", False),
        ("a b-20260102-030405-21.mdb", False),
        (".lock", False),
        ("", False),
    ],
)
def test_names(name: str, expected: bool) -> None:
    assert is_snapshot(name) is expected


def test_the_oldest_of_this_server_go() -> None:
    others = [
        "scheduled-beta-20250101-000000-1.sealed",
        "scheduled-alpha-b-20250101-000000-1.sealed",
        "kubelite-20250101-000000-1.sealed",
        "data.mdb",
    ]
    assert surplus([*others, *reversed(OURS)], "alpha", 3) == OURS[:2]
    assert surplus(OURS, "alpha", 5) == []
    assert surplus(OURS, "alpha", 9) == []


def test_order_is_that_of_dates_and_not_of_names() -> None:
    names = ["scheduled-a-20260103-000000-3.mdb", "kubelite-20260104-000000-4.mdb", "x"]
    assert by_date(reversed(names)) == names[:2]


@given(
    st.lists(
        st.builds(
            lambda node, date, end: f"{prefix_of(node)}-{date:08}-000000-1{end}",
            st.sampled_from(["a", "a-b", "b"]),
            st.integers(20_000_101, 20_991_231),
            st.sampled_from([".mdb", ".sealed"]),
        ),
        unique=True,
    ),
    st.integers(1, 6),
)
def test_as_many_stay_as_were_asked_for_and_no_newer_one_goes(names: list[str], keep: int) -> None:
    own = by_date(name for name in names if name.startswith("scheduled-a-2"))
    gone = surplus(names, "a", keep)
    assert list(gone) == own[: len(own) - len(own[-keep:])]
