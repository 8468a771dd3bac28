"""What a service manager hears of a process, and what it does not."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kubelite.prerequisites import CannotStart
from kubelite.running import Fail, until_stopped
from kubelite.service_manager import service_manager


@pytest.fixture(params=["path", "abstract"])
def heard(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify")[-90:] if request.param == "abstract" else f"{tmp_path}/n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name if request.param == "abstract" else name)
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if request.param == "abstract" else name)
        yield listening


def messages(heard: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(heard.recv(4096).decode())
        except BlockingIOError:
            return found


async def test_a_start_and_a_stop_are_told(heard: socket.socket) -> None:
    steps: list[tuple[str, list[str]]] = []

    async def start(running: AsyncExitStack, _: Fail) -> None:
        steps.append(("starting", messages(heard)))
        running.callback(lambda: steps.append(("closing", messages(heard))))
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    await until_stopped(start, lambda: steps.append(("greeting", messages(heard))))
    assert steps == [
        ("starting", []),
        ("greeting", []),
        (
            "closing",
            ["READY=1\nSTATUS=ready", "STOPPING=1\nSTATUS=stopping"],
        ),
    ]
    assert "NOTIFY_SOCKET" not in os.environ  # programs that are started must not speak for it


async def test_a_start_that_fails_is_never_ready(heard: socket.socket) -> None:
    async def start(_: AsyncExitStack, __: Fail) -> None:
        raise CannotStart("no")

    with pytest.raises(CannotStart):
        await until_stopped(start, lambda: None)
    assert messages(heard) == []


async def test_the_watchdog_hears_of_the_loop_until_the_stop(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")  # a beat each 10 ms
    manager = service_manager(os.environ)
    manager.ready()
    beats: list[str] = []
    while beats.count("WATCHDOG=1") < 3:
        await asyncio.sleep(0.01)
        beats += messages(heard)
    manager.stopping()
    messages(heard)
    await asyncio.sleep(0.05)
    assert messages(heard) == []


@pytest.mark.parametrize(
    ("microseconds", "meant", "expected"),
    [
        ("3000000", "", 3.0),
        ("3000000", "10", 3.0),
        ("3000000", "9", 3.0),  # the parent of a single-file program is what was started
        ("3000000", "11", 0.0),
        ("", "", 0.0),
        ("many", "10", 0.0),
        ("²", "10", 0.0),
    ],
)
def test_signs_of_life_are_sent_only_where_they_are_expected(
    microseconds: str, meant: str, expected: float
) -> None:
    variables = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": microseconds, "WATCHDOG_PID": meant}
    assert service_manager(variables, lambda: (10, 9))._watchdog_seconds == expected
    assert variables == {}


@pytest.mark.parametrize(
    "address", ["", "relative", "vsock:2:1", "/absent/socket", "/" + "x" * 200]
)
async def test_a_service_manager_that_cannot_be_reached_is_no_failure(address: str) -> None:
    manager = service_manager({"NOTIFY_SOCKET": address})
    manager.ready()
    manager.stopping()


async def test_a_full_queue_holds_nothing(heard: socket.socket) -> None:
    manager = service_manager(os.environ)
    for _ in range(2000):
        manager.stopping()
    assert 0 < len(messages(heard)) < 2000
