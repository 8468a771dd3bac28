"""Reads files of the host within bounds; what cannot be read is None."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

FILE_BYTES_MAX = 4 << 20  # a table of mounts or of sockets of a busy host has some hundred kB
_ESCAPED = re.compile(r"\\([0-7]{3})")


def text_of(path: Path | str) -> str | None:
    """Return the start of a file of the host; None if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(FILE_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return None


def number_of(path: Path | str) -> int | None:
    """Return the number in a file; None if there is none."""
    text = (text_of(path) or "").strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text, re.ASCII) else None


class Mount(Struct, frozen=True):
    """A mount of this process's namespace."""

    source: str
    place: str
    kind: str
    options: frozenset[str]


def parse_mounts(text: str) -> list[Mount]:
    """Return the mounts of a table as /proc/self/mounts has it, in order: later ones lie over earlier ones."""
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) >= 4:
            source, place, kind, options = fields[:4]
            mounted = Mount(
                _unescaped(source), _unescaped(place), kind, frozenset(options.split(","))
            )
            found.append(mounted)
    return found


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


def mounts() -> list[Mount]:
    """Return the mounts of this process's namespace."""
    return parse_mounts(text_of("/proc/self/mounts") or "")


def mount_of(path: Path, table: list[Mount]) -> Mount | None:
    """Return the mount on which an absolute path lies."""
    holding = [one for one in table if path.is_relative_to(one.place)]
    longest = max((len(one.place) for one in holding), default=0)
    return next((one for one in reversed(holding) if len(one.place) == longest), None)


def existing(path: Path) -> Path:
    """Return a path, or its nearest parent that exists."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow links
    return next((one for one in (absolute, *absolute.parents) if one.exists()), Path("/"))


def processes() -> Iterator[int]:
    """Yield the ids of the processes that can be seen."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - half a thousand paths would be made for their names
        if name.isdecimal():
            yield int(name)


def name_of(pid: int) -> str:
    """Return the name of a process, "" if it is gone."""
    return (text_of(f"/proc/{pid}/comm") or "").strip()


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock on a file; the lock itself is not tried, a start might want it just now."""
    try:
        status = path.stat()
    except OSError:
        return False
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return any(place in line.split() for line in (text_of("/proc/locks") or "").splitlines())
