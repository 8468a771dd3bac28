"""What the kernel's log says of processes that it killed."""

import asyncio
import os
from pathlib import Path

import pytest

from kubelite.node.eviction.oom_watch import OOMWatch, Victim, victim_of

GLOBAL = (
    b"3,1009,94881,-;Out of memory: Killed process 4711 (stress) total-vm:1kB, anon-rss:1kB, "
    b"file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:1000"
)


@pytest.mark.parametrize(
    ("record", "victim"),
    [
        (GLOBAL, Victim(4711, "stress")),
        (
            b"3,1,2,-;Out of memory (oom_kill_allocating_task): Killed process 5 (a b) total",
            Victim(5, "a b"),
        ),
        # Of a container with a limit: its engine tells.
        (b"3,1,2,-;Memory cgroup out of memory: Killed process 5 (x) total-vm:1kB", None),
        # Written by a program, whose facility is never the kernel's.
        (b"11,1,2,-;Out of memory: Killed process 1 (init) total-vm:1kB", None),
        (b"3,1,2,-;x Out of memory: Killed process 1 (init) total-vm:1kB", None),
        (b"", None),
        (b"\xff\xfe;\xff", None),
        (b"x,1;Out of memory: Killed process 1 (init)", None),
    ],
)
def test_records(record: bytes, victim: Victim | None) -> None:
    assert victim_of(record) == victim


def test_the_message_is_upstreams() -> None:
    assert Victim(7, "x").message() == "System OOM encountered, victim process: x, pid: 7"


async def test_a_kill_is_reported_once_the_log_has_it(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    told: asyncio.Queue[Victim] = asyncio.Queue()

    task = asyncio.create_task(OOMWatch(told.put_nowait, path, skip=False).run())
    try:
        os.write(writer, GLOBAL)
        async with asyncio.timeout(10):
            assert await told.get() == Victim(4711, "stress")
    finally:
        task.cancel()
        os.close(writer)


async def test_without_a_log_nothing_is_watched(tmp_path: Path) -> None:
    async with asyncio.timeout(10):
        await OOMWatch(lambda _: None, tmp_path / "none").run()
