"""Has the kernel make what a pod network is made of; for a thread in a network namespace of its own, which is lost.

Only so can be told what a kernel has: one without a list of its modules says nothing, and one with it may refuse to
load them.
"""

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kubelite.net.families import IPV4, Family, family_of
from kubelite.net.netlink import RouteSocket
from kubelite.net.nftables import Nftables, RulesRefused, RulesUnavailable
from kubelite.net.overlay import PORT
from kubelite.net.ruleset import ProxySettings, Ruleset, interval_set, replace_all

MTU, MAC = 1500, b"\x0a\x58\x00\x00\x00\x01"
ABSENT = (errno.EOPNOTSUPP, errno.ENODEV, errno.EAFNOSUPPORT)
REASON_CHARACTERS = 300
RANGES = ("10.42.0.0/16", "10.43.0.0/16")


def try_links() -> Mapping[str, bool | None]:
    """Return which kinds of links the kernel makes; None where something else is in the way."""
    with RouteSocket() as route, Path("/proc/thread-self/ns/net").open("rb") as here:
        return {
            "bridge": _is_made(lambda: route.add_bridge("trial0", mac=MAC, mtu=MTU)),
            "veth": _is_made(
                lambda: route.add_veth(
                    "trial1", peer="trial2", peer_namespace=here.fileno(), peer_mac=MAC, mtu=MTU
                )
            ),
            "vxlan": _is_made(
                lambda: route.add_vxlan(
                    "trial3", network_id=1, local="192.0.2.1", port=PORT, mac=MAC, mtu=MTU
                )
            ),
        }


def _is_made(make: Callable[[], None]) -> bool | None:
    try:
        make()
    except OSError as error:
        return False if error.errno in ABSENT else None
    return True


def try_rules(ranges: Sequence[str]) -> str | None:
    """Return why the rules of Services and policies are refused, "" if they are taken; None without a program."""
    pairs = [(one, two) for one in ranges for two in ranges if one != two and _is_pair(one, two)]
    settings = [ProxySettings("trial", *pair) for pair in pairs[:1] or [RANGES]]
    try:
        return asyncio.run(_tried([replace_all(_sample(one.family), one) for one in settings]))
    except RulesUnavailable:
        return None


def _is_pair(one: str, two: str) -> bool:
    return family_of(one) is family_of(two)


def _sample(family: Family) -> Ruleset:
    """Return rules with what the fixed chains lack: what Services and policies of users are made of."""
    ip, kind = family.keyword, family.address_type
    networks, declared = interval_set(
        "trial", kind, ["192.0.2.0/24" if family is IPV4 else "2001:db8::/32"]
    )
    rules = (
        "fib saddr type local accept",
        f"{ip} saddr @{networks} return",
        f"update @clients {{ {ip} saddr }}",
        "numgen random mod 2 vmap { 0 : accept, 1 : accept }",
    )
    return Ruleset(
        {"trial": rules},
        sets={networks: declared, "clients": f"type {kind}; flags dynamic,timeout; timeout 10s;"},
    )


async def _tried(transactions: Sequence[str]) -> str:
    nftables = Nftables()
    nftables.open()
    try:
        for each in transactions:
            await nftables.run(each)
    except RulesRefused as error:
        return " ".join(str(error).split())[:REASON_CHARACTERS]
    finally:
        await nftables.close()
    return ""
