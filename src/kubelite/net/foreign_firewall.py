"""Lets pods' packets through a host firewall that forwards nothing unless told so, as Docker's does.

An accept in a table of our own does not overrule a drop in another's, so two rules go into the chain that its owner
keeps for its users (DOCKER-USER), or into FORWARD where there is none. They carry kubelite's name as comment.
"""

import logging
import shutil
from collections.abc import Sequence

from kubelite.spawn import ProgramFailed, run_program

log = logging.getLogger(__name__)

COMMENT = "kubelite"
TIMEOUT_SECONDS = 30.0
REASON_CHARACTERS = 2000  # of iptables' message in a log line


def missing_rules(listing: str, bridge: str) -> list[list[str]]:
    """Return arguments of iptables that let the bridge through, given what `iptables -S` lists."""
    lines = set(listing.splitlines())
    if "-A FORWARD -j DOCKER-USER" in lines:
        chain = "DOCKER-USER"
    elif "-P FORWARD DROP" in lines:
        chain = "FORWARD"
    else:
        return []
    return [
        ["-I", chain, *rule]
        for rule in _rules(bridge)
        if f"-A {chain} {' '.join(rule)}" not in lines
    ]


def own_rules(listing: str, bridge: str) -> list[list[str]]:
    """Return the arguments of iptables that remove the rules which `missing_rules` added."""
    return [
        ["-D", chain, *rule]
        for line in listing.splitlines()
        for chain in ("DOCKER-USER", "FORWARD")
        for rule in _rules(bridge)
        if line == f"-A {chain} {' '.join(rule)}"
    ]


def _rules(bridge: str) -> list[list[str]]:
    accept = ["-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"]
    return [["-i", bridge, *accept], ["-o", bridge, *accept]]


class ForeignFirewall:
    """The host's own iptables rules; where iptables is missing there are none to mind."""

    def __init__(self, bridge: str, program: str = "iptables") -> None:
        """`program` is that of the family: iptables or ip6tables."""
        self._bridge = bridge
        self._program = program

    async def open(self) -> None:
        """Add the missing rules; a failure is logged, since not every host has iptables."""
        for arguments in missing_rules(await self._iptables("-S"), self._bridge):
            await self._iptables(*arguments)

    async def close_again(self) -> None:
        """Remove the rules that `open` added, also those of an earlier process."""
        for arguments in own_rules(await self._iptables("-S"), self._bridge):
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
