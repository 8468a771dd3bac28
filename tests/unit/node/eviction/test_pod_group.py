"""The limits of the group of all pods."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kubelite.node.eviction import pod_group
from kubelite.node.eviction.pod_group import RETRY_SECONDS, PodGroup, enforce
from unit.node.cluster import run_virtually

GIB = 1 << 30


def legacy(root: Path, *controllers: str) -> Path:
    for name in controllers:
        (root / name).mkdir()
    return root


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()
    }


def made_by_kernel(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_version_1(tmp_path: Path) -> None:
    root = legacy(tmp_path, "cpu", "memory", "pids")
    enforce({"cpu": 3500, "memory": 2 * GIB, "pid": 500}, root)
    assert files(root) == {
        "cpu/kubelite/cpu.shares": "3584",
        "memory/kubelite/memory.limit_in_bytes": str(2 * GIB),
        "pids/kubelite/pids.max": "500",
    }
    enforce({"cpu": 4000}, root)
    assert files(root) == {
        "cpu/kubelite/cpu.shares": "4096",
        "memory/kubelite/memory.limit_in_bytes": "-1",
        "pids/kubelite/pids.max": "max",
    }


def test_version_2_and_the_driver_of_systemd(tmp_path: Path) -> None:
    made_by_kernel(tmp_path, "cgroup.controllers")
    (tmp_path / "kubelite.slice").mkdir()
    enforce({"cpu": 1000, "memory": GIB}, tmp_path)
    assert files(tmp_path) == {
        "cgroup.controllers": "",
        "kubelite.slice/cpu.weight": "39",
        "kubelite.slice/memory.max": str(GIB),
        "kubelite.slice/pids.max": "max",
    }


def test_a_controller_that_the_kernel_lacks_is_passed_over(tmp_path: Path) -> None:
    enforce({"cpu": 1000, "pid": 9}, legacy(tmp_path, "cpu"))
    assert list(files(tmp_path)) == ["cpu/kubelite/cpu.shares"]


class Events:
    """Notes the reasons of events."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def event(self, about: object, event_type: str, reason: str, message: str) -> None:
        del about, event_type, message
        self.reasons.append(reason)


def test_a_limit_that_is_refused_is_tried_again_each_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[float] = []

    def refused_twice(amounts: Any, root: Path) -> None:
        del amounts, root
        tries.append(asyncio.get_running_loop().time())
        if len(tries) < 3:
            raise OSError(16, "Device or resource busy")

    async def at_once(work: Any, *arguments: Any) -> Any:
        return work(*arguments)

    monkeypatch.setattr(pod_group, "enforce", refused_twice)
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    events = Events()

    async def main() -> None:
        await PodGroup({"cpu": 1}, "node-1", events).run()  # type: ignore[arg-type]  # only `event` is called

    run_virtually(main())
    assert [after - before for before, after in pairwise(tries)] == [
        RETRY_SECONDS,
        RETRY_SECONDS,
    ]
    assert events.reasons == [
        "FailedNodeAllocatableEnforcement",
        "FailedNodeAllocatableEnforcement",
        "NodeAllocatableEnforced",
    ]
