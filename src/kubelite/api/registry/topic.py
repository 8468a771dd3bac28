"""Delivers the changes of one storage to its watches.

Watches of the process itself, which feed mirrors, get a change in the call that makes it visible. All other watches get
their changes in order, in loop callbacks of bounded length, so thousands of watches or selectors do not block the loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from kubelite.api.errors import APIError
from kubelite.api.registry.conversion import Conversion
from kubelite.api.registry.groups import Frame, Group, GroupKey, Groups, Member
from kubelite.api.registry.seen import Seen, convert_ahead
from kubelite.limits import WATCH_BACKLOG
from kubelite.store.protocol import Change, Store
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

TURN_STEPS = 2000  # steps in one loop callback, about 3 ms
TOGETHER_MAX = 64  # changes delivered in one call
BYTES_A_STEP = 8192
COST_OF_STEP = 5  # in the unit of `limits.INLINE_WORK`

Shared = dict[tuple[int, str, str, int], bytes]


class Topic:
    """The groups of one storage, served by one store subscription."""

    def __init__(self, store: Store, prefix: str, conversion: Conversion | None = None) -> None:
        """`conversion` is done by another server, ahead of the delivery; None: groups convert themselves."""
        self._conversion = conversion
        self._unconverted: deque[Seen | Callable[[], None]] = deque()
        self._converting: asyncio.Task[None] | None = None
        self._tasks = TaskSet()
        self.groups: dict[GroupKey, Group] = {}
        self._prompt = Groups()
        self._patient = Groups()
        self._waiting: deque[Seen | Callable[[], None]] = deque()
        self._waiting_bytes = 0
        self._steps: Iterator[int] | None = None  # the generator that the last turn did not exhaust
        self._is_telling = False
        self._turn_handle: asyncio.Handle | None = None
        self._end_subscription = store.subscribe(prefix, self.publish)

    @property
    def is_told(self) -> bool:
        """Whether all published changes have been delivered to every watch."""
        return not self._waiting and not self._unconverted

    def add(self, group: Group) -> None:
        """Deliver changes to a group from now on."""
        self.groups[group.key] = group
        self._index_of(group).add(group)

    def remove(self, group: Group) -> None:
        """Stop delivering changes to a group."""
        del self.groups[group.key]
        self._index_of(group).remove(group)

    def _index_of(self, group: Group) -> Groups:
        return self._prompt if group.is_prompt else self._patient

    def close(self) -> None:
        """End the store subscription and drop the backlog."""
        self._end_subscription()
        self._forget()

    def _forget(self) -> None:
        self._waiting = deque()
        self._unconverted = deque()
        self._waiting_bytes = 0
        if self._converting is not None:
            self._converting.cancel()
            self._converting = None
        self._steps = None
        if self._turn_handle is not None:
            self._turn_handle.cancel()
            self._turn_handle = None

    def publish(self, changes: Sequence[Change]) -> None:
        """Deliver a batch of changes to prompt groups now and append it to the backlog of all others.

        A backlog over `WATCH_BACKLOG` bytes ends all watches but those of the process itself.
        """
        seen = [Seen(change) for change in changes]
        shared: Shared = {}
        if self._prompt:
            for _ in self._told(self._prompt, seen, shared):
                pass
        if not self._patient and self.is_told:
            return
        self._waiting_bytes += sum(one.size_bytes for one in seen)
        if self._conversion is not None:
            self._unconverted.extend(seen)
            if self._converting is None:
                self._converting = self._tasks.start(
                    self._convert(self._conversion), name="conversion of watched objects"
                )
        else:
            self._deliver(seen)
        if self._waiting_bytes > WATCH_BACKLOG.value:
            self._give_up()

    def _deliver(self, changes: Iterable[Seen | Callable[[], None]]) -> None:
        self._waiting.extend(changes)
        if self._turn_handle is None:
            self._turn()

    async def _convert(self, conversion: Conversion) -> None:
        """Have the changes converted in batches, in order, then deliver them."""
        try:
            while unconverted := self._unconverted:
                batch = list(islice(unconverted, TOGETHER_MAX))
                await convert_ahead(conversion, [one for one in batch if isinstance(one, Seen)])
                if unconverted is not self._unconverted:
                    return  # dropped meanwhile
                for _ in batch:
                    unconverted.popleft()
                self._deliver(batch)
        except APIError as error:
            log.warning("watches ended: objects cannot be converted: %s", error.message)
            self._converting, reason = None, error
            self._end_all(lambda watch: watch.expire(reason))
        finally:
            if self._converting is asyncio.current_task():
                self._converting = None

    def then(self, call: Callable[[], None]) -> None:
        """Call `call` once all published changes have been delivered; at once if they have."""
        if self._unconverted:
            self._unconverted.append(call)
        elif self._waiting:
            self._waiting.append(call)
        else:
            call()

    def _turn(self) -> None:
        """Deliver the backlog for at most `TURN_STEPS`, then schedule the next turn."""
        self._turn_handle = None
        if self._is_telling:  # a listener wrote an object; the running turn delivers that, too
            return
        self._is_telling = True
        steps, self._steps = self._steps or self._work(), None
        left = TURN_STEPS
        for spent in steps:
            left -= spent
            if left <= 0:
                self._steps = steps
                self._turn_handle = asyncio.get_running_loop().call_soon(self._turn)
                break
        self._is_telling = False

    def _work(self) -> Iterator[int]:
        """Deliver the backlog; yield the steps taken."""
        while waiting := self._waiting:
            if not isinstance(first := waiting[0], Seen):
                waiting.popleft()
                first()
                continue
            batch: list[Seen] = []
            for one in waiting:
                if not isinstance(one, Seen) or len(batch) == TOGETHER_MAX:
                    break
                batch.append(one)
            yield from self._told(self._patient, batch, {})
            if waiting is not self._waiting:
                continue  # the backlog was dropped meanwhile, for instance because the last watch ended
            for one in batch:
                waiting.popleft()
                self._waiting_bytes -= one.size_bytes

    def _told(self, groups: Groups, batch: Sequence[Seen], shared: Shared) -> Iterator[int]:
        found: dict[GroupKey, list[Frame]] = {}
        for seen in batch:
            revision, key = seen.change.revision, seen.change.key
            for group in tuple(groups.interested(seen)):
                try:
                    line, steps = _framed(group, seen, shared)
                except Exception:
                    # The other watches must get the change, and these must not miss it unnoticed.
                    log.exception("watches ended: a change could not be shown to them")
                    _fail(group)
                    continue
                yield steps
                if line is not None:
                    found.setdefault(group.key, []).append(Frame(revision, key, line))
        for group_key, frames in found.items():
            wanting = self.groups.get(group_key)
            if wanting is not None:
                lines = tuple(frame.line for frame in frames)
                for watch in tuple(wanting.members):
                    watch.hear(frames, lines)
                    yield 1

    def _give_up(self) -> None:
        """Drop the backlog and end all watches but those of the process itself."""
        WATCH_BACKLOG.reached()
        log.warning("changes come faster than watches can be told: their clients begin anew")
        self._end_all(lambda watch: watch.fail())

    def _end_all(self, end: Callable[[Member], None]) -> None:
        """Drop the backlog and end all watches but those of the process itself."""
        self._forget()
        for group in tuple(self.groups.values()):
            if not group.is_prompt:
                for watch in tuple(group.members):
                    end(watch)


def _framed(group: Group, seen: Seen, shared: Shared) -> tuple[bytes | None, int]:
    """Return the line of a change for a group (None: the change is not selected), and the steps that it took."""
    event = group.event(seen)
    if event is None:
        return None, 1
    kind, value = event
    same = (seen.change.revision, group.form.name, kind, id(group.resource))
    line = shared.get(same)
    if line is not None:
        return line, 1
    line = shared[same] = group.form.event(kind, value)
    return line, 1 + len(value) // BYTES_A_STEP + group.form.event_cost // COST_OF_STEP


def _fail(group: Group) -> None:
    for watch in tuple(group.members):
        watch.fail()
