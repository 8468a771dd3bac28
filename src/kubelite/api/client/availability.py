"""Whether a server answers, for all requests of a client, and of several clients of one server that share it.

While the server is away one request at a time is let through, after a back-off with jitter; all others fail at once.
So nothing piles up behind a server that hangs for hours, and no request waits for its own timeout. The first answer
ends the absence: those that wait in `pause` go on, each after a time of its own, so that they do not all come at once.
The log has one line for the absence and one for its end.
"""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType

from kubelite.api.client.mirror import tell
from kubelite.api.errors import ServiceUnavailable
from kubelite.backoff import backoff_seconds
from kubelite.randomness import Randomness

log = logging.getLogger(__name__)

TRY_FIRST_SECONDS = 0.25  # between two requests to a server that is away, doubling to the maximum
TRY_MAX_SECONDS = 8.0
# A request that its caller gave up after this time without an answer shows a server that hangs.
PATIENCE_SECONDS = 5.0
BROKEN_MAX = 3
RETURN_SPREAD_SECONDS = 3.0  # within which those that paused go on after the server's return


class Availability:
    """Use `attempt` around each request. Create it on the loop."""

    def __init__(self, server: str, randomness: Randomness) -> None:
        """`server` names it in log lines."""
        self._server = server
        self._randomness = randomness
        self._away_since: float | None = None  # loop time
        self._reason = ""
        self._failures = 0  # in succession
        self._next_try = 0.0  # loop time
        self._is_trying = False
        self._broken = 0  # connections that broke off before an answer, in succession
        self._listeners: list[Callable[[], None]] = []
        self._returned: asyncio.Event | None = None  # set and replaced at each return

    @property
    def is_away(self) -> bool:
        """Whether the last request had no answer."""
        return self._away_since is not None

    def attempt(self) -> "Attempt":
        """Begin a request; raises ServiceUnavailable while the server is away and it is not time to try it again."""
        is_try = self._away_since is not None
        if is_try:
            if self._is_trying or asyncio.get_running_loop().time() < self._next_try:
                raise self.unreachable(self._reason)
            self._is_trying = True
        return Attempt(self, is_try=is_try)

    def unreachable(self, reason: str) -> ServiceUnavailable:
        """Return the error of a request without an answer."""
        return ServiceUnavailable(f"cannot reach {self._server}: {reason}")

    def subscribe(self, returned: Callable[[], None]) -> Callable[[], None]:
        """Call `returned` each time the server answers again; return a call that ends it."""
        self._listeners.append(returned)
        return lambda: self._listeners.remove(returned)

    async def pause(self, seconds: float) -> None:
        """Sleep; if the server returns meanwhile, sleep at most RETURN_SPREAD_SECONDS more, at random."""
        if self._returned is None:
            self._returned = asyncio.Event()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._returned.wait()
        except TimeoutError:
            return
        left = end - loop.time()
        await asyncio.sleep(min(left, self._randomness.uniform(0.0, RETURN_SPREAD_SECONDS)))

    def answered(self) -> None:
        """Note an answer, whatever it is."""
        self._broken = 0
        if self._away_since is None:
            return
        seconds = asyncio.get_running_loop().time() - self._away_since
        log.info(
            "API server answers again",
            extra={"server": self._server, "away_seconds": round(seconds, 1)},
        )
        self._away_since, self._failures = None, 0
        if self._returned is not None:
            self._returned.set()
            self._returned = None
        tell(self._listeners)

    def failed(self, reason: str) -> None:
        """Note that the server cannot be reached, or does not answer."""
        now = asyncio.get_running_loop().time()
        if self._away_since is None:
            self._away_since = now
            log.warning(
                "API server does not answer", extra={"server": self._server, "reason": reason}
            )
        self._reason = reason
        pause = backoff_seconds(self._failures, TRY_FIRST_SECONDS, TRY_MAX_SECONDS)
        self._next_try = now + pause * self._randomness.uniform(0.5, 1.5)
        self._failures += 1

    def broke(self, reason: str) -> None:
        """Note that a connection broke off before the answer: BROKEN_MAX in succession are a failure.

        A server may close a connection that was idle in the moment in which it is used again.
        """
        self._broken += 1
        if self._broken >= BROKEN_MAX or self._away_since is not None:
            self.failed(reason)

    def tried(self) -> None:
        """Let the next request through."""
        self._is_trying = False


class Attempt:
    """One request; as a context it ends with an answer, a failure, or neither."""

    def __init__(self, availability: Availability, *, is_try: bool) -> None:
        self._availability = availability
        self._is_try = is_try
        self._is_over = False
        self._started = asyncio.get_running_loop().time()

    @property
    def is_over(self) -> bool:
        """Whether it is known if the server answers."""
        return self._is_over

    def answered(self) -> None:
        """Note an answer."""
        self._end()
        self._availability.answered()

    def failed(self, reason: str) -> None:
        """Note that there will be no answer."""
        self._end()
        self._availability.failed(reason)

    def broke(self, reason: str) -> None:
        """Note that the connection broke off before the answer."""
        self._end()
        self._availability.broke(reason)

    def _end(self) -> None:
        self._is_over = True
        if self._is_try:
            self._is_try = False
            self._availability.tried()

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_over:
            return
        waited = asyncio.get_running_loop().time() - self._started
        if waited >= PATIENCE_SECONDS:  # the caller gave it up
            self.failed(f"no answer within {waited:.0f} s")
        else:
            self._end()
