"""Keeps the kernel's nftables table of one family equal to a ruleset, also when another program changes it.

A change is applied as the difference to what was applied before, in one transaction. Where the content of the kernel's
table is not known (at the start, after another program removed rules, after a refusal), the whole table is written.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from kubelite.net.families import IPV4
from kubelite.net.nftables import Nftables, RulesRefused
from kubelite.net.rule_watch import UNKNOWN
from kubelite.net.ruleset import (
    TABLE,
    ProxySettings,
    Ruleset,
    cost_bytes,
    difference,
    keep_clients,
    merge,
    replace_all,
)
from kubelite.offload import Offload

log = logging.getLogger(__name__)


class RuleTable:
    """The table of one family in the kernel; `apply` has to follow what other programs changed."""

    def __init__(self, settings: ProxySettings, offload: Offload, nftables: Nftables) -> None:
        self._settings = settings
        self._offload = offload
        self._nftables = nftables
        self.content = Ruleset()  # what was applied last
        self.generation = 0  # increased when another program may have changed the table
        self._applied_generation = -1  # if it is another one, the content of the table is unknown
        self._is_written = False  # at least once, so the rules that guard loopback are there
        self._is_in_doubt = False  # notifications of the kernel were lost

    @property
    def is_current(self) -> bool:
        """Whether the table holds `content`, as far as is known."""
        return self._applied_generation == self.generation

    async def apply(self, parts: Sequence[Ruleset]) -> None:
        """Bring the table to the union of `parts`. Raises RulesRefused; the table is as before then.

        A difference that is refused is followed by the whole table.
        """
        if self._is_in_doubt:
            self._is_in_doubt = False
            if not await self._is_intact():
                self.generation += 1
        if self.is_current:
            try:
                await self._apply(parts)
            except RulesRefused as refusal:
                log.warning("cannot apply service rules", extra={"reason": str(refusal)})
            else:
                return
        try:
            await self._apply(parts)
        except RulesRefused as refusal:
            log.error("cannot apply service rules", extra={"reason": str(refusal)})  # noqa: TRY400 - no traceback
            raise

    async def bridge_ready(self) -> None:
        """Route loopback traffic to a new bridge; without a table yet, the first `apply` does so."""
        if self._is_written:
            await self._route_loopback()

    def changed_by_others(self, tables: set[str]) -> None:
        """Take note of the tables that other programs changed, this one or another."""
        if TABLE in tables:
            log.warning("service rules were changed by another program, writing them again")
            self.generation += 1
        self._is_in_doubt |= UNKNOWN in tables

    async def _apply(self, parts: Sequence[Ruleset]) -> None:
        seen, is_known, before = self.generation, self.is_current, self.content
        self._applied_generation = -1  # unknown until the transaction has ended well
        after, commands = await self._offload.run(
            cost_bytes((before, *parts)),
            lambda: _transaction(before if is_known else None, parts, self._settings),
        )
        if not is_known and after.sets:
            await self._replace_keeping_clients(commands, after)
        elif commands:
            await self._nftables.run(commands)
        if not is_known:
            await self._route_loopback()
        self.content, self._applied_generation, self._is_written = after, seen, True

    async def _route_loopback(self) -> None:
        # The kernel has no such switch for IPv6: it drops what comes from another link to ::1.
        if self._settings.family.version == IPV4.version:
            await asyncio.to_thread(_route_loopback, self._settings.bridge)

    async def _replace_keeping_clients(self, commands: str, after: Ruleset) -> None:
        """Replace the whole table with the clients of session affinity, or without these if nft refuses them."""
        family = self._settings.family
        listed = await self._nftables.run(f"list sets {family.keyword}\n")
        kept = await self._offload.run(len(listed), lambda: keep_clients(listed, after, family))
        try:
            await self._nftables.run(commands + kept)
        except RulesRefused:
            if not kept:
                raise
            await self._nftables.run(commands)

    async def _is_intact(self) -> bool:
        """Return whether the kernel's table has every chain that was applied."""
        try:
            listed = await self._nftables.run(f"list chains {self._settings.family.keyword}\n")
        except RulesRefused:
            return False
        applied = self.content.chains
        keyword = self._settings.family.keyword
        return await self._offload.run(len(listed), lambda: _has_chains(listed, applied, keyword))


def _has_chains(listed: str, chains: Iterable[str], keyword: str) -> bool:
    """Return whether a listing of our table has these chains, and the fixed one that leads to them."""
    table = listed.partition(f"table {keyword} {TABLE} {{")[2].partition("\n}")[0]
    names = {line.split()[1] for line in table.splitlines() if line.startswith("\tchain ")}
    return "dispatch" in names and names.issuperset(chains)


def _route_loopback(bridge: str) -> None:
    """Enable route_localnet, so that packets to 127.0.0.1 can be sent to pods (node ports, host ports).

    This alone would also let pods reach what listens on the node's 127.0.0.1 only (CVE-2020-8558): the table, which
    is there before, drops that.
    """
    switch = Path(f"/proc/sys/net/ipv4/conf/{bridge}/route_localnet")
    try:
        if switch.read_text().strip() != "1":
            switch.write_text("1")
    except FileNotFoundError:
        return  # no bridge yet: `bridge_ready` calls this again
    except OSError as error:
        log.warning("node ports will not answer on 127.0.0.1", extra={"reason": str(error)})


def _transaction(
    before: Ruleset | None, parts: Sequence[Ruleset], settings: ProxySettings
) -> tuple[Ruleset, str]:
    """Return the merged rules and the commands that apply them; `before` None: replace the unknown table."""
    after = merge(parts)
    if before is None:
        return after, replace_all(after, settings)
    return after, difference(before, after, settings.family)
