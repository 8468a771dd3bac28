"""The rules by which the fabric loses, cuts and hides, as a pure function of what is wanted.

What enters by a host's cable carries the host's number as its mark, which it keeps while it is switched, routed and
translated within the fabric. So a rule between two hosts holds whatever addresses their packets have: pods' ones too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from testbed.topology import Link

BRIDGE_PREFIX, CABLE_PREFIX, SLOW_PREFIX = "l-", "c-", "d-"


def ports(host: str) -> tuple[str, str]:
    """Return the two interfaces by which a host may be connected: its cable, and what delays it."""
    return CABLE_PREFIX + host, SLOW_PREFIX + host


@dataclass
class Faults:
    """What is wrong with the network now; hosts are given by name."""

    cuts: set[tuple[str, str]] = field(
        default_factory=set
    )  # nothing of the first reaches the second
    lost_from: dict[str, float] = field(default_factory=dict)  # the share of what a host sends
    lost_to: dict[str, float] = field(default_factory=dict)  # the share of what is sent to a host


def ruleset(hosts: Sequence[str], links: Sequence[Link], faults: Faults) -> str:
    """Return one transaction that replaces all rules of the fabric."""
    marks = {host: number for number, host in enumerate(hosts, start=1)}
    marking = [
        f'iifname "{port}" meta mark set {marks[host]}' for host in hosts for port in ports(host)
    ]
    dropping = [
        f"meta mark {marks[sender]} {_leaves_by(receiver)} drop"
        for sender, receiver in sorted(faults.cuts)
    ]
    dropping += [
        f"meta mark {marks[host]} {_by_chance(share)} drop"
        for host, share in faults.lost_from.items()
    ]
    dropping += [
        f"{_leaves_by(host)} {_by_chance(share)} drop" for host, share in faults.lost_to.items()
    ]
    bridged = [
        _chain("enter", "filter hook prerouting priority -300", marking),
        _chain("leave", "filter hook postrouting priority 300", dropping),
    ]
    hidden = [link for link in links if link.behind]
    inward = [
        f'oifname "{BRIDGE_PREFIX}{link.name}" ct state new counter drop comment "{link.name}"'
        for link in hidden
    ]
    outward = [
        f'iifname "{BRIDGE_PREFIX}{link.name}" oifname != "{BRIDGE_PREFIX}{link.name}" masquerade'
        for link in hidden
    ]
    routed = [
        _chain("forward", "filter hook forward priority 0", inward),
        _chain("translate", "nat hook postrouting priority 100", outward),
    ]
    return _table("bridge", bridged) + _table("ip", routed)


def _leaves_by(host: str) -> str:
    names = ", ".join(f'"{port}"' for port in ports(host))
    return f"oifname {{ {names} }}"


def _by_chance(share: float) -> str:
    return f"numgen random mod 10000 < {round(share * 10000)}"


def _chain(name: str, hook: str, rules: Sequence[str]) -> str:
    lines = [f"type {hook}; policy accept;", *rules]
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _table(family: str, chains: Sequence[str]) -> str:
    head = f"table {family} bed {{}}\ndelete table {family} bed\n"
    return head + f"table {family} bed {{\n" + "".join(chains) + "}\n"
