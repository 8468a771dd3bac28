"""On a real engine: streams end with what they are attached to, and commands that time out leave nothing."""

import asyncio
import contextlib
import logging
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from integration.node_host import (
    TERM,
    RealNode,
    container,
    engine_folder,
    is_ready,
    needs_engine,
    running_node,
)
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.process_tree import is_in_container, open_process, read_processes
from kubelite.node.runtime import ContainerRecord, LogQuery, RuntimeFailure, Session

pytestmark = [*needs_engine, pytest.mark.timeout(300)]
ROUNDS = 40
BUSY = "while True: pass"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    yield from engine_folder()


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[RealNode]:
    async with running_node(folder) as made:
        yield made


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Keep all processors busy: what two programs do at the same time then comes in any order."""
    burning = [
        subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 * (os.cpu_count() or 1))
    ]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def record_of(node: RealNode, name: str) -> ContainerRecord | None:
    assert node.kubelet is not None
    for memory in node.kubelet.memories.values():
        if memory.pod is not None and memory.pod.metadata.name == name:
            return memory.observe().newest("app")
    return None


async def running(node: RealNode, name: str) -> ContainerRecord:
    while (record := record_of(node, name)) is None or record.phase == "created":
        await asyncio.sleep(0.001)
    return record


async def text_of(session: Session) -> bytes:
    output = b""
    while (piece := await session.read()) is not None:
        output += piece[1]
    return output


@pytest.mark.usefixtures("busy_machine")
async def test_an_attach_ends_with_its_container_whenever_it_was_made(node: RealNode) -> None:
    """Made before, while and after the container ends: it ends, or is refused, and what came of it is whole."""
    script = "sleep 0.1; echo said; exit 5"
    refused = attached = 0
    for number in range(ROUNDS):
        name = f"ends-{number}"
        app = container(script=script, stdin=True, stdinOnce=True)
        await node.create({"restartPolicy": "Never", "containers": [app]}, name)
        record = await running(node, name)
        await asyncio.sleep(random.uniform(0.0, 0.3))
        async with asyncio.timeout(30):
            try:
                session = await node.runtime.attach(record.id, tty=False, stdin=True)
            except RuntimeFailure:
                refused += 1
                continue
            finally:
                await node.client.delete(Pod, name, "default", grace_seconds=0)
            assert await text_of(session) in (b"said\n", b"")
            await session.close()
            attached += 1
    assert refused + attached == ROUNDS


def processes_in(record: ContainerRecord, word: str) -> list[int]:
    found = []
    for process in read_processes():
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            folder = open_process(process.pid)
            try:
                if word.encode() in line and is_in_container(folder, record.id):
                    found.append(process.pid)
            finally:
                os.close(folder)
    return found


async def until_none_in(record: ContainerRecord, word: str) -> None:
    async with asyncio.timeout(20):
        while processes_in(record, word):
            await asyncio.sleep(0.05)


async def test_probes_and_hooks_that_time_out_leave_no_process(node: RealNode) -> None:
    """Neither the command nor what it started, in its session or out of it, nor another container's."""
    command = ["sh", "-c", "sleep 4001 & setsid sleep 4002 & (sleep 4003; true); true"]
    probe = {"exec": {"command": command}, "periodSeconds": 1, "failureThreshold": 1000}
    other = container("other", script=f"sleep 4004 & {TERM}")
    spec = {"containers": [container(script=f"sleep 4005 & {TERM}", livenessProbe=probe), other]}
    await node.create(spec)
    pod = await node.until(is_ready)
    record = await running(node, "pod")
    for _ in range(3):
        async with asyncio.timeout(20):
            while not processes_in(record, "4001"):
                await asyncio.sleep(0.02)
        began = processes_in(record, "4001")
        async with asyncio.timeout(20):
            while set(began) & set(processes_in(record, "4001")):
                await asyncio.sleep(0.05)
    # No more than one probe is under way, and the one before may be ending.
    for word in ("4001", "4002", "4003"):
        assert len(processes_in(record, word)) <= 4
    assert len(processes_in(record, "4005")) >= 1
    assert pod.status.containerStatuses[0].restartCount == 0
    session = await node.runtime.exec(record.id, command, tty=False, stdin=False)
    session.kill()
    await session.close()
    assert node.kubelet is not None
    for memory in node.kubelet.memories.values():
        for state in memory.containers.values():
            if state.probes is not None:
                await state.probes.stop()
    for word in ("4001", "4002", "4003"):
        await until_none_in(record, word)
    assert len(processes_in(record, "4005")) >= 1


async def test_input_that_nobody_reads_holds_nothing_up(
    node: RealNode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await node.create({"containers": [container(script=TERM)]})
    await node.until(is_ready)
    record = await running(node, "pod")
    session = await node.runtime.exec(record.id, ["sleep", "4010"], tty=False, stdin=True)

    async def feed() -> None:
        for _ in range(300):
            await session.write(bytes(1 << 20))

    feeding = asyncio.create_task(feed())
    await asyncio.sleep(0.5)
    assert not feeding.done()
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    await session.close_stdin()
    await session.close()
    session.kill()
    await until_none_in(record, "4010")
    again = await node.runtime.exec(record.id, ["sleep", "4011"], tty=False, stdin=True)
    stuck = asyncio.create_task(again.write(bytes(100 << 20)))
    await asyncio.sleep(0.2)
    async with asyncio.timeout(5):
        await node.restart()
    await asyncio.gather(stuck)
    assert [record.getMessage() for record in caplog.records if record.levelno >= 40] == []


@pytest.mark.usefixtures("busy_machine")
async def test_a_followed_log_ends_with_its_container(node: RealNode) -> None:
    for number in range(8):
        name = f"logs-{number}"
        app = container(script="sleep 0.1; echo said; exit 5")
        await node.create({"restartPolicy": "Never", "containers": [app]}, name)
        record = await running(node, name)
        await asyncio.sleep(random.uniform(0.0, 0.3))
        async with asyncio.timeout(30):
            entries = node.runtime.logs(record.id, LogQuery(follow=True))
            assert b"".join([entry.data async for entry in entries]) == b"said\n"
        await node.client.delete(Pod, name, "default", grace_seconds=0)
