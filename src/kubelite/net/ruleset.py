"""The nftables table of one family as a value, and the commands for it: in full, or as the difference to another.

Each family of the cluster has a table of its own with the same chains: what a set holds has the length of its family's
addresses, and a rule of a table of both would have to ask for the family first.

The hooks and the maps they use are fixed; services, host ports and policies fill maps and add chains.
A set of another type must have another name.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from kubelite.net.families import IPV4, IPV6, Family, family_of
from kubelite.net.health_ports import LocalEndpoints
from kubelite.net.trusted_text import is_link, range_of

TABLE = "kubelite"
REFUSE = "goto refuse"
CHAIN_COST_BYTES, ELEMENT_COST_BYTES = 16, 8  # about five and two microseconds
CLIENT_SET = re.compile(r"\tset (clients/\S+) \{\n(.*?)\n\t\}", re.DOTALL)
CLIENT = re.compile(r"([0-9a-f.:]+)(?: timeout \w+)? expires (\w+)")
MASQUERADE_MARK = (
    "0x00004000"  # the bit that kube-proxy uses, which other programs therefore leave alone
)

# Neighbours are found on a link by messages that no policy may drop, else a pod has no gateway. All else that a pod
# sends from an address of the link's own is dropped: policies know pods by their other addresses.
LINKS_OWN = """icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept
    ip6 saddr fe80::/10 drop
    """

SERVICES, NODE_PORTS = "services", "node-ports"
SERVICE_FILTER, NODE_PORT_FILTER = "service-filter", "node-port-filter"
HOST_PORTS, ANY_HOST_PORTS = "host-ports", "any-host-ports"
HAIRPIN = "hairpin"
BALANCED = "balanced"  # addresses of load balancers that are on no interface
INGRESS_PODS, EGRESS_PODS = "ingress-pods", "egress-pods"


def collections(family: Family) -> Mapping[str, str]:
    """Return the declarations of the fixed maps and sets by name."""
    address = family.address_type
    place = f"{address} . inet_proto . inet_service"
    return {
        SERVICES: f"map {SERVICES} {{ type {place} : verdict; }}",
        NODE_PORTS: f"map {NODE_PORTS} {{ type inet_proto . inet_service : verdict; }}",
        SERVICE_FILTER: f"map {SERVICE_FILTER} {{ type {place} : verdict; }}",
        NODE_PORT_FILTER: f"map {NODE_PORT_FILTER} {{ type inet_proto . inet_service : verdict; }}",
        HOST_PORTS: f"map {HOST_PORTS} {{ type {place} : {address} . inet_service; }}",
        ANY_HOST_PORTS: (
            f"map {ANY_HOST_PORTS} {{ type inet_proto . inet_service : {address} . inet_service; }}"
        ),
        HAIRPIN: f"set {HAIRPIN} {{ type {address} . {address}; }}",
        BALANCED: f"set {BALANCED} {{ type {address}; }}",
        INGRESS_PODS: f"map {INGRESS_PODS} {{ type {address} : verdict; }}",
        EGRESS_PODS: f"map {EGRESS_PODS} {{ type {address} : verdict; }}",
    }


class ProxySettings(Struct, frozen=True):
    """The settings of a node that the rules of one family depend on; all addresses are of that family."""

    node_name: str
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    local_addresses: tuple[str, ...] = (
        "10.43.0.10",
    )  # of services that the node itself serves, such as DNS
    bridge: str = "kubelite0"
    node_addresses: tuple[
        str, ...
    ] = ()  # those of the Node object, by which load balancers name the node

    def __post_init__(self) -> None:
        family = self.family
        ranges = all(range_of(text, family) for text in (self.cluster_cidr, self.service_cidr))
        assert ranges, f"{self.cluster_cidr} and {self.service_cidr} must be ranges of one family"
        assert is_link(self.bridge), f"{self.bridge!r} cannot name a link"

    @property
    def family(self) -> Family:
        """The family of all addresses here."""
        return family_of(self.cluster_cidr)


class Ruleset(Struct, frozen=True):
    """Chains, sets, and the elements of these and of the fixed collections."""

    chains: dict[str, tuple[str, ...]] = {}
    elements: dict[tuple[str, str], str] = {}  # (collection, key) -> value; empty in a set
    sets: dict[str, str] = {}  # name -> declaration in nft's syntax
    # UDP address ("" for any of the node's) and port -> endpoints' addresses
    udp_endpoints: dict[tuple[str, int], frozenset[str]] = {}
    health_ports: dict[int, LocalEndpoints] = {}  # this process listens on them
    cut_policies: set[str] = set()  # namespace/name of those that did not fit


def interval_set(kind: str, element_type: str, intervals: Iterable[str]) -> tuple[str, str]:
    """Return the name and declaration of a set of intervals; one of another content has another name.

    Its elements never change: the kernel need not replace overlapping intervals in one transaction.
    """
    elements = ", ".join(intervals)
    digest = hashlib.sha256(elements.encode()).hexdigest()[:16]
    held = f" elements = {{ {elements} }}" if elements else ""
    return f"{kind}/{digest}", f"type {element_type}; flags interval;{held}"


def cost_bytes(rules: Iterable[Ruleset]) -> int:
    """Return the cost of merging and comparing rules, in bytes for the offload."""
    return sum(
        CHAIN_COST_BYTES * (len(part.chains) + len(part.sets))
        + ELEMENT_COST_BYTES * len(part.elements)
        for part in rules
    )


def merge(parts: Iterable[Ruleset]) -> Ruleset:
    """Return the union. Of two claims to an element the first wins, but one with backends before one that refuses."""
    whole = Ruleset()
    for part in parts:
        whole.chains.update(part.chains)
        whole.sets.update(part.sets)
        whole.health_ports.update(part.health_ports)
        whole.cut_policies.update(part.cut_policies)
        for element, value in part.elements.items():
            whole.elements.setdefault(element, value)
        for frontend, endpoints in part.udp_endpoints.items():
            known = whole.udp_endpoints.get(frontend, frozenset())
            whole.udp_endpoints[frontend] = known | endpoints
    for filtered, dispatched in (
        (SERVICE_FILTER, SERVICES),
        (NODE_PORT_FILTER, NODE_PORTS),
    ):
        refused = [
            key
            for (collection, key), value in whole.elements.items()
            if collection == filtered and value == REFUSE and (dispatched, key) in whole.elements
        ]
        for key in refused:
            del whole.elements[filtered, key]
    return whole


def base_chains(settings: ProxySettings) -> str:
    """Return the fixed chains in nft's syntax."""
    bridge, pods, services = settings.bridge, settings.cluster_cidr, settings.service_cidr
    family = settings.family
    ip, loopback = family.keyword, family.loopback
    address = f"{ip} daddr . meta l4proto . th dport"
    is_ipv6 = family.version == IPV6.version
    links_own = LINKS_OWN if is_ipv6 else ""
    # Of IPv6 the kernel lets nothing out by another link that comes from there: what the node itself serves answers.
    not_loopback = f"{ip} daddr {loopback} return\n    " if is_ipv6 else ""
    # Segments fit the routes both ways, of a tunnel or a VPN too, also where no router tells that they do not.
    # A pod's host port is at all addresses of the node but those of the cluster's services that the node answers.
    own = "".join(f"{ip} daddr {text} return\n    " for text in settings.local_addresses)
    return f"""
  chain raw-prerouting {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{bridge}" {ip} daddr {loopback} drop
  }}
  chain filter-prerouting {{
    type filter hook prerouting priority -110; policy accept;
    ct state new jump filter-services
  }}
  chain filter-local {{
    type filter hook output priority -110; policy accept;
    oifname "{bridge}" {family.redirect} drop
    ct state new jump filter-services
  }}
  chain filter-services {{
    {address} vmap @{SERVICE_FILTER}
    {not_loopback}fib daddr type local meta l4proto . th dport vmap @{NODE_PORT_FILTER}
  }}
  chain filter-forward {{
    type filter hook forward priority filter; policy accept;
    tcp flags syn tcp option maxseg size set rt mtu
    ct state != new accept
    {ip} daddr {services} goto refuse
    {ip} daddr @{BALANCED} goto refuse
  }}
  chain filter-output {{
    type filter hook output priority filter; policy accept;
    ct state != new accept
    {ip} daddr {services} fib daddr type != local goto refuse
    {ip} daddr @{BALANCED} goto refuse
  }}
  chain policy-forward {{
    type filter hook forward priority 10; policy accept;
    ct state established,related accept
    {ip} saddr . {ip} daddr @{HAIRPIN} accept
    {ip} saddr vmap @{EGRESS_PODS}
    {ip} daddr vmap @{INGRESS_PODS}
  }}
  chain policy-input {{
    type filter hook input priority 10; policy accept;
    iifname != "{bridge}" accept
    {links_own}{ip} daddr {loopback} ct state new drop
    ct state established,related accept
    {ip} saddr vmap @{EGRESS_PODS}
  }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump dispatch
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump dispatch
  }}
  chain dispatch {{
    {address} vmap @{SERVICES}
    {not_loopback}{own}fib daddr type local jump dispatch-local
  }}
  chain dispatch-local {{
    meta l4proto . th dport vmap @{NODE_PORTS}
    meta l4proto {{ tcp, udp, sctp }} dnat {ip} addr . port to {address} map @{HOST_PORTS}
    meta l4proto {{ tcp, udp, sctp }} dnat {ip} addr . port to meta l4proto . th dport map @{ANY_HOST_PORTS}
  }}
  chain mark-masquerade {{
    meta mark set mark or {MASQUERADE_MARK}
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    mark and {MASQUERADE_MARK} != 0 goto masquerade-marked
    ct status dnat {ip} saddr . {ip} daddr @{HAIRPIN} masquerade fully-random
    {ip} saddr {loopback} oifname "{bridge}" masquerade fully-random
    {ip} saddr {pods} {ip} daddr != {{ {pods}, {family.multicast} }} oifname != "{bridge}" masquerade fully-random
  }}
  chain masquerade-marked {{
    meta mark set mark xor {MASQUERADE_MARK}
    masquerade fully-random
  }}
"""


def replace_all(ruleset: Ruleset, settings: ProxySettings) -> str:
    """Return the transaction that replaces the table by `ruleset`, whatever it holds now."""
    family = settings.family
    return (
        f"{remove_all(family)}table {family.keyword} {TABLE} {{\n"
        + "\n".join(f"  {declaration}" for declaration in collections(family).values())
        + base_chains(settings)
        + "}\n"
        + difference(Ruleset(), ruleset, family)
    )


def keep_clients(listing: str, ruleset: Ruleset, family: Family = IPV4) -> str:
    """Return the commands that put clients back into sets of `ruleset`, from what `nft list sets` printed before."""
    lines = []
    table = listing.partition(f"table {family.keyword} {TABLE} {{")[2].partition("\n}")[0]
    for name, body in CLIENT_SET.findall(table):
        if name in ruleset.sets:
            clients = ", ".join(
                f"{address} expires {left}" for address, left in CLIENT.findall(body)
            )
            if clients:
                lines.append(f"add element {family.keyword} {TABLE} {name} {{ {clients} }}\n")
    return "".join(lines)


def remove_all(family: Family = IPV4) -> str:
    """Return the transaction that removes the table."""
    # "add" first, so that "delete" does not fail where there is no table
    return f"add table {family.keyword} {TABLE}\ndelete table {family.keyword} {TABLE}\n"


def difference(before: Ruleset, after: Ruleset, family: Family = IPV4) -> str:
    """Return the transaction that turns one ruleset into the other; "" if they are equal."""
    flushed, written, table = [], [], f"{family.keyword} {TABLE}"
    for name, rules in after.chains.items():
        old = before.chains.get(name)
        if old == rules:
            continue
        if old is not None:
            flushed.append(name)
        written.append(name)
    gone = before.chains.keys() - after.chains.keys()
    lines = [f"flush chain {table} {name}" for name in [*flushed, *sorted(gone)]]
    lines += _blocks(before, after, written, table)
    lines += _elements("delete", before.elements, after.elements, table)
    lines += _elements("add", after.elements, before.elements, table)
    lines += [f"delete chain {table} {name}" for name in sorted(gone)]
    gone_sets = before.sets.keys() - after.sets.keys()
    lines += [f"delete set {table} {name}" for name in sorted(gone_sets)]
    return "".join(line + "\n" for line in lines)


def _blocks(before: Ruleset, after: Ruleset, chains: Iterable[str], table: str) -> list[str]:
    """Return the declarations of new sets and of the rules of `chains`, each before its first use."""
    sets = [
        f"  set {name} {{ {declaration} }}"
        for name, declaration in after.sets.items()
        if name not in before.sets
    ]
    chains = list(chains)
    if not sets and not chains:
        return []
    declared = [f"  chain {name} {{ }}" for name in chains if name not in before.chains]
    rules = [
        f"  chain {name} {{\n    " + "\n    ".join(after.chains[name]) + "\n  }" for name in chains
    ]
    return [f"table {table} {{", *sets, *declared, *rules, "}"]


def _elements(
    verb: str,
    these: Mapping[tuple[str, str], str],
    others: Mapping[tuple[str, str], str],
    table: str,
) -> list[str]:
    """Return the commands for the elements of `these` that `others` lack or have with another value."""
    found: dict[str, list[str]] = {}
    for (collection, key), value in these.items():
        if others.get((collection, key)) != value:
            element = f"{key} : {value}" if value and verb == "add" else key
            found.setdefault(collection, []).append(element)
    return [
        f"{verb} element {table} {collection} {{ {', '.join(elements)} }}"
        for collection, elements in found.items()
    ]
