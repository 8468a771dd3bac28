"""Ranges of user ids for pods with a user namespace of their own (`hostUsers: false`).

A pod keeps its range for as long as anything of it is on the node: it stands in a label of its sandboxes, so it is
known again after a restart. Ranges are as long as upstream's, and never hold an id of the host itself.
"""

import pwd
import re
from collections.abc import Mapping
from pathlib import Path

from kubelite.node.runtime import IdRange, RuntimeFailure

IDS_LABEL = "io.kubelite.userns"  # of a sandbox: HOST_ID:LENGTH
IDS_PER_POD = 65_536
IDS_END = 1 << 32
ALL_IDS = IdRange(IDS_PER_POD, IDS_END - IDS_PER_POD)
ID_USER = "kubelet"  # whose subordinate ids are used if there is such a user, as upstream
_LABEL = re.compile(r"([0-9]{1,10}):([0-9]{1,10})")


class NoIdsLeft(RuntimeFailure):
    """There is no range for another pod; `str()` is the reason."""


class UserNamespaces:
    """The ranges of a node's pods, by uid."""

    def __init__(self, whole: IdRange = ALL_IDS) -> None:
        """`whole` are the ids that may be given to pods."""
        self._whole = whole
        self._held: dict[str, IdRange] = {}

    def take(self, pod_uid: str) -> IdRange:
        """Return the range of a pod, a free one if it has none yet. Raises NoIdsLeft."""
        if pod_uid not in self._held:
            self._held[pod_uid] = self._free()
        return self._held[pod_uid]

    def _free(self) -> IdRange:
        taken = sorted((held.host_id, held.host_id + held.length) for held in self._held.values())
        at, end = self._whole.host_id, self._whole.host_id + self._whole.length
        for first, last in taken:
            if at + IDS_PER_POD <= first:
                break
            at = max(at, last)
        if at + IDS_PER_POD > end:
            raise NoIdsLeft("could not find an empty slot to allocate a user namespace")
        return IdRange(at, IDS_PER_POD)

    def restore(self, pod_uid: str, labels: Mapping[str, str]) -> None:
        """Hold the range that a sandbox's labels name, if they name one."""
        if (found := range_of(labels)) is not None:
            self._held.setdefault(pod_uid, found)

    def release(self, pod_uid: str) -> None:
        """Give back the range of a pod of which nothing is left."""
        self._held.pop(pod_uid, None)


def range_of(labels: Mapping[str, str]) -> IdRange | None:
    """Return the range in the labels of a sandbox; None: its pod is in the host's user namespace."""
    found = _LABEL.fullmatch(labels.get(IDS_LABEL, ""))
    return IdRange(int(found[1]), int(found[2])) if found is not None else None


def label_of(ids: IdRange | None) -> dict[str, str]:
    """Return the label that `range_of` reads."""
    return {} if ids is None else {IDS_LABEL: f"{ids.host_id}:{ids.length}"}


def usable_ids(users: str, groups: str) -> IdRange:
    """Return the subordinate ids of the user kubelet, from the texts of /etc/subuid and /etc/subgid.

    Raises ValueError if they cannot be used.
    """
    found = [_entries(text) for text in (users, groups)]
    if found[0] != found[1]:
        raise ValueError(f"mismatched subuids and subgids for user {ID_USER}")
    if len(found[0]) != 1:
        raise ValueError(f"user {ID_USER} must have one range of subordinate ids")
    ((first, length),) = found[0]
    if first < IDS_PER_POD or first % IDS_PER_POD or length % IDS_PER_POD or not length:
        raise ValueError(f"subordinate ids of {ID_USER} must be multiples of {IDS_PER_POD}")
    if first + length > IDS_END:
        raise ValueError(f"subordinate ids of {ID_USER} must be below {IDS_END}")
    return IdRange(first, length)


def _entries(text: str) -> list[tuple[int, int]]:
    fields = (line.strip().split(":") for line in text.splitlines())
    own = (one for one in fields if len(one) == 3 and one[0] == ID_USER)
    return [(int(one[1]), int(one[2])) for one in own if one[1].isdecimal() and one[2].isdecimal()]


def host_ids(etc: Path = Path("/etc")) -> IdRange:
    """Return the ids that pods of this host may have. Blocking; raises ValueError as `usable_ids`, and OSError."""
    try:
        pwd.getpwnam(ID_USER)
    except KeyError:
        return ALL_IDS
    return usable_ids((etc / "subuid").read_text(), (etc / "subgid").read_text())
