"""The network of clusters on the machine: a bridge for each, its nodes' cables, and the way out for what they send.

A bridge says in its alias which folder it belongs to, so what a dead cluster has left is found without its files.
"""

import asyncio
import contextlib
import errno
import shutil
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from kubelite.clusters.plan import Node, Plan
from kubelite.net.families import IPV4
from kubelite.net.foreign_firewall import missing_rules
from kubelite.net.netlink import Route, RouteSocket, open_in
from kubelite.net.nftables import Nftables, RulesRefused, RulesUnavailable
from kubelite.spawn import ProgramFailed, run_program

ALIAS = "kubelite cluster "
PREFIX = "kl-"
MTU = 1500
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
FORMER = Path(
    "/run/kubelite-clusters/ip_forward"
)  # how it was before the first bridge; gone after a boot
IPTABLES_SECONDS = 30.0
PREFIX_LENGTH = 24


class NetworkFailed(Exception):
    """The network of a cluster cannot be made; the message is one line for the user."""


def taken_networks() -> list[str]:
    """Return the networks that the machine has routes to. Blocks; raises OSError."""
    with RouteSocket() as socket:
        return [
            f"{route.destination}/{route.prefix_length}"
            for route in socket.routes()
            if route.prefix_length
        ]


def clusters() -> dict[str, str]:
    """Return the folders of the clusters that have a bridge, by identifier. Blocks; raises OSError."""
    with RouteSocket() as socket:
        return {
            link.name.removeprefix(PREFIX): link.alias.removeprefix(ALIAS)
            for link in socket.links()
            if link.name.startswith(PREFIX) and link.alias.startswith(ALIAS)
        }


def make(plan: Plan, folder: Path) -> None:
    """Make the bridge of a cluster, with the machine's address on it, and the way out. Blocks; raises NetworkFailed."""
    network = IPv4Network(plan.network)
    try:
        with RouteSocket() as socket:
            if socket.find_link(plan.bridge) is None:
                # Without an address of its own it would take one of its ports', and another one when that goes.
                mac = bytes((0x0A, 0x58, *network[1].packed))
                socket.add_bridge(plan.bridge, mac=mac, mtu=MTU)
            link = socket.find_link(plan.bridge)
            assert link is not None
            socket.set_link(link.index, alias=ALIAS + str(folder))
            socket.add_address(link.index, plan.gateway, PREFIX_LENGTH)
            socket.set_link(link.index, up=True)
        _forward()
        asyncio.run(_way_out(plan))
    except (OSError, RulesRefused, RulesUnavailable) as error:
        raise NetworkFailed(f"cannot make the network of cluster {plan.name}: {error}") from error


def _forward() -> None:
    """Let the machine pass packets on, and note how it was before."""
    former = FORWARD.read_text()
    if former.strip() == "1":
        return
    FORMER.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    FORMER.write_text(former)
    FORWARD.write_text("1")


async def _way_out(plan: Plan) -> None:
    table, bridge = f"ip {plan.bridge}", plan.bridge
    await _nft(
        f"add table {table}\ndelete table {table}\n"
        f"table {table} {{\n"
        " chain out { type nat hook postrouting priority srcnat; policy accept;\n"
        f'  ip saddr {plan.network} oifname != "{bridge}" masquerade\n }}\n}}\n'
    )
    for arguments in missing_rules(await _iptables("-S"), bridge):
        await _iptables(*arguments)


async def _nft(commands: str) -> str:
    rules = Nftables()
    rules.open()
    try:
        return await rules.run(commands)
    finally:
        await rules.close()


async def _iptables(*arguments: str) -> str:
    """Run iptables, if there is one; its failure is no failure of the cluster, whose nodes may need no way out."""
    program = shutil.which(IPV4.iptables)
    if program is None:
        return ""
    with contextlib.suppress(ProgramFailed):
        line = (program, "-w", "5", *arguments)
        return (await run_program(line, timeout_seconds=IPTABLES_SECONDS)).output.decode(
            errors="replace"
        )
    return ""


def connect(plan: Plan, node: Node, pid: int) -> None:
    """Lay the cable of a node whose host began with a process. Blocks; raises NetworkFailed."""
    cable = plan.cable(node)
    try:
        with (
            Path(f"/proc/{pid}/ns/net").open("rb") as namespace,
            RouteSocket() as socket,
        ):
            bridge = socket.find_link(plan.bridge)
            if bridge is None:
                raise OSError(errno.ENODEV, f"bridge {plan.bridge} is gone")
            # The kernel removes the cable of a host that has ended, but not at once.
            if (former := socket.find_link(cable)) is not None:
                socket.delete_link(former.index)
            mac = bytes((0x0A, 0x59, *IPv4Network(node.address)[0].packed))
            socket.add_veth(
                cable, peer="eth0", peer_namespace=namespace.fileno(), peer_mac=mac, mtu=MTU
            )
            link = socket.find_link(cable)
            assert link is not None
            socket.set_link(link.index, master=bridge.index)
            socket.set_link(link.index, up=True)
            # Entered by this thread, which comes back.
            with open_in(namespace.fileno()) as inside:
                _set_up(inside, plan, node)
    except OSError as error:
        raise NetworkFailed(f"cannot connect node {node.name}: {error}") from error


def _set_up(socket: RouteSocket, plan: Plan, node: Node) -> None:
    for name in ("lo", "eth0"):
        link = socket.find_link(name)
        assert link is not None
        socket.set_link(link.index, up=True)
    link = socket.find_link("eth0")
    assert link is not None
    socket.add_address(link.index, node.address, PREFIX_LENGTH)
    socket.wait_until_running("eth0", 1.0)
    socket.replace_route(Route("", 0, link.index, plan.gateway))


def remove(identifier: str) -> None:
    """Remove the bridge of a cluster with its cables and rules, and how the machine was set with the last one. Blocks.

    Raises NetworkFailed.
    """
    bridge = PREFIX + identifier
    try:
        with RouteSocket() as socket:
            links = socket.links()
            for link in links:
                if link.name.startswith(f"klv{identifier}"):
                    socket.delete_link(link.index)
            for link in links:
                if link.name == bridge:
                    socket.delete_link(link.index)
            is_last = not any(
                link.name.startswith(PREFIX)
                and link.name != bridge
                and link.alias.startswith(ALIAS)
                for link in links
            )
        asyncio.run(_close(bridge))
        if is_last and FORMER.exists():
            FORWARD.write_text(FORMER.read_text())
            FORMER.unlink()
            FORMER.parent.rmdir()
    except (OSError, RulesRefused, RulesUnavailable) as error:
        raise NetworkFailed(f"cannot remove the network {bridge}: {error}") from error


async def _close(bridge: str) -> None:
    await _nft(f"add table ip {bridge}\ndelete table ip {bridge}\n")
    for arguments in own_rules(await _iptables("-S"), bridge):
        await _iptables(*arguments)


def own_rules(listing: str, bridge: str) -> list[list[str]]:
    """Return the arguments of iptables that remove the rules for a bridge."""
    return [
        ["-D", *line.split()[1:]]
        for line in listing.splitlines()
        if line.startswith("-A ") and bridge in line.split()
    ]


def rule_tables() -> Sequence[str]:
    """Return the identifiers of clusters that have rules. Blocks; empty where nftables is missing."""
    try:
        listed = asyncio.run(_nft("list tables ip"))
    except (RulesRefused, RulesUnavailable):
        return ()
    names = (line.split()[-1] for line in listed.splitlines() if line.strip())
    return [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
