"""Hears of shutdowns from systemd-logind, and delays them by its inhibitor lock (inhibitor locks of systemd)."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from kubelite.backoff import backoff_seconds
from kubelite.node.machine import read_host_file
from kubelite.node.shutdown.dbus import BUS, BusConnection, CallFailed
from kubelite.node.shutdown.dbus_wire import SIGNAL, Variant

log = logging.getLogger(__name__)

LOGIND, OBJECT = "org.freedesktop.login1", "/org/freedesktop/login1"
MANAGER = "org.freedesktop.login1.Manager"
SYSTEMD, SYSTEMD_OBJECT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
SHUTDOWN_SIGNAL = "PrepareForShutdown"
OVERRIDE = Path("/etc/systemd/logind.conf.d/99-kubelite.conf")
HEADER = "# Written by kubelite for --shutdown-grace-period"
HANGUP = 1  # the signal by which logind reads its settings
OVERRIDE_TRIES = 5  # of which each waits twice as long as the one before
OVERRIDE_FIRST_SECONDS = 0.1
OVERRIDE_MAX_SECONDS = 2.0


def remove_override(override: Path = OVERRIDE) -> bool:
    """Remove the settings that were written for logind; return whether there were any. Blocking; raises OSError."""
    if not read_host_file(override).startswith(HEADER):
        return False
    override.unlink()
    return True


class DelayTooShort(Exception):
    """logind does not delay a shutdown for as long as it was asked to."""


class Logind:
    """One connection to logind. `open` it, then iterate over `shutdowns`."""

    def __init__(self, socket: str, delay_seconds: int, override: Path = OVERRIDE) -> None:
        """`delay_seconds` is how long a shutdown has to wait; `override` the file of settings for that."""
        self._bus = BusConnection(socket)
        self._delay_seconds = delay_seconds
        self._override = override
        self._lock = -1

    async def open(self) -> None:
        """Connect, and have shutdowns delayed. Raises BusUnavailable, CallFailed, DelayTooShort and OSError."""
        await self._bus.open()
        if await self._delay_max() < self._delay_seconds:
            await self._lengthen_delay()
        rule = f"type='signal',sender='{LOGIND}',interface='{MANAGER}',member='{SHUTDOWN_SIGNAL}'"
        await self._bus.call(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", "s", rule)
        await self.hold()

    async def _delay_max(self) -> float:
        """Return the longest delay that logind grants, in seconds."""
        properties = "org.freedesktop.DBus.Properties"
        body, _ = await self._call(properties, "Get", "ss", MANAGER, "InhibitDelayMaxUSec")
        match body:
            case (Variant(signature="t", value=int(microseconds)),):
                return microseconds / 1_000_000
            case _:
                raise CallFailed("InhibitDelayMaxUSec from logind is not a uint64 as expected")

    async def _lengthen_delay(self) -> None:
        await asyncio.to_thread(self._write_override)
        await self._bus.call(
            SYSTEMD,
            SYSTEMD_OBJECT,
            "org.freedesktop.systemd1.Manager",
            "KillUnit",
            "ssi",
            "systemd-logind.service",
            "all",
            HANGUP,
        )
        # Nothing tells when logind has read its settings.
        for attempt in range(OVERRIDE_TRIES):
            if await self._delay_max() >= self._delay_seconds:
                return
            await asyncio.sleep(
                backoff_seconds(attempt, OVERRIDE_FIRST_SECONDS, OVERRIDE_MAX_SECONDS)
            )
        raise DelayTooShort(
            f"logind delays a shutdown for less than {self._delay_seconds} s, also with "
            f"InhibitDelayMaxSec in {self._override}"
        )

    def _write_override(self) -> None:
        self._override.parent.mkdir(parents=True, exist_ok=True)
        text = f"{HEADER}\n[Login]\nInhibitDelayMaxSec={self._delay_seconds}\n"
        self._override.write_text(text)

    async def hold(self) -> None:
        """Take the lock that delays the next shutdown. Raises BusUnavailable and CallFailed."""
        why = "kubelite needs time to end the pods of this node"
        _, fds = await self._call(MANAGER, "Inhibit", "ssss", "shutdown", "kubelite", why, "delay")
        if len(fds) != 1:
            for fd in fds:
                os.close(fd)
            raise CallFailed("logind gave no lock")
        self.release()
        (self._lock,) = fds

    def release(self) -> None:
        """Let a shutdown that is delayed go on."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def shutdowns(self) -> AsyncGenerator[bool, None]:
        """Yield True when a shutdown begins, False when it was cancelled. Raises BusUnavailable at the end."""
        while True:
            message = await self._bus.next_message()
            is_ours = message.path == OBJECT and message.interface == MANAGER
            if message.type != SIGNAL or not is_ours or message.member != SHUTDOWN_SIGNAL:
                continue
            match message.body:
                case (bool(is_beginning),):
                    yield is_beginning
                case _:
                    log.warning("logind sent a PrepareForShutdown that is not understood")

    async def _call(
        self, interface: str, member: str, signature: str, *body: Any
    ) -> tuple[tuple[Any, ...], list[int]]:
        return await self._bus.call(LOGIND, OBJECT, interface, member, signature, *body)

    def close(self) -> None:
        """Give the lock back and end the connection."""
        self.release()
        self._bus.close()
