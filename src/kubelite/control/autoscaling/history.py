"""What an autoscaler remembers: recommendations and changes of size, as long as a window may count them."""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

# What happens within these times is kept as one entry, so that no burst of changes makes the memory grow.
RECOMMENDATIONS_MERGED = timedelta(seconds=5)
CHANGES_MERGED = timedelta(seconds=1)
LONGEST_WINDOW = timedelta(hours=1)  # the greatest stabilizationWindowSeconds


class Recommendation(Struct, frozen=True):
    """The least and the most that was recommended from `since` until `at`."""

    since: datetime
    at: datetime
    least: int
    most: int


class Change(Struct, frozen=True):
    """By how many replicas the target was changed from `since` until `at`."""

    since: datetime
    at: datetime
    replicas: int


class History:
    """The memory of one autoscaler. It is lost with the process, as upstream."""

    def __init__(self, replicas: int, now: datetime) -> None:
        """`replicas` of the target when it was first seen count as a recommendation."""
        self.recommendations = [Recommendation(now, now, replicas, replicas)]
        self._added: list[Change] = []
        self._removed: list[Change] = []

    def least(self, window: timedelta, now: datetime, recommended: int) -> int:
        """Return the least of `recommended` and what was recommended within the window."""
        return min([recommended, *self._within(window, now, lambda one: one.least)])

    def most(self, window: timedelta, now: datetime, recommended: int) -> int:
        """Return the most of `recommended` and what was recommended within the window."""
        return max([recommended, *self._within(window, now, lambda one: one.most)])

    def _within(
        self, window: timedelta, now: datetime, of: Callable[[Recommendation], int]
    ) -> list[int]:
        cutoff = now - window
        return [of(one) for one in self.recommendations if one.at > cutoff]

    def recommend(self, replicas: int, now: datetime) -> None:
        """Remember a recommendation."""
        cutoff = now - LONGEST_WINDOW
        kept = [one for one in self.recommendations if one.at > cutoff]
        since, least, most = now, replicas, replicas
        if kept and kept[-1].since > now - RECOMMENDATIONS_MERGED:
            last = kept.pop()
            since, least, most = last.since, min(last.least, least), max(last.most, most)
        self.recommendations = [*kept, Recommendation(since, now, least, most)]

    def scaled(self, before: int, after: int, longest: timedelta, now: datetime) -> None:
        """Remember a change of size. Changes that are older than the `longest` period of all policies are forgotten."""
        changes = self._added if after > before else self._removed
        changes[:] = [one for one in changes if one.at > now - longest]
        since, replicas = now, abs(after - before)
        if changes and changes[-1].since > now - CHANGES_MERGED:
            last = changes.pop()
            since, replicas = last.since, replicas + last.replicas
        changes.append(Change(since, now, replicas))

    def start_of(self, period: timedelta, current: int, now: datetime) -> int:
        """Return the size at the start of the period that ends now."""
        cutoff = now - period
        added = sum(one.replicas for one in self._added if one.at > cutoff)
        removed = sum(one.replicas for one in self._removed if one.at > cutoff)
        return current - added + removed
