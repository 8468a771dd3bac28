"""The names of snapshots, and which of the scheduled ones are kept."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from kubelite.store.snapshots import SUFFIX

SCHEDULED: Final = "scheduled"
SEALED: Final = ".sealed"
_NAME: Final = re.compile(
    # No other characters: the names of a bucket are its owner's, and are shown on terminals.
    rf"(?P<kind>[A-Za-z0-9._-]+)-(?P<date>[0-9]{{8}}-[0-9]{{6}})-[0-9]+({re.escape(SUFFIX)}|{re.escape(SEALED)})"
)


def prefix_of(node: str) -> str:
    """Return how the names of a server's scheduled snapshots begin; servers that share a bucket differ in it."""
    return f"{SCHEDULED}-{node}"


def is_snapshot(name: str) -> bool:
    """Return whether a file or an object has the name of a snapshot."""
    return _NAME.fullmatch(name) is not None


def by_date(names: Iterable[str]) -> list[str]:
    """Return the names of snapshots, oldest first; other names are left out."""
    found = [(match["date"], name) for name in names if (match := _NAME.fullmatch(name))]
    return [name for _, name in sorted(found)]


def surplus(names: Iterable[str], node: str, retention: int) -> Sequence[str]:
    """Return a server's scheduled snapshots beyond the newest `retention`, oldest first."""
    own = [
        name
        for name in by_date(names)
        if (match := _NAME.fullmatch(name)) and match["kind"] == prefix_of(node)
    ]
    return own[: max(len(own) - retention, 0)]
