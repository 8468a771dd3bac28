"""Watching: each change is framed once per form and handed to everyone who wants it."""

from collections.abc import Callable, Sequence
from typing import Protocol

Deliver = Callable[[Sequence[bytes]], None]  # gets frames, on the loop; must not block


class Form(Protocol):
    """How a change is written on the wire."""

    @property
    def name(self) -> str:
        """The key under which frames are shared."""
        ...

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return one framed line for ADDED, MODIFIED, DELETED or BOOKMARK with the object's JSON."""
        ...


class PlainForm:
    """The object as it is stored."""

    name = "plain"

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return the line."""
        return b'{"type":"%s","object":%s}\n' % (event_type.encode(), value)


PLAIN = PlainForm()


class Watching(Protocol):
    """A watch under way."""

    def bookmark(self) -> None:
        """Deliver a bookmark now, if the watch wants them; who ends a watch after its timeout calls this first."""
        ...

    def close(self) -> None:
        """Deliver nothing more. May be called twice."""
        ...
