"""Watching: each change is framed once per form and handed to everyone who wants it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

Deliver = Callable[[Sequence[bytes]], None]  # gets frames, on the loop; must not block
Drain = Callable[
    [], Awaitable[None]
]  # returns when more may be delivered; what it raises ends the watch


class Form(Protocol):
    """How a change is written on the wire."""

    @property
    def name(self) -> str:
        """The key under which frames are shared."""
        ...

    @property
    def event_cost(self) -> int:
        """What one event costs, in the unit of `limits.INLINE_WORK`."""
        ...

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return one framed line for ADDED, MODIFIED, DELETED or BOOKMARK with the object's JSON; pure."""
        ...


class PlainForm:
    """The object as it is stored."""

    name = "plain"
    event_cost = 0

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return the line."""
        return b'{"type":"%s","object":%s}\n' % (event_type.encode(), value)


PLAIN = PlainForm()


class Watching(Protocol):
    """A watch under way."""

    async def begin(self, drain: Drain) -> None:
        """Deliver what there is, or what has happened since the version asked for, slice by slice.

        Waits for `drain` after each slice. What happens meanwhile is delivered in its place: nothing is left out,
        nothing comes twice, and each object's events come in their order. To be called once.
        """
        ...

    def bookmark(self) -> None:
        """Deliver a bookmark now, if the watch wants them; who ends a watch after its timeout calls this first."""
        ...

    def close(self) -> None:
        """Deliver nothing more. May be called twice."""
        ...
