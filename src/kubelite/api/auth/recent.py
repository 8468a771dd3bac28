"""Remembers the most recently used answers, up to a number and an age."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A bounded cache; the least recently used entry goes first.

    With `lifetime_seconds`, `time` (a monotonic time in seconds) must be given.
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

    def get(self, key: Key) -> Value | None:
        """Return what was put, unless it is too old or was pushed out."""
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
        """Remember an answer."""
        self._entries[key] = (self._time(), value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
