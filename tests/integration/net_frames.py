"""Frames that a container writes byte by byte, each with a name in it, and what of them arrives where."""

import asyncio
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address

IPV4, ARP, VLAN, IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
UDP, ICMPV6 = 17, 58
BROADCAST = bytes.fromhex("ffffffffffff")
SEND = """
import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((sys.argv[1], 0))
for line in sys.stdin:
    link.send(bytes.fromhex(line))
"""
HEAR = """
import re, select, socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind((sys.argv[1], 3))
print("ready", flush=True)
while True:
    ready = select.select([link, 0], [], [])[0]
    if link in ready:
        for name in re.findall(rb"<([^<>]+)>", link.recv(2000)):
            print(name.decode(), flush=True)
    elif 0 in ready:
        sys.exit()
"""


def _packed(address: str) -> bytes:
    return ip_address(address).packed


def mark(name: str) -> bytes:
    """The name of a frame, of a length that is a multiple of 8."""
    text = f"<{name}>".encode()
    return text + bytes(-len(text) % 8)


def frame(to: bytes, source: bytes, kind: int, body: bytes) -> bytes:
    """An Ethernet frame."""
    return to + source + kind.to_bytes(2, "big") + body + bytes(max(0, 46 - len(body)))


def tagged(whole: bytes, number: int = 0) -> bytes:
    """The same frame with the tag of a VLAN."""
    return whole[:12] + VLAN.to_bytes(2, "big") + number.to_bytes(2, "big") + whole[12:]


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, to: str, name: str) -> bytes:
    """A datagram to port 9999."""
    datagram = struct.pack("!HHHH", 9999, 9999, 8 + len(mark(name)), 0) + mark(name)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, UDP, 0)
    head += _packed(source) + _packed(to)
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + datagram


def arp(operation: int, mac: bytes, source: str, to: str, name: str) -> bytes:
    """A question (1) or an answer (2)."""
    sides = mac + _packed(source) + bytes(6) + _packed(to)
    return struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + sides + mark(name)


def ipv6(source: str, to: str, name: str) -> bytes:
    """A packet that nothing comes after (protocol 59)."""
    return _ipv6(source, to, mark(name), 59)


def _ipv6(source: str, to: str, payload: bytes, protocol: int) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255)
    return head + _packed(source) + _packed(to) + payload


def advertisement(
    source: str, to: str, target: str, mac: bytes, name: str, *, is_hidden: bool = False
) -> bytes:
    """Say that `target` is at `mac`; hidden behind a header of options."""
    message = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + _packed(target) + b"\x02\x01" + mac
    named = mark(name)
    message += struct.pack("!BB6x", 253, 1 + len(named) // 8) + named  # an option that nobody knows
    pseudo = _packed(source) + _packed(to) + struct.pack("!II", len(message), ICMPV6)
    message = message[:2] + checksum(pseudo + message).to_bytes(2, "big") + message[4:]
    if not is_hidden:
        return _ipv6(source, to, message, ICMPV6)
    options = struct.pack("!BBBB4x", ICMPV6, 0, 1, 4)
    return _ipv6(source, to, options + message, 60)  # destination options


@contextmanager
def hearing(link: str, pid: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Listen on a link, of the namespace of a process; see `heard`."""
    command = [sys.executable, "-SEc", HEAR, link]
    if pid is not None:
        command = ["nsenter", "-t", str(pid), "-n", *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


async def heard(
    frames: Mapping[str, bytes], sender: int, *listeners: subprocess.Popen[str], last: str
) -> list[set[str]]:
    """Send frames from the namespace of a process; return the names of those that each listener heard.

    All listeners must hear `last`, which is sent last: frames keep their order on the way.
    """
    lines = "".join(f"{data.hex()}\n" for name, data in frames.items() if name != last)
    process = await asyncio.create_subprocess_exec(
        *("nsenter", "-t", str(sender), "-n", sys.executable, "-SEc", SEND, "eth0"),
        stdin=asyncio.subprocess.PIPE,
    )
    await process.communicate((lines + f"{frames[last].hex()}\n").encode())
    return [await asyncio.to_thread(_until, listener, last) for listener in listeners]


def _until(listener: subprocess.Popen[str], last: str) -> set[str]:
    assert listener.stdout is not None
    names: set[str] = set()
    for line in listener.stdout:
        names.add(line.strip())
        if last in names:
            break
    return names
