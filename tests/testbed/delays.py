"""Delays what passes a host's cable; a program of its own, since this kernel's queues cannot delay.

It runs in the fabric. A slow cable is taken off its bridge and a TAP device takes its place; this program carries
frames between the two, and each waits for its time in between. Frames keep their virtio header, so one of 64 KiB,
which the kernel has not cut into packets yet, costs one read and one write. Measured on a machine of two cores: 9 µs
of CPU a frame, so 1 ms a megabyte of a TCP stream; beyond some 80 000 small frames a second frames are lost. The
program holds 19 MB. Cables without a delay cost nothing. The clock is the kernel's; a delay is exact to 1 ms.

Commands come as lines on standard input, `ADD cable tap`, `SET cable to_seconds from_seconds` and `DROP cable`; each
is answered with a line once it holds. The end of standard input ends the program.
"""

import errno
import fcntl
import heapq
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress

ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 1, 2, 4, 8
FRAME_BYTES_MAX = 10 + 65536 + 64
QUEUE_MAX = 20_000  # frames on their way; more are dropped, as a router drops what it cannot hold

Queue = list[tuple[float, int, Callable[[bytes], object], bytes]]


def open_tap(name: str) -> int:
    """Make a TAP device whose frames carry a virtio header; it vanishes when the descriptor is closed."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(
        tap,
        TUNSETIFF,
        struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR),
    )
    fcntl.ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
    return tap


def open_cable(name: str) -> socket.socket:
    """Open a socket for all frames that a host sends into its cable."""
    cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    cable.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    cable.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    cable.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    cable.bind((name, ETH_P_ALL))
    return cable


class Cable:
    """A slow cable: its two ends and the delay of each direction, in seconds."""

    def __init__(self, name: str, tap: str) -> None:
        self.tap = open_tap(tap)
        self.cable = open_cable(name)
        self.to_host = self.from_host = 0.0

    def write_host(self, frame: bytes) -> None:
        """Hand a frame to the host."""
        self.cable.send(frame)

    def write_fabric(self, frame: bytes) -> None:
        """Hand a frame to the bridge."""
        os.write(self.tap, frame)

    def close(self) -> None:
        """Remove the TAP device; frames on their way are lost."""
        os.close(self.tap)
        self.cable.close()


class Delayer:
    """All slow cables, and the frames on their way, by the time at which they arrive."""

    def __init__(self) -> None:
        self._cables: dict[str, Cable] = {}
        self._queue: Queue = []
        self._count = 0  # frames that are due at once stay in order
        self._ready = selectors.DefaultSelector()
        self._pending = b""

    def run(self) -> None:
        """Carry frames until standard input ends."""
        os.set_blocking(0, False)
        self._ready.register(0, selectors.EVENT_READ, self._command)
        while True:
            for key, _ in self._ready.select(self._pause()):
                if key.data() is False:
                    return
            self._deliver()

    def _pause(self) -> float | None:
        return max(0.0, self._queue[0][0] - time.monotonic()) if self._queue else None

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._queue and self._queue[0][0] <= now:
            _, _, write, frame = heapq.heappop(self._queue)
            with suppress(OSError):  # the host is off, its buffer is full, or the cable was dropped
                write(frame)

    def _hold(self, frame: bytes, seconds: float, write: Callable[[bytes], object]) -> None:
        if len(self._queue) < QUEUE_MAX:
            self._count += 1
            heapq.heappush(self._queue, (time.monotonic() + seconds, self._count, write, frame))

    def _from_host(self, cable: Cable) -> None:
        with suppress(BlockingIOError):
            while True:
                frame = cable.cable.recv(FRAME_BYTES_MAX)
                self._hold(frame, cable.from_host, cable.write_fabric)

    def _to_host(self, cable: Cable) -> None:
        with suppress(BlockingIOError):
            while True:
                frame = os.read(cable.tap, FRAME_BYTES_MAX)
                self._hold(frame, cable.to_host, cable.write_host)

    def _guarded(self, carry: Callable[[Cable], None], cable: Cable) -> Callable[[], None]:
        def ready() -> None:
            try:
                carry(cable)
            except OSError as error:
                if error.errno not in (errno.ENETDOWN, errno.ENXIO, errno.EIO):
                    raise

        return ready

    def _command(self) -> bool:
        """Read commands; return False at the end."""
        piece = os.read(0, 4096)
        *lines, self._pending = (self._pending + piece).split(b"\n")
        for line in lines:
            word, name, *rest = line.decode().split()
            if word == "ADD":
                self._add(name, rest[0])
            elif word == "SET":
                self._cables[name].to_host, self._cables[name].from_host = map(float, rest)
            else:
                self._drop(name)
            sys.stdout.write("done\n")
            sys.stdout.flush()
        return bool(piece)

    def _add(self, name: str, tap: str) -> None:
        cable = self._cables[name] = Cable(name, tap)
        reading = selectors.EVENT_READ
        self._ready.register(cable.cable, reading, self._guarded(self._from_host, cable))
        self._ready.register(cable.tap, reading, self._guarded(self._to_host, cable))

    def _drop(self, name: str) -> None:
        cable = self._cables.pop(name)
        self._queue = [
            entry for entry in self._queue if entry[2] not in (cable.write_host, cable.write_fabric)
        ]
        heapq.heapify(self._queue)
        self._ready.unregister(cable.cable)
        self._ready.unregister(cable.tap)
        cable.close()


if __name__ == "__main__":
    Delayer().run()
