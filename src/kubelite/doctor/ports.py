"""The ports that kubelite listens on: free, or who holds them."""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from msgspec import Struct

from kubelite.doctor.findings import Finding, error, note, ok, warning
from kubelite.doctor.reading import name_of, processes, text_of
from kubelite.doctor.wanted import Port, Wanted

LISTENING = {"tcp": "0A", "udp": "07"}  # states in the kernel's tables; UDP has but one
VXLAN, DNS = 8472, 53
SHOWN_MAX = 10
_SOCKET = re.compile(r"socket:\[(\d+)\]")


class Listener(Struct, frozen=True):
    """A socket that listens."""

    protocol: str
    address: str
    port: int
    inode: int = 0
    holder: str = ""  # name and id of the process; "": not known
    is_ours: bool = False  # it is a kubelite's

    @property
    def is_everywhere(self) -> bool:
        """Whether it listens on all addresses."""
        return ip_address(self.address).is_unspecified

    def described(self) -> str:
        """Return who it is, for people."""
        return self.holder or "another program (run as root to see which)"


class Ports(Struct, frozen=True):
    """All that listens, and the range of ports that the kernel gives to clients."""

    listeners: tuple[Listener, ...]
    ephemeral: range = range(32768, 61000)


def judge(ports: Ports, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about ports."""
    free = []
    for port in wanted.ports:
        holders = [one for one in ports.listeners if _holds(one, port.number, port.protocol)]
        if not holders:
            free.append(str(port.number))
        elif all(one.is_ours for one in holders):
            yield ok(f"port {port.number} is held by {holders[0].holder}, for {port.use}")
        else:
            yield _taken(port, next(one for one in holders if not one.is_ours))
    if free:
        yield ok(f"ports are free: {', '.join(free)}")
    if wanted.has_node and wanted.owns_network:
        yield from _judge_network(ports)
    yield from _judge_node_ports(ports, wanted.node_ports)


def _holds(listener: Listener, port: int, protocol: str) -> bool:
    return (listener.port, listener.protocol) == (port, protocol)


def _taken(port: Port, holder: Listener) -> Finding:
    what = f"port {port.number} is taken by {holder.described()} on {holder.address}"
    do = f"stop that program, or choose another port by {port.flag}"
    if port.is_vital:
        return error(what, f"kubelite needs it for {port.use}", do)
    return warning(what, f"{port.use} cannot be served", do)


def _judge_network(ports: Ports) -> Iterator[Finding]:
    for one in ports.listeners:
        if one.port == DNS and one.is_everywhere and not one.is_ours:
            yield error(
                f"port {DNS}/{one.protocol} is taken on all addresses by {one.described()}",
                "the cluster's DNS listens on an address of its own on this port",
                "bind that program to the addresses that it serves (dnsmasq: bind-dynamic, unbound: interface:)",
            )
        if (one.port, one.protocol) == (VXLAN, "udp") and one.holder and not one.is_ours:
            yield warning(
                f"port {VXLAN}/udp is taken by {one.described()}",
                "nodes on other networks send the packets of their pods to it",
                "stop that program, such as another network plugin",
            )


def _judge_node_ports(ports: Ports, node_ports: range) -> Iterator[Finding]:
    taken = sorted(
        {one.port for one in ports.listeners if one.port in node_ports and not one.is_ours}
    )
    if taken:
        shown = ", ".join(map(str, taken[:SHOWN_MAX])) + (" …" if len(taken) > SHOWN_MAX else "")
        yield note(
            f"programs of this host listen on node ports: {shown}",
            "a Service that is given one of them takes it from the program",
            "move the program, or choose another --service-node-port-range",
        )
    if node_ports and set(node_ports) & set(ports.ephemeral):
        yield note(
            f"the kernel gives clients ports from {ports.ephemeral.start} to {ports.ephemeral.stop - 1}, "
            "among them node ports",
            "a connection of this host may have a Service's port",
            "sysctl net.ipv4.ip_local_port_range='32768 60999'",
        )


def parse_sockets(text: str, protocol: str) -> Iterator[Listener]:
    """Yield the sockets that listen in a table such as /proc/net/tcp6."""
    for line in text.splitlines()[1:]:
        match line.split():
            case [_, local, _, state, _, _, _, _, _, inode, *_] if state == LISTENING[protocol]:
                address, _, port = local.rpartition(":")
                yield Listener(protocol, _address(address), int(port, 16), int(inode))


def _address(text: str) -> str:
    """Return an address of the kernel's tables: words of 32 bits in the order of the machine."""
    raw = b"".join(
        int(text[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(text), 8)
    )
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def gather(_: Wanted) -> Ports:
    """Read the kernel's tables of sockets, and find whose they are as far as this user may."""
    found: list[Listener] = []
    for protocol in LISTENING:
        for table in (protocol, f"{protocol}6"):
            text = text_of(f"/proc/thread-self/net/{table}") or ""
            found += parse_sockets(text, protocol)
    holders = _holders({one.inode for one in found})
    listeners = (
        Listener(
            one.protocol, one.address, one.port, one.inode, *holders.get(one.inode, ("", False))
        )
        for one in found
    )
    first, last = (text_of("/proc/sys/net/ipv4/ip_local_port_range") or "32768 60999").split()
    return Ports(tuple(listeners), range(int(first), int(last) + 1))


def _holders(inodes: set[int]) -> Mapping[int, tuple[str, bool]]:
    found: dict[int, tuple[str, bool]] = {}
    for pid in processes():
        try:
            entries = list(os.scandir(f"/proc/{pid}/fd"))
        except OSError:  # it has ended, or is another user's
            continue
        for entry in entries:
            inode = _inode(entry.path)
            if inode in inodes:
                line = (text_of(f"/proc/{pid}/cmdline") or "").split("\0")
                found[inode] = (f"{name_of(pid)} (process {pid})", is_kubelite(line))
    return found


def _inode(path: str) -> int:
    try:
        match = _SOCKET.fullmatch(os.readlink(path))  # noqa: PTH115 - thousands of them
    except OSError:
        return 0
    return int(match[1]) if match else 0


def is_kubelite(arguments: list[str]) -> bool:
    """Return whether a command line is that of a kubelite."""
    program = next(iter(arguments), "").rpartition("/")[2]
    if program == "kubelite" or program.startswith("kubelite."):
        return True
    rest = [one.rpartition("/")[2] for one in arguments[1:4]]
    is_python = program.startswith("python")
    return is_python and any(one == "kubelite" or one.startswith("kubelite.") for one in rest)
