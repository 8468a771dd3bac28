"""Budget of unsent bytes: what clients have not read yet, per connection, per identity and in total.

An answer is charged before it is built and released once the transport has taken it; a watch is charged for its
backlog. A request beyond the budget waits for room; a watch beyond it is cut off. When the total is used up, the
clients that have stopped reading are cut off first, so that they cannot lock out the others.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from kubelite.api.errors import TooManyRequests
from kubelite.budget import Budget
from kubelite.collector import FreedMemory
from kubelite.limits import UNSENT, UNSENT_OF_CALLER, UNSENT_OF_CONNECTION

# An answer up to this size is not charged: it takes no more than the buffers of its connection.
FREE_BYTES = 64 * 1024
ROOM_SECONDS = 15.0  # to wait for room; as long as a request is queued for a seat
STALLED_SECONDS = 5.0

Waiter = tuple["Charge", int, "asyncio.Future[None]"]


class Unsent:
    """The budget of all connections of a server."""

    def __init__(self) -> None:
        self.budget = Budget(UNSENT_OF_CALLER, UNSENT)
        self.memory = FreedMemory()
        self._charges: set[Charge] = set()  # those that hold bytes
        self._waiting: deque[Waiter] = deque()

    def charge(self, owner: str, cut: Callable[[], None]) -> "Charge":
        """Return an empty charge to an identity; `cut` ends the answer or watch at once, without waiting."""
        return Charge(self, owner, cut)

    def changed(self, charge: "Charge", amount: int) -> bool:
        """Set a charge to `amount` bytes; return whether the budget allows it. Cuts off stalled clients if needed."""
        more = amount - charge.held
        if more > 0:
            self._make_room(more)
            if not self.budget.take(charge.owner, more):
                return False
            self._charges.add(charge)
        elif more < 0:
            self.budget.give(charge.owner, -more)
        charge.held = amount
        if not amount:
            self._charges.discard(charge)
        if more < 0:
            self._wake()
        return True

    async def wait(self, charge: "Charge", amount: int) -> None:
        """Wait until a charge can hold `amount` bytes. Raises TimeoutError after ROOM_SECONDS."""
        is_first = all(other.owner != charge.owner for other, _, _ in self._waiting)
        if is_first and self.changed(charge, amount):
            return
        future = asyncio.get_running_loop().create_future()
        waiter = charge, amount, future
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(ROOM_SECONDS):
                await future
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _wake(self) -> None:
        """Serve the waiters the budget has room for, in the order of arrival within each identity."""
        passed_by: set[str] = set()
        for waiter in tuple(self._waiting):
            charge, amount, future = waiter
            if future.done() or charge.owner in passed_by:
                continue
            if self.budget.exceeded(charge.owner, amount - charge.held):
                passed_by.add(charge.owner)
                continue
            self._waiting.remove(waiter)
            self.changed(charge, amount)
            future.set_result(None)

    def _make_room(self, more: int) -> None:
        """Cut off stalled clients, the largest charge first, until the total has room for `more` bytes."""
        if self.budget.held + more <= UNSENT.value:
            return
        before = asyncio.get_running_loop().time() - STALLED_SECONDS
        stalled = [charge for charge in self._charges if charge.moved_at < before]
        for charge in sorted(stalled, key=lambda one: -one.held):
            UNSENT.reached()
            charge.end()
            if self.budget.held + more <= UNSENT.value:
                return


class Charge:
    """The unsent bytes of one answer or watch."""

    __slots__ = ("_cut", "_unsent", "held", "is_ended", "moved_at", "owner")

    def __init__(self, unsent: Unsent, owner: str, cut: Callable[[], None]) -> None:
        self._unsent = unsent
        self._cut = cut
        self.owner = owner
        self.held = 0
        self.is_ended = False
        self.moved_at = asyncio.get_running_loop().time()  # loop time when the client last read

    def change(self, amount: int) -> bool:
        """Set the charge to `amount` bytes; return whether the budget allows it. False once it was released."""
        return not self.is_ended and self._unsent.changed(self, amount)

    async def wait(self, amount: int) -> None:
        """Wait to hold `amount` bytes, or the limit of an identity if that is less. Raises TooManyRequests."""
        amount = min(amount, UNSENT_OF_CALLER.value)
        try:
            await self._unsent.wait(self, amount)
        except TimeoutError as error:
            raise TooManyRequests(
                "too many answers have not been read yet, please try again later",
                retry_after_seconds=1,
            ) from error

    def moved(self) -> None:
        """Record that the client has read, so that it does not count as stalled."""
        self.moved_at = asyncio.get_running_loop().time()

    def release(self) -> None:
        """Return all bytes to the budget, for good. Idempotent."""
        self.is_ended = True
        self._cut = _nothing  # it refers to the connection and so back to this charge
        if self.held:
            self._unsent.memory.freed(self.held)
            self._unsent.changed(self, 0)

    def end(self) -> None:
        """Cut off the answer or watch and release its charge. Idempotent."""
        if not self.is_ended:
            cut = self._cut
            self.release()
            cut()


def _nothing() -> None:
    return


def is_too_far_behind(waiting_bytes: int) -> bool:
    """Return whether the backlog of a watch exceeds the limit of a connection."""
    if waiting_bytes <= UNSENT_OF_CONNECTION.value:
        return False
    UNSENT_OF_CONNECTION.reached()
    return True
