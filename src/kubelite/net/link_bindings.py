"""Binds each pod's link to the addresses of that pod: what comes from it with another one's is dropped.

A container that may write packets itself (CAP_NET_RAW) could else send as another pod, which network policies would
take for that pod, or answer for it and get what is meant for it. That holds for IPv4, ARP, IPv6 and neighbour
discovery, and for the hardware address, which the bridge does not learn from pods either. What a pod sends goes to the
bridge, never straight to another pod's link, past the policies.

The rules are a table of nftables' family for bridges. A pod is bound before it is connected, so there is none without.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from msgspec import Struct

from kubelite.net.families import IPV4, family_of
from kubelite.net.nftables import Nftables, RulesRefused
from kubelite.net.rule_watch import UNKNOWN
from kubelite.net.ruleset import TABLE
from kubelite.net.trusted_text import is_link

log = logging.getLogger(__name__)

BRIDGE_TABLE = f"bridge {TABLE}"
PODS = "pods"
LIST_CHAINS = "list chains bridge\n"
# Before br_netfilter (0), which may rewrite where a packet goes.
BASE_CHAINS = f"""
  map {PODS} {{ type ifname : verdict; }}
  chain group {{
    ether daddr & 01:00:00:00:00:00 != 01:00:00:00:00:00 drop
    meta protocol arp return
    ip daddr {{ 224.0.0.0/4, 255.255.255.255 }} return
    ip6 daddr ff00::/8 return
    drop
  }}
  chain prerouting {{
    type filter hook prerouting priority -350; policy accept;
    iifname vmap @{PODS}
  }}
"""


class Binding(Struct, frozen=True):
    """What a pod's link may send from."""

    mac: bytes
    addresses: tuple[str, ...]  # one of each family at most


def link_rules(binding: Binding, bridge_mac: bytes) -> list[str]:
    """Return the rules of a link's chain, which accept what its pod may send and drop the rest.

    Nearly all packets are accepted by the first rules, which compare the head of a frame at once.
    """
    mac = binding.mac.hex(":")
    usual = f"ether daddr {bridge_mac.hex(':')} ether saddr {mac} ether type"
    rules = [
        f"{usual} ip ip saddr {one} accept"
        if family_of(one) is IPV4
        else f"{usual} ip6 meta l4proto != ipv6-icmp ip6 saddr {one} accept"
        for one in binding.addresses
    ]
    rules += [
        # Tagged frames too: the tag of no VLAN (0) is taken off later, and would hide what is in it from other rules.
        "ether type != { arp, ip, ip6 } drop",
        f"ether saddr != {mac} drop",
        f"ether daddr != {bridge_mac.hex(':')} jump group",
    ]
    for address in map(ip_address, binding.addresses):
        if address.version == 4:
            rules.append(f"ip saddr {address} accept")
            rules.append(
                "arp htype 1 arp ptype ip arp hlen 6 arp plen 4"
                f" arp saddr ether {mac} arp saddr ip {address} accept"
            )
        else:
            target = f"@th,64,128 != {int(address):#x}"
            rules.append(f"icmpv6 type nd-neighbor-advert {target} drop")
            rules.append(f"ip6 saddr {address} accept")
    return [*rules, "drop"]


def difference(
    before: Mapping[str, Binding], after: Mapping[str, Binding], bridge_mac: bytes
) -> str:
    """Return the transaction that turns the bindings of links, by name, into others; "" if they are equal."""
    gone = sorted(before.keys() - after.keys())
    changed = sorted(name for name, one in after.items() if before.get(name) != one)
    lines = []
    if gone:
        lines.append(_elements("delete", (f'"{name}"' for name in gone)))
        for name in gone:
            lines += [f"{verb} chain {BRIDGE_TABLE} {name}" for verb in ("flush", "delete")]
    for name in changed:
        lines += [f"{verb} chain {BRIDGE_TABLE} {name}" for verb in ("add", "flush")]
        lines += [
            f"add rule {BRIDGE_TABLE} {name} {rule}" for rule in link_rules(after[name], bridge_mac)
        ]
    if changed:
        lines.append(_elements("add", (f'"{name}" : goto {name}' for name in changed)))
    return "".join(line + "\n" for line in lines)


def _elements(verb: str, elements: Iterable[str]) -> str:
    return f"{verb} element {BRIDGE_TABLE} {PODS} {{ {', '.join(elements)} }}"


def replace_all(bindings: Mapping[str, Binding], bridge_mac: bytes) -> str:
    """Return the transaction that replaces the table, whatever it holds now."""
    return f"{remove_all()}table {BRIDGE_TABLE} {{{BASE_CHAINS}}}\n" + difference(
        {}, bindings, bridge_mac
    )


def remove_all() -> str:
    """Return the transaction that removes the table."""
    return f"add table {BRIDGE_TABLE}\ndelete table {BRIDGE_TABLE}\n"


class LinkBindings:
    """Keeps the kernel's table equal to the bindings of the pods that are connected.

    On a host whose kernel has no such tables pods are not bound, which is logged once.
    """

    def __init__(self, nftables: Nftables) -> None:
        self._nftables = nftables
        self._bridge_mac = b""
        self._wanted: dict[str, Binding] = {}
        self._applied: dict[str, Binding] | None = None  # None: what the table holds is unknown
        self._generation = 0  # increased when another program may have changed the table
        self._is_in_use = False  # started, and this kernel has such tables
        self._is_in_doubt = False  # notifications of the kernel were lost
        self._lock = asyncio.Lock()

    @property
    def is_current(self) -> bool:
        """Whether the table holds what it should, as far as is known."""
        return not self._is_in_use or (self._applied == self._wanted and not self._is_in_doubt)

    async def start(self, bridge_mac: bytes, links: Mapping[str, Binding]) -> None:
        """Bind the links that are there. Raises RulesRefused."""
        self._bridge_mac = bridge_mac
        self._wanted, self._applied = dict(links), None
        try:
            await self._nftables.run(f"add table {BRIDGE_TABLE}\n")
        except RulesRefused as refusal:
            self._is_in_use = False
            log.warning(
                "this kernel has no tables for bridges (nf_tables_bridge): network policies believe the addresses that"
                " pods with CAP_NET_RAW write into their packets",
                extra={"reason": str(refusal)},
            )
            return
        self._is_in_use = True
        await self.apply()

    async def bind(self, link: str, binding: Binding) -> None:
        """Let a link send from these addresses only; it need not exist yet. Raises RulesRefused."""
        assert is_link(link), f"{link!r} cannot name a link"
        self._wanted[link] = binding
        await self.apply()

    async def unbind(self, *links: str) -> None:
        """Forget links that are gone. What cannot be removed now is removed by the next `apply`."""
        for link in links:
            self._wanted.pop(link, None)
        try:
            await self.apply()
        except RulesRefused as refusal:
            log.warning("cannot unbind links that are gone", extra={"reason": str(refusal)})

    def changed_by_others(self, tables: set[str]) -> None:
        """Take note of the tables that other programs changed, this one or another."""
        if TABLE in tables:
            self._generation += 1
            self._applied = None
        self._is_in_doubt |= UNKNOWN in tables

    async def apply(self) -> None:
        """Bring the table to what it should be. Raises RulesRefused; the table is as before then.

        A difference that is refused is followed by the whole table.
        """
        async with self._lock:  # who waits here finds its own change applied with others'
            if self._is_in_use and self._is_in_doubt:
                self._is_in_doubt = False
                if not await self._is_intact():
                    self._applied = None
            if self.is_current:
                return
            wanted, before, seen = dict(self._wanted), self._applied, self._generation
            self._applied = None  # unknown until the transaction has ended well
            try:
                await self._write(before, wanted)
            except RulesRefused as refusal:
                if before is None:
                    raise
                log.warning("cannot bind links", extra={"reason": str(refusal)})
                await self._write(None, wanted)
            if seen == self._generation:
                self._applied = wanted

    async def _write(
        self, before: Mapping[str, Binding] | None, wanted: Mapping[str, Binding]
    ) -> None:
        if before is None:
            await self._nftables.run(replace_all(wanted, self._bridge_mac))
        else:
            await self._nftables.run(difference(before, wanted, self._bridge_mac))

    async def _is_intact(self) -> bool:
        """Return whether the kernel's table has the chain of every link that was bound."""
        try:
            listed = await self._nftables.run(LIST_CHAINS)
        except RulesRefused:
            return False
        table = listed.partition(f"table {BRIDGE_TABLE} {{")[2].partition("\n}")[0]
        names = {line.split()[1] for line in table.splitlines() if line.startswith("\tchain ")}
        return names.issuperset({"prerouting", *(self._applied or ())})
