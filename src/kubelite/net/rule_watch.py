"""Detects that another program removed rules, from nftables' netlink notifications."""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable

from kubelite.net.netlink_messages import NETLINK_NETFILTER, decode_attributes, messages
from kubelite.net.nftables import OWN_NAME

log = logging.getLogger(__name__)

GROUP_NFTABLES = 7
SO_RCVBUFFORCE = 33  # sets a buffer beyond the system's limit; needs CAP_NET_ADMIN
SUBSYSTEM_NFTABLES = 10
DELETIONS = frozenset({2, 5, 8, 11, 14})  # of a table, chain, rule, set, element
NEW_CHAIN, NEW_GENERATION = 3, 15
TABLE_NAME, GENERATION_PROCESS_NAME = 1, 3
FAMILY_HEADER = struct.Struct("=BBH")
RECEIVE_BYTES = 1 << 18
RECEIVE_BUFFER_BYTES = 1 << 22
READS_PER_CALL = 16
UNKNOWN = "*"  # messages were lost: any table may have changed


class ChangeReader:
    """Collects the tables that other processes changed; the last message of a transaction names its process."""

    def __init__(self) -> None:
        self._touched: set[str] = set()

    def read(self, data: bytes) -> set[str]:
        """Return the names of tables in which transactions that ended in `data`, not our own, removed something."""
        changed: set[str] = set()
        for kind, _, _, payload in messages(data):
            if kind >> 8 != SUBSYSTEM_NFTABLES:
                continue
            message = kind & 0xFF
            if message in DELETIONS or message == NEW_CHAIN:
                self._touched.add(_text(payload, TABLE_NAME))
            elif message == NEW_GENERATION:
                if self._touched and _text(payload, GENERATION_PROCESS_NAME) != OWN_NAME:
                    changed |= self._touched
                self._touched.clear()
        return changed


class RuleWatch:
    """Calls `on_change` with the tables that other processes changed; UNKNOWN if notifications were lost."""

    def __init__(self, on_change: Callable[[set[str]], None]) -> None:
        self._on_change = on_change
        self._reader = ChangeReader()
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Subscribe to notifications. Raises PermissionError without CAP_NET_ADMIN."""
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        sock.bind((0, 1 << (GROUP_NFTABLES - 1)))
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read)

    def stop(self) -> None:
        """Unsubscribe; harmless when not subscribed."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        for _ in range(READS_PER_CALL):
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._on_change({UNKNOWN})
                continue
            if changed := self._reader.read(data):
                self._on_change(changed)


def _text(payload: bytes, attribute: int) -> str:
    value = decode_attributes(payload[FAMILY_HEADER.size :]).get(attribute, b"")
    return value.rstrip(b"\0").decode(errors="replace")
