"""Delivers each durable change to the watches that select it.

Watches with the same (resource, namespace, selection, form) make one group. A change is selected and framed once per
group, and all members get the same frames. There is no task and no queue per watch; its deliverer handles a client that
cannot keep up. An index finds the groups that require a name, a field (a kubelet's ``spec.nodeName=n1``) or a label, so
a change is not matched against every watch.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from kubelite.api.errors import APIError, Expired, TooManyRequests
from kubelite.api.registry.groups import Frame, Group
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.selection import Selection
from kubelite.api.registry.topic import Topic
from kubelite.api.registry.watch import Deliver, Ended, Form
from kubelite.budget import Budget
from kubelite.limits import WATCH_SELECTORS, WATCH_SELECTORS_OF_CALLER
from kubelite.store.protocol import Store

log = logging.getLogger(__name__)

BOOKMARK_SECONDS = 60.0


# The prefix of a storage; with the row, if another server converts its objects, for which no other watch should wait.
TopicKey = tuple[str, Resource | None]


def _topic_key(resource: Resource) -> TopicKey:
    conversion = resource.conversion
    waits = conversion is not None and conversion.waits
    return resource.prefix, resource if waits else None


class Course(Protocol):
    """The progress of a watch through its initial state or history."""

    def passes(self, frame: Frame) -> bool:
        """Return whether to deliver a change now."""
        ...


class Behind:
    """The course of a watch that replays the history, where it will find the changes of now."""

    def passes(self, frame: Frame) -> bool:  # noqa: ARG002 - the protocol's
        """Return False."""
        return False


class Watch:
    """One open watch."""

    __slots__ = (
        "_deliver",
        "_expired",
        "_hub",
        "_owner",
        "bookmarks",
        "course",
        "group",
        "minimum",
    )

    def __init__(
        self,
        hub: "Hub",
        group: Group,
        deliver: Deliver,
        expired: Ended,
        *,
        bookmarks: bool,
        minimum: int,
        owner: str,
    ) -> None:
        self._hub = hub
        self.group: Group | None = group  # None: the watch has ended
        self._deliver = deliver
        self._expired = expired
        self._owner = owner
        self.bookmarks = bookmarks
        self.minimum = minimum  # changes up to this revision are not delivered
        self.course: Course | None = None  # None: the initial state or history is delivered

    def bookmark(self) -> None:
        """Deliver a bookmark now, if the watch wants them and has received all changes up to its revision."""
        group, revision = self.group, self._hub.revision
        if group is not None and self.bookmarks and self._hub.is_told(group):
            self.mark((group.bookmark(revision),), revision)

    def mark(self, lines: Sequence[bytes], revision: int) -> None:
        """Deliver a bookmark, unless its revision is older than the one that the watch started after."""
        if self.course is None and self.minimum <= revision:
            self.tell(lines)

    def hear(self, frames: Sequence[Frame], lines: Sequence[bytes]) -> None:
        """Deliver the changes that the watch has not seen; `lines` are the lines of all `frames`."""
        course = self.course
        if course is not None:
            lines = tuple(frame.line for frame in frames if course.passes(frame))
        elif self.minimum >= frames[0].revision:
            lines = tuple(frame.line for frame in frames if frame.revision > self.minimum)
        if lines:
            self.tell(lines)

    def tell(self, lines: Sequence[bytes]) -> None:
        """Deliver lines. A failing deliverer must not delay the other watches, so its own watch ends."""
        if self.group is None:
            return
        try:
            self._deliver(lines)
        except Exception:
            log.exception("watch ended: its deliverer failed")
            self.close()

    def expire(self, error: APIError | None) -> None:
        """End the watch and pass `error` (None: its resource is no longer served) to its `expired` callback."""
        if self.group is not None:
            self.close()
            self._expired(error)

    def end(self) -> None:
        """End the watch because its row is no longer served."""
        self.expire(None)

    def fail(self) -> None:
        """End the watch with Expired because changes arrive faster than they can be delivered."""
        self.expire(Expired(f"too old resource version: {self.minimum} ({self._hub.revision})"))

    def close(self) -> None:
        """Leave the hub; nothing more is delivered. May be called twice."""
        if self.group is not None:
            self._hub.leave(self.group, self, self._owner)
            self.group = None


class Hub:
    """All watches of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._topics: dict[TopicKey, Topic] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._selectors = Budget(WATCH_SELECTORS_OF_CALLER, WATCH_SELECTORS)

    @property
    def revision(self) -> int:
        """The newest revision of the store."""
        return self._store.revision

    @property
    def watching(self) -> int:
        """The number of open watches."""
        return sum(
            len(group.members) for topic in self._topics.values() for group in topic.groups.values()
        )

    def is_told(self, group: Group) -> bool:
        """Return whether all published changes have been delivered to the watches of a group."""
        return self._topics[_topic_key(group.resource)].is_told

    def open(  # noqa: PLR0913 - what makes a group, and what makes a watch
        self,
        resource: Resource,
        namespace: str,
        selection: Selection,
        form: Form,
        deliver: Deliver,
        *,
        expired: Ended = lambda _: None,
        bookmarks: bool = False,
        minimum: int = 0,
        owner: str = "",
    ) -> Watch:
        """Add a watch for changes newer than `minimum`; nothing is delivered yet.

        Without an `owner` it is a watch of the process itself and gets each change in the call that makes it visible.

        Raises:
            TooManyRequests: The selectors of the owner's watches exceed their memory budget.
        """
        size_bytes = selection.size_bytes if owner else 0
        if size_bytes and not self._selectors.take(owner, size_bytes):
            raise TooManyRequests(
                "too many watches with long selectors, please try again later",
                retry_after_seconds=1,
            )
        key = (resource, namespace, selection.identity, form.name, bool(owner))
        topic = self._topic(resource)
        group = topic.groups.get(key)
        if group is None:
            group = Group(key, resource, selection, form, is_prompt=not owner)
            topic.add(group)
        watch = Watch(
            self, group, deliver, expired, bookmarks=bookmarks, minimum=minimum, owner=owner
        )
        group.members[watch] = None
        if bookmarks and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BOOKMARK_SECONDS, self._tick)
        return watch

    def then(self, watch: Watch, call: Callable[[], None]) -> None:
        """Call `call` once all changes published until now have been delivered to a watch."""
        if watch.group is not None:
            self._topics[_topic_key(watch.group.resource)].then(call)

    def leave(self, group: Group, watch: Watch, owner: str) -> None:
        """Remove a watch, and its group and topic if they are then empty."""
        del group.members[watch]
        if owner and group.selection.size_bytes:
            self._selectors.give(owner, group.selection.size_bytes)
        if group.members:
            return
        key = _topic_key(group.resource)
        topic = self._topics[key]
        topic.remove(group)
        if not topic.groups:
            topic.close()
            del self._topics[key]

    def end(self, rows: Collection[Resource]) -> None:
        """End the watches of the places of rows that are not served any more, after all that was published until now.

        A watch may have been opened on an earlier row of its place. Those of the process itself follow the table.
        """
        places = {row.place for row in rows}
        for topic in tuple(self._topics.values()):
            for group in tuple(topic.groups.values()):
                if group.resource.place in places and not group.is_prompt:
                    for watch in tuple(group.members):
                        topic.then(watch.end)

    def _topic(self, resource: Resource) -> Topic:
        key = _topic_key(resource)
        topic = self._topics.get(key)
        if topic is None:
            conversion = resource.conversion
            waiting = conversion if conversion is not None and conversion.waits else None
            topic = self._topics[key] = Topic(self._store, resource.prefix, waiting)
        return topic

    def close(self) -> None:
        """Stop the bookmarks and end the store subscriptions."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for topic in self._topics.values():
            topic.close()
        self._topics.clear()

    def _tick(self) -> None:
        self._timer = None
        wanted = False
        for topic in tuple(self._topics.values()):
            for group in tuple(topic.groups.values()):
                wanted |= self._bookmark(topic, group)
        if wanted:
            self._timer = asyncio.get_running_loop().call_later(BOOKMARK_SECONDS, self._tick)

    def _bookmark(self, topic: Topic, group: Group) -> bool:
        members = [watch for watch in group.members if watch.bookmarks]
        if members and topic.is_told:
            lines = (group.bookmark(self.revision),)
            for watch in members:
                watch.mark(lines, self.revision)
        return bool(members)
