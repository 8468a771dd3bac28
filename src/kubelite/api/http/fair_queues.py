"""Seats and queues of one priority level: who is served now, who waits, who is refused.

A level has a nominal number of seats. What it does not use it lends, up to its lendable part, to levels that have more
to do, and takes back as soon as it has work again. Requests that find no seat wait in queues: each flow is dealt a hand
of queues by its hash and joins the shortest (shuffle sharding), and seats go to the queues in turn, so that one flow's
flood fills its own hand and leaves the others a way through.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from msgspec import Struct

from kubelite.api.errors import TooManyRequests

WAIT_SECONDS_MAX = 15.0
RETRY_AFTER_SECONDS = 1

Waiter = asyncio.Future[None]


class Limits(Struct, frozen=True):
    """How a level is configured. `queues` 0: what finds no seat is refused."""

    seats: int
    lendable: int = 0
    borrowable: int | None = None  # None: as many as others lend
    queues: int = 0
    hand_size: int = 1
    queue_length: int = 50
    is_exempt: bool = False


class Refused(TooManyRequests):
    """There is no seat and no room to wait for one."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            "too many requests, please try again later", retry_after_seconds=RETRY_AFTER_SECONDS
        )
        self.cause = cause  # queue-full, concurrency-limit or time-out


class Level:
    """The seats and queues of a priority level."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.in_use = 0
        self.peers: Sequence[Level] = (self,)
        self._queues: list[deque[Waiter]] = [deque() for _ in range(limits.queues)]
        self._turn: deque[int] = (
            deque()
        )  # the queues that hold somebody, in the order they are served

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(queue) for queue in self._queues)

    def reconfigure(self, limits: Limits) -> None:
        """Change limits; whoever waits keeps the place."""
        self.limits = limits
        while len(self._queues) < limits.queues:
            self._queues.append(deque())
        self.serve()

    async def take(self, flow: str) -> None:
        """Take a seat, now or when it is this flow's turn; raises Refused."""
        if self.limits.is_exempt or (not self._turn and self._has_seat()):
            self.in_use += 1
            return
        if not self.limits.queues:
            raise Refused("concurrency-limit")
        queue_index = self._shortest(flow)
        queue = self._queues[queue_index]
        if len(queue) >= self.limits.queue_length:
            raise Refused("queue-full")
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        queue.append(waiter)
        if len(queue) == 1:
            self._turn.append(queue_index)
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await waiter
        except BaseException as error:
            self._give_up(queue_index, waiter)
            if isinstance(error, TimeoutError):
                raise Refused("time-out") from error
            raise

    def give_back(self) -> None:
        """Free a seat, for whoever is next here or wherever it was lent from."""
        self.in_use -= 1
        for level in self.peers:  # what was lent goes back before it is lent again
            if level.in_use < level.limits.seats:
                level.serve()
        for level in self.peers:
            level.serve()

    def _give_up(self, queue_index: int, waiter: Waiter) -> None:
        if waiter.done() and not waiter.cancelled():
            self.give_back()  # the seat came just when it was no longer wanted
            return
        queue = self._queues[queue_index]
        if waiter in queue:
            queue.remove(waiter)
            if not queue:
                self._turn.remove(queue_index)

    def _shortest(self, flow: str) -> int:
        dealt = hand(flow, self.limits.queues, self.limits.hand_size)
        return min(dealt, key=lambda index: len(self._queues[index]))

    def serve(self) -> None:
        """Give free seats to whoever waits, queue by queue."""
        while self._turn and self._has_seat():
            queue_index = self._turn.popleft()
            queue = self._queues[queue_index]
            waiter = queue.popleft()
            if queue:
                self._turn.append(queue_index)
            if not waiter.done():
                self.in_use += 1
                waiter.set_result(None)

    def _has_seat(self) -> bool:
        if self.limits.is_exempt:
            return True
        borrowed = self.in_use - self.limits.seats
        if borrowed < 0:
            # What is never lent is asked first: it needs no look at the other levels.
            return self.in_use < self.limits.seats - self.limits.lendable or self._lent_back()
        if self.limits.borrowable is not None and borrowed >= self.limits.borrowable:
            return False
        return _lendable(self.peers, but=self) > _borrowed(self.peers)

    def _lent_back(self) -> bool:
        """Say whether a seat below the nominal number is here, or lent out to somebody who still sits on it."""
        lent = _borrowed(self.peers)
        if not lent:
            return True
        return _lendable(self.peers, but=None) > lent


def _borrowed(levels: Sequence[Level]) -> int:
    return sum(
        max(0, level.in_use - level.limits.seats) for level in levels if not level.limits.is_exempt
    )


def _lendable(levels: Sequence[Level], *, but: Level | None) -> int:
    return sum(
        max(0, min(level.limits.lendable, level.limits.seats - level.in_use))
        for level in levels
        if level is not but and not level.limits.is_exempt
    )


def hand(flow: str, queues: int, size: int) -> Iterator[int]:
    """Deal a flow its queues: the same ones each time, all different."""
    digest = int.from_bytes(blake2b(flow.encode(), digest_size=16).digest())
    dealt: list[int] = []
    for left in range(queues, queues - min(size, queues), -1):
        digest, position = divmod(digest, left)
        for earlier in sorted(dealt):
            if position >= earlier:
                position += 1
        dealt.append(position)
        yield position
