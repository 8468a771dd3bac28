"""The flags of thresholds, with upstream's words where it refuses them."""

from collections.abc import Sequence

import pytest

from kubelite.node.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    Amount,
    EvictionSettings,
    InvalidThreshold,
    Threshold,
    parse_thresholds,
    split_pairs,
)


def hard(*texts: str) -> tuple[Threshold, ...]:
    return parse_thresholds(texts, enforces_allocatable=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("memory.available<100Mi", Threshold("memory.available", Amount("100Mi"))),
        ("nodefs.available<10%", Threshold("nodefs.available", Amount(percent=10.0))),
        ("imagefs.inodesFree < 2.5%", Threshold("imagefs.inodesFree", Amount(percent=2.5))),
        ("pid.available<1k", Threshold("pid.available", Amount("1k"))),
        ("memory.available<1024Mi", Threshold("memory.available", Amount("1Gi"))),
    ],
)
def test_hard_thresholds(text: str, expected: Threshold) -> None:
    assert hard(text) == (expected,)
    assert expected.is_hard


def test_several_in_one_value_and_several_values_are_one_set_in_which_the_last_counts() -> None:
    found = hard("memory.available<1Mi,nodefs.available<5%", "memory.available<2Mi", "")
    assert [(one.signal, one.amount) for one in found] == [
        ("memory.available", Amount("2Mi")),
        ("nodefs.available", Amount(percent=5.0)),
    ]


@pytest.mark.parametrize("text", ["", "nodefs.available<0%", "nodefs.available<100%"])
def test_a_signal_can_be_switched_off(text: str) -> None:
    assert hard(text) == ()


def test_thresholds_of_the_container_filesystem_are_those_of_the_others() -> None:
    assert hard("containerfs.available<5%", "containerfs.inodesFree<5%") == ()


def test_soft_thresholds_have_a_grace_period_and_all_a_minimum_reclaim() -> None:
    found = parse_thresholds(
        ["memory.available<1Gi"],
        ["memory.available<2Gi"],
        ["memory.available=1m30s"],
        ["memory.available=512Mi"],
        enforces_allocatable=False,
    )
    reclaim = Amount("512Mi")
    assert found == (
        Threshold("memory.available", Amount("1Gi"), 0.0, reclaim),
        Threshold("memory.available", Amount("2Gi"), 90.0, reclaim),
    )


def test_the_hard_threshold_for_memory_counts_for_all_pods_together_too() -> None:
    found = parse_thresholds(
        ["memory.available<1Gi"], ["memory.available<2Gi"], ["memory.available=1s"]
    )
    assert found[-1] == Threshold(ALLOCATABLE_MEMORY, Amount("1Gi"))
    assert [one.signal for one in found].count(ALLOCATABLE_MEMORY) == 1
    assert len(EvictionSettings().thresholds) == 6


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((["memory.free<1Mi"],), "unsupported eviction signal memory.free"),
        ((["memory.available"],), "malformed pair, expect string<string"),
        (
            (["memory.available<-1Mi"],),
            "eviction threshold memory.available must be positive: -1Mi",
        ),
        ((["memory.available<0"],), "eviction threshold memory.available must be positive: 0"),
        (
            (["memory.available<-1%"],),
            "eviction percentage threshold memory.available must be >= 0%: -1%",
        ),
        (
            (["memory.available<101%"],),
            "eviction percentage threshold memory.available must be <= 100%: 101%",
        ),
        ((["memory.available<many"],), "many"),
        ((["memory.available<nan%"],), "'nan%' is no percentage"),
        ((["memory.available<x%"],), "'x%' is no percentage"),
        (
            ([], ["memory.available<1Mi"]),
            "grace period must be specified for the soft eviction threshold memory.available",
        ),
        (([], [], ["memory.available=soon"]), 'time: invalid duration "soon"'),
        (
            ([], [], ["memory.available=-1s"]),
            "invalid eviction grace period specified: -1s, must be a positive value",
        ),
        (([], [], ["x=1s"]), "unsupported eviction signal x"),
        (
            ([], [], [], ["memory.available=-1Mi"]),
            "negative eviction minimum reclaim specified for memory.available",
        ),
        (
            ([], [], [], ["memory.available=0%"]),
            "eviction percentage minimum reclaim memory.available must be positive: 0%",
        ),
    ],
)
def test_what_is_refused(flags: Sequence[Sequence[str]], words: str) -> None:
    with pytest.raises(InvalidThreshold) as refused:
        parse_thresholds(*flags)
    assert words in str(refused.value)


def test_amounts() -> None:
    assert Amount("100Mi").of(1) == 100 << 20
    assert Amount(percent=10.0).of(1000) == 100
    assert Amount("100Mi").shown(1) == "100Mi"
    assert Amount(percent=50.0).shown(4096) == "2Ki"


def test_pairs_may_be_spaced() -> None:
    assert split_pairs(["a=1 , b = 2", "", "a=3"], "=") == {"a": "3", "b": "2"}
