"""Decides which containers of an engine belong to this data folder, whatever its node is called.

Each data folder has an id of its own, made once, and every container has its folder's id in a label. So a
node that gets another name still finds its containers, and two data folders on one engine leave each other's alone.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from kubelite.randomness import Randomness

NODE_LABEL = "io.kubelite.node"
OWNER_LABEL = (
    "io.kubelite.owner"  # the id of the data folder; containers of earlier versions lack it
)
UID_LABEL = "io.kubernetes.pod.uid"
ID_FILE = "owner"  # in the agent's part of the data folder
_ID = re.compile(r"[0-9a-f-]{36}", re.ASCII)


class ContainerOwner(Struct, frozen=True):
    """A data folder, as its containers name it."""

    id: str  # "" if the folder has none, because no server of this version has run on it
    node: str
    pods: Path  # the folder with one folder for each pod uid

    def labels(self) -> dict[str, str]:
        """Return the labels that make a container this owner's."""
        return {NODE_LABEL: self.node, OWNER_LABEL: self.id}

    def owns(self, labels: Mapping[str, str]) -> bool:
        """Return whether a container is this owner's.

        A container without an id is if its node has this name. Whatever its labels say, it is if the folder of its
        pod is here: uids are unique, so no other owner can have made it. May read the disk.
        """
        if NODE_LABEL not in labels:
            return False
        other = labels.get(OWNER_LABEL, "")
        if (other == self.id) if other else (labels[NODE_LABEL] == self.node):
            return True
        uid = labels.get(UID_LABEL, "")
        return _ID.fullmatch(uid) is not None and (self.pods / uid).is_dir()


def read_owner(data: Path, node: str) -> ContainerOwner:
    """Return the owner that the agent's folder `data` stands for, without making anything."""
    try:
        text = (data / ID_FILE).read_text(errors="replace").strip()
    except OSError:
        text = ""
    return ContainerOwner(text if _ID.fullmatch(text) else "", node, data / "pods")


def ensure_owner(data: Path, node: str, randomness: Randomness) -> ContainerOwner:
    """Return the owner that the agent's folder `data` stands for; make its id if it has none. May raise OSError."""
    owner = read_owner(data, node)
    if owner.id:
        return owner
    written = data / f"{ID_FILE}.new"
    written.write_text(randomness.uid())
    written.replace(data / ID_FILE)
    return read_owner(data, node)
