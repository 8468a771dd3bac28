"""Lets pods' packets through the host's own firewall, and tells of one that it cannot open.

An accept in a table of our own does not overrule a drop in another's. Where iptables, or ufw by it, forwards nothing
unless told so, rules go into the chain that its owner keeps for its users (DOCKER-USER), or into FORWARD where there is
none; where it lets nothing in, pods may still ask the node for names and reach services whose endpoint is the node. All
carry kubelite's name as comment. The tables of other users of nftables are theirs alone: those are named, not changed.
"""

import logging
import re
import shutil
from collections.abc import Sequence

from kubelite.net.families import Family, family_of
from kubelite.net.ruleset import TABLE
from kubelite.spawn import ProgramFailed, run_program

log = logging.getLogger(__name__)

COMMENT = "kubelite"
ACCEPT = ["-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"]
TIMEOUT_SECONDS = 30.0
REASON_CHARACTERS = 2000  # of iptables' message in a log line
OWN_RULE = re.compile(rf"-A (DOCKER-USER|FORWARD|INPUT) .*--comment {COMMENT} -j ACCEPT")
CHAINS_OF_A_TABLE = re.compile(r"^table (\S+) (\S+) \{$(.*?)^\}$", re.DOTALL | re.MULTILINE)
CHAIN = re.compile(r"^\tchain (\S+) \{$(.*?)^\t\}$", re.DOTALL | re.MULTILINE)
BASE_CHAIN = re.compile(r"type filter hook forward .*?policy (\w+);")
LAST_WORD = re.compile(
    r"(?:counter packets \d+ bytes \d+ )?(?:log .*)?(?:drop|reject)(?: with .*)?"
)


def missing_rules(
    listing: str, bridge: str, local_addresses: Sequence[str] = ()
) -> list[list[str]]:
    """Return arguments of iptables that let the bridge through, given what `iptables -S` lists.

    `local_addresses` are those of services that the node itself answers, such as DNS.
    """
    lines = set(listing.splitlines())
    wanted: list[list[str]] = []
    if "-A FORWARD -j DOCKER-USER" in lines:
        wanted += [["DOCKER-USER", *rule] for rule in _forwarding(bridge)]
    elif _is_shut(lines, "FORWARD"):
        wanted += [["FORWARD", *rule] for rule in _forwarding(bridge)]
    if _is_shut(lines, "INPUT"):
        own = [["-d", f"{one}/{family_of(one).bits}", "-i", bridge] for one in local_addresses]
        translated = ["-i", bridge, "-m", "conntrack", "--ctstate", "DNAT"]
        wanted += [["INPUT", *words, *ACCEPT] for words in (*own, translated)]
    return [["-I", *rule] for rule in wanted if f"-A {' '.join(rule)}" not in lines]


def own_rules(listing: str) -> list[list[str]]:
    """Return the arguments of iptables that remove the rules which `missing_rules` added."""
    return [["-D", *line.split()[1:]] for line in listing.splitlines() if OWN_RULE.fullmatch(line)]


def _is_shut(lines: set[str], chain: str) -> bool:
    """Return whether a chain of iptables ends with a drop or a refusal of all that nothing accepted."""
    return f"-P {chain} DROP" in lines or any(
        line.startswith((f"-A {chain} -j DROP", f"-A {chain} -j REJECT")) for line in lines
    )


def _forwarding(bridge: str) -> list[list[str]]:
    return [["-i", bridge, *ACCEPT], ["-o", bridge, *ACCEPT]]


def droppers(listing: str, bridge: str, family: Family) -> list[str]:
    """Return the nftables tables that drop what the bridge forwards, given what `nft list ruleset` prints.

    Those are tables whose chain at the forward hook ends with a drop, and which do not name the bridge. The tables of
    iptables are left out, since `missing_rules` minds them.
    """
    return [
        f"{keyword} {name}"
        for keyword, name, body in CHAINS_OF_A_TABLE.findall(listing)
        if keyword in (family.keyword, "inet")
        and name != TABLE
        and (keyword, name) != (family.keyword, "filter")
        and f'"{bridge}"' not in body
        and any(_drops(rules) for _, rules in CHAIN.findall(body))
    ]


def _drops(rules: str) -> bool:
    """Return whether a chain is one at the forward hook that drops what none of its rules accepts."""
    base = BASE_CHAIN.search(rules)
    last = rules.strip().rpartition("\n")[2].strip()
    return base is not None and (base[1] == "drop" or LAST_WORD.fullmatch(last) is not None)


class ForeignFirewall:
    """The host's own iptables rules; where iptables is missing there are none to mind."""

    def __init__(self, bridge: str, family: Family, local_addresses: Sequence[str] = ()) -> None:
        """`local_addresses` are those of services that the node itself answers."""
        self._bridge = bridge
        self._program = family.iptables
        self._local_addresses = local_addresses

    async def open(self) -> None:
        """Add the missing rules; a failure is logged, since not every host has iptables."""
        listing = await self._iptables("-S")
        for arguments in missing_rules(listing, self._bridge, self._local_addresses):
            await self._iptables(*arguments)

    async def close_again(self) -> None:
        """Remove the rules that `open` added, also those of an earlier process."""
        for arguments in own_rules(await self._iptables("-S")):
            await self._iptables(*arguments)

    async def _iptables(self, *arguments: str) -> str:
        program = shutil.which(self._program)
        if program is None:
            return ""
        # -w: seconds to wait for the lock that programs changing rules hold
        line = (program, "-w", "5", *arguments)
        try:
            finished = await run_program(line, timeout_seconds=TIMEOUT_SECONDS)
        except ProgramFailed as error:
            _warn(arguments, str(error))
            return ""
        if finished.code:
            _warn(arguments, finished.errors.decode(errors="replace"))
        return finished.output.decode(errors="replace")


def _warn(arguments: Sequence[str], reason: str) -> None:
    log.warning(
        "cannot look after the host's firewall",
        extra={"arguments": " ".join(arguments), "reason": reason[:REASON_CHARACTERS]},
    )
