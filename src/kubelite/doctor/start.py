"""What a server or an agent looks at whenever it has started: what would fail later, and costs next to nothing to find.

It takes a few milliseconds in a thread, after the start. Only the subjects that are looked at are imported.
"""

import asyncio
import logging
from collections.abc import Iterator

from kubelite.config import AgentConfig, Config
from kubelite.doctor import control_groups, disk, names, resources
from kubelite.doctor.findings import Finding, Level
from kubelite.doctor.wanted import Wanted, wanted_of

log = logging.getLogger(__name__)


async def warn(config: Config | AgentConfig) -> None:
    """Log what of this host will make trouble."""
    try:
        found = await asyncio.to_thread(lambda: list(look(wanted_of(config))))
    except (OSError, ValueError) as error:  # `kubelite doctor` tells which subject it was
        log.debug("cannot examine the host", extra={"reason": str(error)})
        return
    for one in found:
        log.warning("kubelite doctor: %s", one.what, extra={"why": one.why, "do": one.do})


def look(wanted: Wanted) -> Iterator[Finding]:
    """Yield the warnings and errors of what is quick to see. Blocks for some milliseconds; raises OSError."""
    found = [
        *control_groups.judge(control_groups.gather(wanted), wanted),
        *names.judge(names.gather_quickly(wanted), wanted),
        *disk.judge(disk.gather_quickly(wanted), wanted),
        *resources.judge(resources.gather(wanted), wanted),
    ]
    if wanted.has_node and wanted.owns_network:  # whose network has imported what this takes
        from kubelite.doctor import addresses

        found += addresses.judge(addresses.gather(wanted), wanted)
    return (one for one in found if one.level in (Level.WARNING, Level.ERROR))
