"""Seats and fair queues of one priority level.

A level has a nominal number of seats. It lends unused seats, up to its lendable number, to busier levels, and gets
them back as they are freed once it has work again. A request without a seat is queued: the hash of its flow deals it a
hand of queues, of which it joins the shortest (shuffle sharding). Free seats go to the queues in round-robin order, so
a flow that floods the level fills its own hand only and other flows get through.

A configuration may name millions of queues, so a level holds only those in which a request waits; an index stands for
all others. Its memory and the work of a request depend on the requests and the hand, not on the number of queues.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from msgspec import Struct

from kubelite.api.errors import TooManyRequests
from kubelite.limits import SEAT_WAIT_SECONDS

RETRY_AFTER_SECONDS = 1
HAND_MAX = (
    60  # the most cards of a valid hand: one bit of the flow's hash is the least that a card takes
)

Waiter = asyncio.Future[None]


class LevelLimits(Struct, frozen=True):
    """The configuration of a level. With 0 `queues` a request without a seat is rejected at once."""

    seats: int
    lendable: int = 0
    borrowable: int | None = None  # None: as many as other levels lend
    queues: int = 0
    hand_size: int = 1
    queue_length: int = 50
    is_exempt: bool = False


class Refused(TooManyRequests):
    """The level has no free seat, and the request cannot wait or has waited for `SEAT_WAIT_SECONDS`."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            "too many requests, please try again later", retry_after_seconds=RETRY_AFTER_SECONDS
        )
        self.cause = cause  # queue-full, concurrency-limit or time-out


class Level:
    """The seats and queues of a priority level; `peers` are all levels, which lend to each other."""

    def __init__(self, limits: LevelLimits) -> None:
        self.limits = limits
        self.in_use = 0
        self.peers: Sequence[Level] = (self,)
        # By index, in the order of service; a queue is in here exactly while it is not empty.
        self.queues: OrderedDict[int, deque[Waiter]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """The number of queued requests."""
        return sum(len(queue) for queue in self.queues.values())

    def reconfigure(self, limits: LevelLimits) -> None:
        """Change the limits; queued requests keep their places, even in a queue past the new number."""
        self.limits = limits
        self.serve()

    async def take(self, flow: str) -> None:
        """Take a seat, queueing for up to `SEAT_WAIT_SECONDS`. Raises Refused."""
        if self.limits.is_exempt or (not self.queues and self._has_seat()):
            self.in_use += 1
            return
        if not self.limits.queues:
            raise Refused("concurrency-limit")
        queue_index = self._shortest(flow)
        if self._length(queue_index) >= self.limits.queue_length:
            raise Refused("queue-full")
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self.queues.setdefault(queue_index, deque()).append(waiter)
        try:
            async with asyncio.timeout(SEAT_WAIT_SECONDS.value):
                await waiter
        except BaseException as error:
            self._give_up(queue_index, waiter)
            if isinstance(error, TimeoutError):
                SEAT_WAIT_SECONDS.reached()
                raise Refused("time-out") from error
            raise

    def give_back(self) -> None:
        """Free a seat and serve the queues of all levels, those below their nominal seats first."""
        self.in_use -= 1
        for level in self.peers:  # a lent seat returns to its level before it is lent again
            if level.in_use < level.limits.seats:
                level.serve()
        for level in self.peers:
            level.serve()

    def _give_up(self, queue_index: int, waiter: Waiter) -> None:
        if waiter.done() and not waiter.cancelled():
            self.give_back()  # the seat was granted just as the wait was cancelled
            return
        queue = self.queues.get(queue_index)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self.queues[queue_index]

    def _shortest(self, flow: str) -> int:
        dealt = hand(flow, self.limits.queues, self.limits.hand_size)
        return min(dealt, key=self._length)

    def _length(self, queue_index: int) -> int:
        return len(self.queues.get(queue_index, ()))

    def serve(self) -> None:
        """Grant free seats to queued requests, round-robin over the queues."""
        while self.queues and self._has_seat():
            queue_index, queue = self.queues.popitem(last=False)
            waiter = queue.popleft()
            if queue:
                self.queues[queue_index] = queue
            if not waiter.done():
                self.in_use += 1
                waiter.set_result(None)

    def _has_seat(self) -> bool:
        if self.limits.is_exempt:
            return True
        borrowed = self.in_use - self.limits.seats
        if borrowed < 0:
            # A seat that is never lent is free for sure, so the cheap test comes before the one of all levels.
            return self.in_use < self.limits.seats - self.limits.lendable or self._lent_back()
        if self.limits.borrowable is not None and borrowed >= self.limits.borrowable:
            return False
        return _lendable(self.peers, but=self) > _borrowed(self.peers)

    def _lent_back(self) -> bool:
        """Return whether a seat below the nominal number is free: not lent to a level that still uses it."""
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
    """Yield the indices of a flow's `size` distinct queues out of `queues`; deterministic in `flow`.

    At most `HAND_MAX`: the work grows with the square of the size.
    """
    digest = int.from_bytes(blake2b(flow.encode(), digest_size=16).digest())
    dealt: list[int] = []
    for left in range(queues, queues - min(size, queues, HAND_MAX), -1):
        digest, position = divmod(digest, left)
        for earlier in sorted(dealt):
            if position >= earlier:
                position += 1
        dealt.append(position)
        yield position
