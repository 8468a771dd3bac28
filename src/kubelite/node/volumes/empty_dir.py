"""Makes the folder of an emptyDir: on the node's disk, in memory, or in huge pages.

Sizes and messages are upstream's (pkg/volume/emptydir).
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import EmptyDirVolumeSource
from kubelite.api.machinery.quantity import BINARY, Quantity, parse_quantity
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.resources import memory_bytes, memory_limit
from kubelite.node.untrusted_files import opened_folder
from kubelite.node.volumes.tmpfs import mount_huge_pages, mount_tmpfs

MEMORY, HUGE_PAGES = "Memory", "HugePages"
HUGE_PAGES_PREFIX = "hugepages-"  # of a resource; a medium has the same with capitals


def memory_size(source: EmptyDirVolumeSource, pod: Pod, allocatable: Mapping[str, str]) -> int:
    """Return the bytes of a volume in memory: the least of sizeLimit, the pod's limit and the node's.

    The node's is what all pods may have. 0 means that none of them is known.
    """
    asked = parse_quantity(source.sizeLimit).value() if source.sizeLimit else 0
    sizes = (asked, memory_limit(pod), memory_bytes(allocatable))
    return min((size for size in sizes if size > 0), default=0)


def page_size(medium: str, pod: Pod) -> int:
    """Return the bytes of the huge pages of a volume, by its medium or the pod's requests. Raises ConfigUnavailable."""
    requested = {parse_quantity(text) for text in _requested_pages(pod)}
    if medium == HUGE_PAGES:
        if len(requested) > 1:
            raise ConfigUnavailable(
                f"medium: {medium} can't be used if container requests multiple huge page sizes"
            )
        found = next(iter(requested), None)
    else:
        named = parse_quantity(medium.removeprefix(f"{HUGE_PAGES}-"))
        found = named if named in requested else None
    if found is None:
        raise ConfigUnavailable(
            f"medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )
    return found.value()


def _requested_pages(pod: Pod) -> Iterator[str]:
    whole = [pod.spec.resources] if pod.spec.resources is not None else []
    containers = [*pod.spec.containers, *pod.spec.initContainers]
    for resources in (*whole, *(container.resources for container in containers)):
        for name in resources.requests:
            if name.startswith(HUGE_PAGES_PREFIX):
                yield name.removeprefix(HUGE_PAGES_PREFIX)


def make_empty_dir(folder: Path, source: EmptyDirVolumeSource, pod: Pod, size_bytes: int) -> None:
    """Make and mount a volume that is not there yet. Raises ConfigUnavailable and OSError.

    `size_bytes` limits a volume in memory; 0: the kernel's default.
    """
    context = pod.spec.securityContext
    group = context.fsGroup if context is not None else None
    if not source.medium:
        if not folder.is_dir():
            # Its mode is set under another name, so that a folder with its name is always complete.
            draft = folder.with_name(f".{folder.name}")
            draft.mkdir(parents=True, exist_ok=True)
            _open_to(draft, group)
            draft.rename(folder)
        return
    if folder.is_mount():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if source.medium == MEMORY:
        mount_tmpfs(folder, size_bytes)
    elif source.medium.partition("-")[0] == HUGE_PAGES:
        pages = page_size(source.medium, pod)
        try:
            mount_huge_pages(folder, pages)
        except OSError as error:
            size = Quantity(pages, BINARY)
            raise ConfigUnavailable(
                f"cannot mount huge pages of {size}: {error.strerror}"
            ) from error
    else:
        raise ConfigUnavailable(f'unknown storage medium "{source.medium}"')
    _open_to(folder, group)


def _open_to(folder: Path, group: int | None) -> None:
    with opened_folder(folder) as opened:
        if group is not None:
            os.fchown(opened, -1, group)
        os.fchmod(opened, 0o2777 if group is not None else 0o777)
