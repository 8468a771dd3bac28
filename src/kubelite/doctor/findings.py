"""What an examination finds: how bad it is, what it is, why it matters, and what to do."""

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """How bad a finding is; only an error keeps kubelite from working."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Finding(Struct, frozen=True):
    """One thing that was found."""

    level: Level
    what: str
    why: str = ""  # it matters
    do: str = ""  # what to do about it


def ok(what: str) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding(Level.OK, what)


def note(what: str, why: str = "", do: str = "") -> Finding:
    """Return a finding that is worth knowing."""
    return Finding(Level.NOTE, what, why, do)


def warning(what: str, why: str, do: str) -> Finding:
    """Return a finding of something that works less well, or fails for some."""
    return Finding(Level.WARNING, what, why, do)


def error(what: str, why: str, do: str) -> Finding:
    """Return a finding of something with which kubelite cannot work."""
    return Finding(Level.ERROR, what, why, do)


def unseen(what: str, reason: str, do: str = "") -> Finding:
    """Return a note of what could not be examined, and why."""
    return Finding(Level.NOTE, f"not examined: {what}: {reason}", "", do)


AS_ROOT = "run kubelite doctor as root to see more"
