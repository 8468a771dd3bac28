"""Prepares the folder in which plugins expect the kubelet. Blocking: call it in a thread.

CSI drivers mount `/var/lib/kubelet` of the host into their containers, at the same path, and are told paths below it. A
node keeps those folders in its data folder and puts a link there. What a driver mounts inside its container must appear
on the host too, so the folders of pods and of staged volumes must be on a shared mount: on a host whose root is none,
as in a container, each becomes a shared mount of its own.
"""

import logging
import os
import re
from pathlib import Path

from kubelite.node.csi.paths import KubeletFolders
from kubelite.node.volumes.tmpfs import mounts_below, share

log = logging.getLogger(__name__)

FOLDER_MODE = 0o750
_ESCAPED = re.compile(r"\\([0-7]{3})")


def prepare(data: Path, root: Path) -> KubeletFolders:
    """Make the kubelet's folders in `data`, and show them at `root`. Raises OSError if they cannot be made."""
    folders = KubeletFolders(data, root if _show(data, root) else data)
    for folder in (folders.pods, folders.plugins, folders.registry):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    for folder in (folders.pods, folders.plugins):
        try:
            _share(folder)
        except OSError as error:
            log.warning(
                "CSI drivers cannot mount volumes for pods: %s",
                error,
                extra={"folder": str(folder)},
            )
    return folders


def _show(data: Path, root: Path) -> bool:
    """Make `root` a link to `data`; return whether plugins find the folders there."""
    if root == data:
        return True
    if is_shown(data, root):
        return True
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        root.symlink_to(data)
    except OSError as error:
        log.warning(
            "plugins that expect the kubelet's folders at %s do not find them: %s; see --root-dir",
            root,
            error.strerror,
        )
        return False
    return True


def is_shown(data: Path, root: Path) -> bool:
    """Return whether `root` is this node's link to its folders."""
    return root.is_symlink() and os.path.realpath(root) == os.path.realpath(data)


def _share(folder: Path) -> None:
    """Make a folder part of a shared mount, unless something is mounted in it already. Raises OSError."""
    place = folder.resolve()
    if not is_shared(place, Path("/proc/self/mountinfo").read_text(errors="surrogateescape")):
        if mounts_below(place):
            log.warning("%s becomes a shared mount once no pod runs", folder)
            return
        share(place)


def is_shared(path: Path, mountinfo: str) -> bool:
    """Return whether the mount that a path is on, by /proc/self/mountinfo, propagates to other namespaces (proc(5))."""
    best, shared = "", False
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if "-" not in fields:
            continue
        point = _ESCAPED.sub(lambda matched: chr(int(matched.group(1), 8)), fields[4])
        inside = path == Path(point) or Path(point) in path.parents
        if inside and len(point) >= len(best):  # a later mount hides an earlier one
            optional = fields[6 : fields.index("-")]
            best, shared = point, any(field.startswith("shared:") for field in optional)
    return shared
