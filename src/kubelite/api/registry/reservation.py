"""What a write commits beside its object."""

from collections.abc import Sequence
from typing import Protocol

from kubelite.store.protocol import Operation


class Reservation(Protocol):
    """A change that is atomic with the write, such as used quota or an allocated address.

    Its operations join the commit of the object: all are applied or none. If one of them meets another revision than it
    expects, the write is retried, admission included, with new reservations.
    """

    def operations(self) -> Sequence[Operation]:
        """Return the operations to commit beside the object; called once, right before the commit."""
        ...

    def settled(self, *, committed: bool) -> None:
        """Keep or release the reservation; called exactly once, with False for a failed write and a dry run."""
        ...
