"""Limits the control group of all pods to what the node does not keep back: enforces node allocatable.

The engine makes the group for the first pod; where it can, the node makes it before. A limit below what the pods use at
the moment is refused by the kernel, and tried again until evictions have freed enough.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.node.allocatable import CPU, MEMORY_RESOURCE, PIDS
from kubelite.node.cgroups import POD_FOLDER, ROOT, weight_of
from kubelite.node.resources import shares_of

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0  # as upstream


def settings_of(amounts: Mapping[str, int], *, is_unified: bool) -> list[tuple[str, str, str]]:
    """Return controller, file and value of each setting; an amount of 0 lifts the limit."""
    memory, pids = amounts.get(MEMORY_RESOURCE, 0), amounts.get(PIDS, 0)
    shares = shares_of(amounts.get(CPU, 0))
    if is_unified:
        return [
            ("", "cpu.weight", str(weight_of(shares))),
            ("", "memory.max", str(memory or "max")),
            ("", "pids.max", str(pids or "max")),
        ]
    return [
        ("cpu", "cpu.shares", str(shares)),
        ("memory", "memory.limit_in_bytes", str(memory or -1)),
        ("pids", "pids.max", str(pids or "max")),
    ]


def enforce(amounts: Mapping[str, int], root: Path = ROOT) -> None:
    """Set the limits of the pods' group. Blocking. Raises OSError."""
    is_unified = (root / "cgroup.controllers").exists()
    for controller, file, value in settings_of(amounts, is_unified=is_unified):
        folder = _group(root / controller)
        if folder is None:
            continue  # the kernel lacks the controller
        try:
            (folder / file).write_text(value)
        except FileNotFoundError:
            if value not in ("-1", "max"):
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), file) from None


def _group(hierarchy: Path) -> Path | None:
    """Return the folder of the pods' group in a hierarchy, made if it is missing."""
    if not hierarchy.is_dir():
        return None
    slice_folder = hierarchy / f"{POD_FOLDER}.slice"
    if slice_folder.is_dir():  # systemd's driver
        return slice_folder
    folder = hierarchy / POD_FOLDER
    folder.mkdir(exist_ok=True)
    return folder


class PodGroup:
    """Keeps the limits of the pods' group of one node."""

    def __init__(
        self,
        amounts: Mapping[str, int],
        node_name: str,
        events: EventRecorder,
        root: Path = ROOT,
    ) -> None:
        self._amounts = amounts
        self._node = ObjectReference(kind="Node", name=node_name, uid=node_name)
        self._events = events
        self._root = root

    async def run(self) -> None:
        """Set the limits; after a failure again each minute, until they are set."""
        while True:
            try:
                await asyncio.to_thread(enforce, self._amounts, self._root)
            except OSError as error:
                message = f'Failed to update Node Allocatable Limits ["{POD_FOLDER}"]: {error}'
                self._events.event(self._node, WARNING, "FailedNodeAllocatableEnforcement", message)
                log.warning("%s", message)
            else:
                message = "Updated Node Allocatable limit across pods"
                self._events.event(self._node, NORMAL, "NodeAllocatableEnforced", message)
                return
            await asyncio.sleep(RETRY_SECONDS)
