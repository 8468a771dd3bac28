"""A least-recently-used cache, bounded in number and age."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A cache of at most `limit` entries that evicts the least recently used one.

    `lifetime_seconds` (0: unlimited) requires `time`, a monotonic time in seconds.
    """

    def __init__(
        self,
        limit: int,
        *,
        lifetime_seconds: float = 0,
        time: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._limit = limit
        self._lifetime_seconds = lifetime_seconds
        self._time = time
        self._entries: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def get(self, key: Key) -> Value | None:
        """Return the cached value; None if it is absent, evicted or too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        put_at, value = entry
        if self._lifetime_seconds and self._time() - put_at >= self._lifetime_seconds:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Cache a value, evicting the least recently used one beyond the limit."""
        self._entries[key] = (self._time(), value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()
