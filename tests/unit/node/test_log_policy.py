"""How much of a container's output is kept."""

from datetime import timedelta

import pytest

from kubelite.node.log_policy import (
    DeadContainerPolicy,
    LogPolicy,
    read_dead_policy,
    read_log_policy,
)


@pytest.mark.parametrize(
    ("size", "files", "policy"),
    [
        ("10Mi", 5, LogPolicy()),
        ("1k", 2, LogPolicy(1000, 2)),
        ("0.5Gi", 9, LogPolicy(512 << 20, 9)),
        ("-1", 5, LogPolicy(0, 5)),
    ],
)
def test_sizes_are_quantities(size: str, files: int, policy: LogPolicy) -> None:
    assert read_log_policy(size, files) == policy


@pytest.mark.parametrize(("size", "files"), [("10MB", 5), ("", 5), ("10Mi", 1), ("10Mi", -3)])
def test_what_cannot_be_kept_is_refused(size: str, files: int) -> None:
    with pytest.raises(ValueError, match="must"):
        read_log_policy(size, files)


def test_ended_containers_are_kept_by_number_and_age() -> None:
    assert read_dead_policy(1, "0s") == DeadContainerPolicy()
    assert read_dead_policy(-1, "1m30s") == DeadContainerPolicy(-1, timedelta(seconds=90))
    assert read_dead_policy(1, "0s", 240).total == 240
    with pytest.raises(ValueError, match="less than zero"):
        read_dead_policy(1, "-1s")
