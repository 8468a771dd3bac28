"""Protocols of a watch: each change is framed once per form and shared by all watches of that form."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from kubelite.api.errors import APIError

Deliver = Callable[[Sequence[bytes]], None]  # gets frames, on the loop; must not block
Drain = Callable[
    [], Awaitable[None]
]  # returns when more may be delivered; an exception ends the watch

# Called when a watch ends by itself, with the error to tell the client, or None if its resource is no longer served.
Ended = Callable[[APIError | None], None]


class Form(Protocol):
    """The encoding of a watch event."""

    @property
    def name(self) -> str:
        """The key under which frames are shared."""
        ...

    @property
    def event_cost(self) -> int:
        """The cost of one event, in the unit of `limits.INLINE_WORK`."""
        ...

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return one framed line for ADDED, MODIFIED, DELETED or BOOKMARK with the object's JSON; pure."""
        ...


class PlainForm:
    """A JSON watch event with the object as stored."""

    name = "plain"
    event_cost = 0

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return the line."""
        return b'{"type":"%s","object":%s}\n' % (event_type.encode(), value)


PLAIN = PlainForm()


class Watching(Protocol):
    """An open watch."""

    async def begin(self, drain: Drain) -> None:
        """Deliver the present objects, or the changes since the requested version, slice by slice.

        Waits for `drain` after each slice. Changes that happen meanwhile are delivered in order: no event is lost or
        repeated, and the events of an object keep their order. To be called once.
        """
        ...

    def bookmark(self) -> None:
        """Deliver a bookmark now, if the watch wants them; to be called before a timeout ends the watch."""
        ...

    def close(self) -> None:
        """Close the watch; nothing more is delivered. May be called twice."""
        ...
