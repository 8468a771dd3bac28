"""The node hears of shutdowns over a real message bus; logind and systemd on it are the test's own."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kubelite.node.shutdown.dbus import BUS, BusConnection, BusUnavailable, CallFailed, system_bus
from kubelite.node.shutdown.dbus_wire import (
    METHOD_CALL,
    METHOD_RETURN,
    SIGNAL,
    Message,
    Variant,
    encode,
)
from kubelite.node.shutdown.logind import (
    LOGIND,
    MANAGER,
    OBJECT,
    SHUTDOWN_SIGNAL,
    SYSTEMD,
    DelayTooShort,
    Logind,
)

pytestmark = pytest.mark.skipif(
    shutil.which("dbus-daemon") is None and not os.environ.get("CI"), reason="needs dbus-daemon"
)
CONFIG = """<busconfig><type>session</type><listen>unix:path={socket}</listen>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/>
<allow receive_requested_reply="true"/><allow own="*"/><allow user="*"/></policy></busconfig>"""


class FakeLogind:
    """What systemd-logind and systemd answer, with what they were asked."""

    def __init__(self, path: str, override: Path) -> None:
        self.bus = BusConnection(path)
        self.override = override
        self.delay_seconds = 5.0
        self.obeys = True
        self.inhibitions: list[tuple[Any, ...]] = []
        self.locks: list[int] = []  # read ends; the end of one is the release of its lock
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.bus.open()
        for name in (LOGIND, SYSTEMD):
            await self.bus.call(BUS, "/org/freedesktop/DBus", BUS, "RequestName", "su", name, 0)
        self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            call = await self.bus.next_message()
            if call.type == METHOD_CALL:
                await self._answer(call)

    async def _answer(self, call: Message) -> None:
        reply = Message(METHOD_RETURN, reply_to=call.serial, destination=call.sender)
        match call.member:
            case "Get":
                value = Variant("t", int(self.delay_seconds * 1_000_000))
                await self.bus.send(replace(reply, signature="v", body=(value,)))
            case "KillUnit":
                assert call.body == ("systemd-logind.service", "all", 1)
                await self.bus.send(reply)
                if self.obeys:
                    (line,) = (
                        one
                        for one in self.override.read_text().splitlines()
                        if one.startswith("InhibitDelayMaxSec=")
                    )
                    self.delay_seconds = float(line.partition("=")[2])
            case "Inhibit":
                self.inhibitions.append(call.body)
                read, write = os.pipe()
                os.set_blocking(read, False)
                self.locks.append(read)
                data = encode(replace(reply, serial=999, signature="h", body=(0,), fds=1))
                assert self.bus._socket is not None
                socket.send_fds(self.bus._socket, [data], [write])
                os.close(write)
            case _:
                raise AssertionError(call.member)

    def is_held(self) -> bool:
        """Return whether the newest lock is held."""
        try:
            return bool(os.read(self.locks[-1], 1))
        except BlockingIOError:
            return True

    async def shut_down(self, *, is_beginning: bool) -> None:
        signal = Message(SIGNAL, path=OBJECT, interface=MANAGER, member=SHUTDOWN_SIGNAL)
        await self.bus.send(replace(signal, signature="b", body=(is_beginning,)))

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self.bus.close()
        for lock in self.locks:
            os.close(lock)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[str]:
    path, config = tmp_path / "bus", tmp_path / "bus.conf"
    config.write_text(CONFIG.format(socket=path))
    program = shutil.which("dbus-daemon")
    assert program is not None, "the package dbus is installed"
    daemon = subprocess.Popen(
        [program, f"--config-file={config}", "--nofork", "--print-address"], stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None
    assert await asyncio.to_thread(daemon.stdout.readline)  # it listens
    yield str(path)
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()


@pytest.fixture
async def logind(bus: str, tmp_path: Path) -> AsyncIterator[FakeLogind]:
    made = FakeLogind(bus, tmp_path / "conf.d" / "99-kubelite.conf")
    await made.start()
    yield made
    await made.stop()


async def test_a_shutdown_is_told_and_delayed(bus: str, logind: FakeLogind) -> None:
    node = Logind(bus, 5, logind.override)
    await node.open()
    assert not logind.override.exists()
    assert logind.inhibitions[0][:2] == ("shutdown", "kubelite")
    assert logind.inhibitions[0][3] == "delay"
    assert logind.is_held()
    shutdowns = node.shutdowns()
    await logind.shut_down(is_beginning=True)
    async with asyncio.timeout(10):
        assert await anext(shutdowns) is True
    assert logind.is_held()
    node.release()
    assert not logind.is_held()
    await logind.shut_down(is_beginning=False)
    async with asyncio.timeout(10):
        assert await anext(shutdowns) is False
    await node.hold()
    assert len(logind.locks) == 2
    assert logind.is_held()
    await node.hold()
    assert logind.is_held()
    await shutdowns.aclose()
    node.close()
    assert not logind.is_held()


async def test_the_delay_is_made_longer_where_it_is_too_short(bus: str, logind: FakeLogind) -> None:
    node = Logind(bus, 120, logind.override)
    await node.open()
    assert logind.delay_seconds == 120
    assert "InhibitDelayMaxSec=120\n" in logind.override.read_text()
    node.close()


async def test_a_logind_that_does_not_wait_long_enough_is_an_error(
    bus: str, logind: FakeLogind
) -> None:
    logind.obeys = False
    node = Logind(bus, 120, logind.override)
    with pytest.raises(DelayTooShort, match="120 s"):
        await node.open()
    assert not logind.locks
    node.close()


async def test_a_bus_without_logind_is_an_error(bus: str, tmp_path: Path) -> None:
    node = Logind(bus, 1, tmp_path / "x.conf")
    with pytest.raises(CallFailed, match="ServiceUnknown"):
        await node.open()
    node.close()


async def test_no_bus_is_an_error(tmp_path: Path) -> None:
    node = Logind(str(tmp_path / "absent"), 1, tmp_path / "x.conf")
    with pytest.raises(BusUnavailable, match="absent"):
        await node.open()
    node.close()


async def test_the_end_of_the_bus_ends_the_shutdowns(bus: str, logind: FakeLogind) -> None:
    node = Logind(bus, 5, logind.override)
    await node.open()
    watcher = BusConnection(bus)
    await watcher.open()
    body, _ = await watcher.call(
        BUS, "/org/freedesktop/DBus", BUS, "GetConnectionUnixProcessID", "s", BUS
    )
    os.kill(int(body[0]), 9)
    with pytest.raises(BusUnavailable):
        async for _ in node.shutdowns():
            pass
    with pytest.raises(BusUnavailable):
        await watcher.call(BUS, "/org/freedesktop/DBus", BUS, "GetId")
    watcher.close()
    node.close()
    assert not logind.is_held()


def test_the_bus_of_the_environment() -> None:
    assert system_bus({}) == "/var/run/dbus/system_bus_socket"
    environment = {
        "DBUS_SYSTEM_BUS_ADDRESS": "tcp:host=x,port=1;unix:abstract=a;unix:path=/x,guid=1"
    }
    assert system_bus(environment) == "/x"
