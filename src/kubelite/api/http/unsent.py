"""What clients have not read yet: charged to the connection, to the identity, and in all.

A charge is taken before an answer is put together and given back once the connection has taken it; a watch is charged
for what waits for it. Who wants more than there is room for waits, or is cut. When there is no room in all, those that
have stopped reading go first, so that nobody is kept out by clients that only hold on.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from kubelite.api.errors import TooManyRequests
from kubelite.budget import Budget
from kubelite.collector import FreedMemory
from kubelite.limits import UNSENT, UNSENT_OF_CALLER, UNSENT_OF_CONNECTION

# Of one answer, not charged: it is no more than the buffers of its connection.
FREE_BYTES = 64 * 1024
ROOM_SECONDS = 15.0  # as long as a request waits for its turn
STALLED_SECONDS = 5.0

Waiter = tuple["Charge", int, "asyncio.Future[None]"]


class Unsent:
    """The budget of all connections of a server."""

    def __init__(self) -> None:
        self.budget = Budget(UNSENT_OF_CALLER, UNSENT)
        self.memory = FreedMemory()
        self._charges: set[Charge] = set()  # those that hold something
        self._waiting: deque[Waiter] = deque()

    def charge(self, owner: str, cut: Callable[[], None]) -> "Charge":
        """Return an empty charge to an identity; `cut` ends what is charged, without waiting."""
        return Charge(self, owner, cut)

    def changed(self, charge: "Charge", amount: int) -> bool:
        """Let a charge hold `amount`; say whether there was room for it."""
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
        """Wait until a charge can hold `amount`; raises TimeoutError."""
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
        """Let those in who have room now, those of one identity in the order in which they came."""
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
        """Cut those that have stopped reading, the largest first, until there is room in all."""
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
    """What is held for one answer or watch."""

    __slots__ = ("_cut", "_unsent", "held", "is_ended", "moved_at", "owner")

    def __init__(self, unsent: Unsent, owner: str, cut: Callable[[], None]) -> None:
        self._unsent = unsent
        self._cut = cut
        self.owner = owner
        self.held = 0
        self.is_ended = False
        self.moved_at = asyncio.get_running_loop().time()  # when the client last took something

    def change(self, amount: int) -> bool:
        """Hold `amount` from now on; say whether there was room for it."""
        return not self.is_ended and self._unsent.changed(self, amount)

    async def wait(self, amount: int) -> None:
        """Hold `amount` once there is room, or all an identity may if it is more; raises TooManyRequests."""
        amount = min(amount, UNSENT_OF_CALLER.value)
        try:
            await self._unsent.wait(self, amount)
        except TimeoutError as error:
            raise TooManyRequests(
                "too many answers have not been read yet, please try again later",
                retry_after_seconds=1,
            ) from error

    def moved(self) -> None:
        """Note that the client reads."""
        self.moved_at = asyncio.get_running_loop().time()

    def release(self) -> None:
        """Hold nothing from now on."""
        self.is_ended = True
        self._cut = _nothing  # it leads to the connection and back here
        if self.held:
            self._unsent.memory.freed(self.held)
            self._unsent.changed(self, 0)

    def end(self) -> None:
        """Cut what is charged, and hold nothing more."""
        if not self.is_ended:
            cut = self._cut
            self.release()
            cut()


def _nothing() -> None:
    return


def is_too_far_behind(waiting_bytes: int) -> bool:
    """Tell whether a watch has more waiting than one may."""
    if waiting_bytes <= UNSENT_OF_CONNECTION.value:
        return False
    UNSENT_OF_CONNECTION.reached()
    return True
