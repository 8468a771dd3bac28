"""What the kernel tells of memory, and that nothing is left open."""

import asyncio
import os
from pathlib import Path

import pytest

from kubelite.node.cgroups import ROOT
from kubelite.node.eviction.memory_notifier import Crossing, KernelNotifier

USE = ROOT / "memory" / "memory.usage_in_bytes"
needs_groups = pytest.mark.skipif(
    os.geteuid() != 0 or not (ROOT / "memory" / "cgroup.event_control").exists(),
    reason="needs control groups of version 1",
)


def opened() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@needs_groups
async def test_the_kernel_tells_when_the_use_of_memory_crosses_a_threshold() -> None:
    before = opened()
    told = asyncio.Event()
    notifier = KernelNotifier()
    notifier.watch([Crossing("", int(USE.read_text()) + (24 << 20))], told.set)
    held = bytearray(96 << 20)  # each page of it is touched
    async with asyncio.timeout(30):
        await told.wait()
    assert held
    notifier.close()
    assert opened() <= before | {str(max(map(int, before)) + 1)}


@needs_groups
async def test_a_new_threshold_takes_the_place_of_the_old_one() -> None:
    notifier = KernelNotifier()
    notifier.watch([Crossing("", 1 << 50)], lambda: None)
    one = opened()
    for number in range(5):
        notifier.watch([Crossing("", (1 << 50) + number)], lambda: None)
    assert len(opened()) == len(one)
    notifier.watch([], lambda: None)
    assert len(opened()) < len(one)


@needs_groups
async def test_a_group_that_no_pod_has_made_yet_is_left_out() -> None:
    notifier = KernelNotifier()
    notifier.watch([Crossing("no-such-group", 1)], lambda: None)
    notifier.close()


async def test_with_groups_of_version_2_stalls_are_watched(tmp_path: Path) -> None:
    if not Path("/proc/pressure/memory").exists() or os.geteuid() != 0:
        pytest.skip("needs root and pressure stall information")
    (tmp_path / "cgroup.controllers").touch()
    before = opened()
    notifier = KernelNotifier(tmp_path)
    notifier.watch([Crossing("", 1), Crossing("kubelite", 2)], lambda: None)
    watched = opened()
    assert len(watched - before) == 2  # the trigger, and an epoll around it
    notifier.watch([Crossing("", 5)], lambda: None)  # which the trigger does not depend on
    assert opened() == watched
    notifier.close()
    assert not opened() - before


async def test_a_kernel_that_cannot_tell_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cgroup.controllers").touch()
    notifier = KernelNotifier(tmp_path, tmp_path / "none")
    for number in range(3):
        notifier.watch([Crossing("", number)], lambda: None)
    assert len(caplog.records) == 1
    notifier.close()
