"""The words of a node under pressure."""

import pytest

from kubelite.node.eviction.conditions import changes, pressure_conditions

ALL = ("MemoryPressure", "DiskPressure", "PIDPressure")


def test_conditions() -> None:
    shown = [(one.type, one.status, one.reason) for one in pressure_conditions(("DiskPressure",))]
    assert shown == [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "True", "KubeletHasDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
    ]
    assert [one.message for one in pressure_conditions(ALL)] == [
        "kubelet has insufficient memory available",
        "kubelet has disk pressure",
        "kubelet has insufficient PID available",
    ]


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        ((), (), []),
        (ALL, ALL, []),
        ((), ALL, ["NodeHasInsufficientMemory", "NodeHasDiskPressure", "NodeHasInsufficientPID"]),
        (ALL, (), ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"]),
    ],
)
def test_events(before: tuple[str, ...], after: tuple[str, ...], reasons: list[str]) -> None:
    assert changes(before, after) == reasons
