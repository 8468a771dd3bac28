"""Finds the writable layers of an engine's containers: the upper folders of the overlays that are their roots.

They are read from the mounts that the engine has made on the host, not from those of a container, which may change
its own. A layer is found while its container runs and remembered afterwards; without overlays there is none.
"""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MOUNTS: Final = Path("/proc/self/mountinfo")
ROOT: Final = "rootfs"  # in the folder of a container that containerd runs
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


class Layers:
    """The writable layers of one engine's containers, by the containers' ids."""

    def __init__(self, mounts: Path = MOUNTS) -> None:
        self._mounts = mounts
        self._found: dict[str, str] = {}
        self._overlays: Mapping[str, str] = {}

    async def of(self, container_id: str, details: Mapping[str, Any], *, is_running: bool) -> str:
        """Return the folder of a container's layer, "" if it has none; `details` are those of its verbose status."""
        known = self._found.get(container_id)
        if known is not None or not is_running:
            return known or ""
        root = root_of(details)
        found = layer_in(self._overlays, container_id, root)
        if not found:
            self._overlays = await asyncio.to_thread(read_overlays, self._mounts)
            found = layer_in(self._overlays, container_id, root)
        self._found[container_id] = found
        return found

    def forget(self, container_id: str) -> None:
        """Forget a container that was removed."""
        self._found.pop(container_id, None)


def root_of(details: Mapping[str, Any]) -> str:
    """Return the root folder in the details of a container; "" if they have none."""
    spec = details.get("runtimeSpec")
    root = spec.get("root") if isinstance(spec, dict) else None
    path = root.get("path") if isinstance(root, dict) else None
    return path if isinstance(path, str) else ""


def layer_in(overlays: Mapping[str, str], container_id: str, root: str) -> str:
    """Return the upper folder of the overlay at `root`, or of that in the folder with the container's id; pure."""
    if root in overlays:
        return overlays[root]
    ending = f"/{container_id}/{ROOT}"
    return next((upper for place, upper in overlays.items() if place.endswith(ending)), "")


def read_overlays(mounts: Path = MOUNTS) -> dict[str, str]:
    """Return the upper folders of the overlays that are mounted, by where. Blocking; none if it cannot be read."""
    try:
        text = mounts.read_text(errors="surrogateescape")
    except OSError:
        return {}
    return overlays_in(text)


def overlays_in(text: str) -> dict[str, str]:
    """Return the upper folders of the overlays in the text of a mountinfo file, by where they are mounted; pure."""
    found = {}
    for line in text.splitlines():
        place, _, rest = line.partition(" - ")
        fields, kinds = place.split(" "), rest.split(" ", 2)
        if len(fields) < 5 or len(kinds) < 3 or kinds[0] != "overlay":
            continue
        for option in kinds[2].split(","):
            if option.startswith("upperdir=/"):
                found[_plain(fields[4])] = _plain(option.removeprefix("upperdir="))
    return found


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)
