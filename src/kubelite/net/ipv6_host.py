"""What a host must be set to so that pods have IPv6 addresses, and how it was before.

Only with forwarding does a host pass packets on between its links. A host that forwards heeds no router any more,
unless told to: the default route of one that got it from a router would go. A node without IPv6 calls none of this.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

SETTINGS = Path("/proc/sys/net/ipv6/conf")
FORWARDING = "all/forwarding"
HEED_ROUTERS, HEED_ROUTERS_AND_FORWARD = "1", "2"
# Settings do not outlive a restart of the host, nor does this folder.
BEFORE = Path("/run/kubelite-ipv6.json")
# Of a link: who is on it may tell it neither addresses nor routes, and an address is usable at once.
NO_OWN_ADDRESS = "1"
OF_LINK = {"disable_ipv6": "0", "accept_ra": "0", "accept_redirects": "0", "accept_dad": "0"}


def ipv6_problem(settings: Path = SETTINGS) -> str:
    """Return why this host can give pods no IPv6 addresses; empty: it can."""
    if settings.exists():
        return ""
    return "this host has IPv6 off (kernel parameter ipv6.disable=1)"


def wanted_changes(current: Mapping[str, str]) -> dict[str, str]:
    """Return what to set, in order, given the present values of forwarding and of each link's accept_ra."""
    if current.get(FORWARDING) == "1":
        return {}
    heeding = [
        name
        for name, value in current.items()
        if name.endswith("/accept_ra") and value == HEED_ROUTERS
    ]
    return {**dict.fromkeys(heeding, HEED_ROUTERS_AND_FORWARD), FORWARDING: "1"}


def forward(settings: Path = SETTINGS, before: Path | None = None) -> None:
    """Let the host forward IPv6, and go on to heed its routers. Blocks; raises OSError.

    How it was is noted first, in `before` or in the file for it. What an earlier call noted before it was cut off is
    kept, unless somebody has set it since.
    """
    before = before or BEFORE
    names = [FORWARDING, *(f"{link.name}/accept_ra" for link in sorted(settings.iterdir()))]
    current = {name: (settings / name).read_text().strip() for name in names}
    wanted = wanted_changes(current)
    if not wanted:
        return
    noted = {
        name: value
        for name, value in _noted(before).items()
        if current.get(name) == HEED_ROUTERS_AND_FORWARD
    }
    try:
        _write_whole(before, json.dumps(noted | {name: current[name] for name in wanted}))
    except OSError as error:
        log.warning("cannot note how IPv6 was set", extra={"reason": str(error)})
    for name, value in wanted.items():
        (settings / name).write_text(value)


def restore(settings: Path = SETTINGS, before: Path | None = None) -> None:
    """Set the host as it was before `forward`; does nothing if that changed nothing. Blocks; raises OSError."""
    before = before or BEFORE
    noted = _noted(before)
    # Forwarding, whatever its place: a host that heeds routers only while it does not forward must not miss one.
    for name in sorted(noted, key=lambda one: one != FORWARDING):
        file = settings / name
        if file.exists():  # a link may be gone
            file.write_text(noted[name])
    before.unlink(missing_ok=True)


def _noted(before: Path) -> dict[str, str]:
    """Return what was noted; nothing where there is no note, or none that can be read."""
    try:
        return msgspec.json.decode(before.read_bytes(), type=dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def _write_whole(file: Path, text: str) -> None:
    """Replace a file: a crash leaves either the old content or the new."""
    new = file.with_suffix(".new")
    new.write_text(text)
    with new.open() as written:
        os.fsync(written.fileno())
    new.replace(file)


def set_link(name: str, settings: Path = SETTINGS, *, is_pods: bool = False) -> None:
    """Prepare a link for the addresses that this node gives it, in the network namespace of this thread. Blocks.

    A pod's has to be down still. An engine may have switched IPv6 off in a sandbox that it made without a network.
    Raises OSError.
    """
    wanted = {f"{name}/{setting}": value for setting, value in OF_LINK.items()}
    if is_pods:
        wanted |= {f"{name}/addr_gen_mode": NO_OWN_ADDRESS, "lo/disable_ipv6": "0"}
    for setting, value in wanted.items():
        (settings / setting).write_text(value)
