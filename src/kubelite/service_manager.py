"""Tells the service manager that started this process when it is ready, that it stops, and that it is alive.

The protocol is sd_notify(3): datagrams of lines KEY=VALUE to the socket that NOTIFY_SOCKET names.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Final

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
BEATS_PER_DEADLINE = 3  # so that one that is late does no harm


class ServiceManager:
    """What listens at NOTIFY_SOCKET; nothing at all if no service manager waits for this process."""

    def __init__(self, address: str = "", watchdog_seconds: float = 0.0) -> None:
        self._address = address
        self._watchdog_seconds = watchdog_seconds
        self._beat: asyncio.TimerHandle | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything is told at all."""
        return bool(self._address)

    def ready(self) -> None:
        """Tell that the start is over, and from now on that the event loop runs. On the loop."""
        # Without MAINPID: the parent of this process may be what was started, as that of a single-file program is, and
        # systemd does not wait for the end of a process that is not its own child.
        self._tell("READY=1\nSTATUS=ready")
        if self.is_there and self._watchdog_seconds:
            self._keep_alive()

    def stopping(self) -> None:
        """Tell that the process ends."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        self._tell("STOPPING=1\nSTATUS=stopping")

    def _keep_alive(self) -> None:
        self._tell("WATCHDOG=1")
        pause = self._watchdog_seconds / BEATS_PER_DEADLINE
        self._beat = asyncio.get_running_loop().call_later(pause, self._keep_alive)

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        # A service manager that is gone, or whose queue is full, must neither stop nor hold the process.
        with (
            suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            sender.setblocking(False)
            sender.sendto(message.encode(), self._address)


def service_manager(
    environment: MutableMapping[str, str], pids: Callable[[], tuple[int, int]] | None = None
) -> ServiceManager:
    """Return the service manager that the environment names, and remove its variables from the environment.

    Programs that this process starts must not speak for it. `pids` returns the ids of this process and its parent.
    """
    found = {name: environment.pop(name, "") for name in VARIABLES}
    own = (os.getpid(), os.getppid()) if pids is None else pids()
    return ServiceManager(_socket_address(found["NOTIFY_SOCKET"]), _watchdog_seconds(found, own))


def _socket_address(text: str) -> str:
    """Return the address for `sendto`; "" for none, and for a kind that is not known."""
    if text.startswith("@"):
        return "\0" + text[1:]  # an abstract one
    return text if text.startswith("/") else ""


def _watchdog_seconds(found: Mapping[str, str], own: tuple[int, int]) -> float:
    """Return the time within which a sign of life is expected; 0 if none is expected of this process."""
    meant, microseconds = found["WATCHDOG_PID"], found["WATCHDOG_USEC"]
    if meant and meant not in map(str, own):
        return 0.0
    return int(microseconds) / 1e6 if microseconds.isascii() and microseconds.isdigit() else 0.0
