"""The host's own firewall: what it drops of pods, and of what machines of the cluster send to the node."""

import asyncio
import re
import shutil
from collections.abc import Iterator, Sequence

from msgspec import Struct

from kubelite.doctor.findings import AS_ROOT, Finding, note, ok, unseen, warning
from kubelite.doctor.reading import name_of, processes, text_of
from kubelite.doctor.wanted import Wanted
from kubelite.net.families import IPV4, family_of
from kubelite.net.foreign_firewall import CHAIN, CHAINS_OF_A_TABLE, LAST_WORD, droppers
from kubelite.net.pod_network import BRIDGE
from kubelite.net.ruleset import TABLE
from kubelite.spawn import ProgramFailed, run_program

LIST_SECONDS = 5.0
_INPUT = re.compile(r"type filter hook input .*?policy (\w+);")
_SHUT = re.compile(
    r"^(?:-P {0} DROP|-A {0} -j (?:DROP|REJECT).*)$".replace("{0}", "INPUT"), re.MULTILINE
)
_OF_IPTABLES = (("ip", "filter"), ("ip6", "filter"))
_UFW = re.compile(r"^ENABLED=yes$", re.MULTILINE | re.IGNORECASE)


class Firewall(Struct, frozen=True):
    """What is known of the host's firewall; None: it could not be listed."""

    iptables: str | None = ""  # as `iptables -S` prints it; "" also if there is none
    nftables: str | None = ""  # as `nft list ruleset` prints it
    managers: tuple[str, ...] = ()  # programs that look after it: ufw, firewalld


def judge(firewall: Firewall, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about the host's firewall."""
    ports = [f"{port.number}/{port.protocol}" for port in wanted.ports if port.is_vital]
    ports += ["8472/udp"] if wanted.has_node and wanted.owns_network else []
    if wanted.has_node and wanted.owns_network and firewall.nftables:
        yield from _judge_forwarding(firewall, wanted)
    doors = shut_doors(firewall)
    if doors:
        yield warning(
            f"{' and '.join(doors)} let nothing in unless told to",
            "other machines reach this one's API and its pods only through ports that are open",
            f"open {', '.join(ports)}{_how(firewall.managers)}",
        )
    elif firewall.managers:
        yield note(
            f"{' and '.join(firewall.managers)} looks after the firewall",
            "its next reload may drop what machines of the cluster send to this one",
            f"open {', '.join(ports)}{_how(firewall.managers)}",
        )
    if firewall.iptables is None or firewall.nftables is None:
        yield unseen("the rules of the host's firewall", "needs root", AS_ROOT)
    elif not doors and not firewall.managers:
        yield ok("no firewall of the host drops what comes in")


def _judge_forwarding(firewall: Firewall, wanted: Wanted) -> Iterator[Finding]:
    families = {family_of(text) for text in wanted.ranges} or {IPV4}
    tables = {
        name for family in families for name in droppers(firewall.nftables or "", BRIDGE, family)
    }
    for name in sorted(tables):
        own = "firewalld" if name.endswith(" firewalld") else ""
        yield warning(
            f"the nftables table {name} drops what pods send and get",
            "no rule of kubelite can overrule a drop in another's table",
            "firewall-cmd --permanent --zone=trusted --add-interface=kubelite0 && firewall-cmd --reload"
            if own
            else f'accept iifname "{BRIDGE}" and oifname "{BRIDGE}" in its chain at the forward hook',
        )


def _how(managers: Sequence[str]) -> str:
    ways = {
        "ufw": "ufw allow PORT/PROTOCOL",
        "firewalld": "firewall-cmd --permanent --add-port=PORT/PROTOCOL",
    }
    return "".join(f" ({ways[name]})" for name in managers[:1])


def shut_doors(firewall: Firewall) -> list[str]:
    """Return who lets nothing in that was not allowed: ``iptables``, and tables of nftables."""
    doors = ["iptables"] if _SHUT.search(firewall.iptables or "") else []
    for keyword, name, body in CHAINS_OF_A_TABLE.findall(firewall.nftables or ""):
        if name == TABLE or (keyword, name) in _OF_IPTABLES or keyword not in ("ip", "ip6", "inet"):
            continue
        if any(_is_shut(rules) for _, rules in CHAIN.findall(body)):
            doors.append(f"the nftables table {keyword} {name}")
    return doors


def _is_shut(rules: str) -> bool:
    base = _INPUT.search(rules)
    last = rules.strip().rpartition("\n")[2].strip()
    return base is not None and (base[1] == "drop" or LAST_WORD.fullmatch(last) is not None)


def gather(_: Wanted) -> Firewall:
    """List the rules of both kinds; needs root."""
    iptables, nftables = asyncio.run(_listings())
    return Firewall(iptables, nftables, tuple(_managers()))


async def _listings() -> list[str | None]:
    commands = (("iptables", "-w", "2", "-S"), ("nft", "-n", "list", "ruleset"))
    return await asyncio.gather(*map(_listing, commands))


async def _listing(command: Sequence[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = await run_program(command, timeout_seconds=LIST_SECONDS)
    except ProgramFailed:
        return None
    return None if done.code else done.output.decode(errors="replace")


def _managers() -> Iterator[str]:
    if _UFW.search(text_of("/etc/ufw/ufw.conf") or ""):
        yield "ufw"
    if any(name_of(pid) == "firewalld" for pid in processes()):
        yield "firewalld"
