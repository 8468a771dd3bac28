"""Sets of completion indexes in the text form of a job's status: ``0-2,5,7,8``; runs of three or more use a dash.

A set is stored as its runs, since ``0-2147483647`` is a valid one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

DIGITS_MAX = 10  # of the largest index, 2³¹ - 1


class IndexSet:
    """An immutable set of whole numbers; memory and time are proportional to its runs, not its numbers."""

    __slots__ = ("_firsts", "_lasts", "_size")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        """`runs` are the first and last number of each run, in any order; they may touch and overlap."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(runs):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)
        pairs = zip(self._firsts, self._lasts, strict=True)
        self._size = sum(last - first + 1 for first, last in pairs)

    @classmethod
    def of(cls, indexes: Iterable[int]) -> "IndexSet":
        """Return the set that has these numbers."""
        return cls((index, index) for index in indexes)

    @property
    def runs(self) -> list[tuple[int, int]]:
        """The first and last number of each run, in order."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __contains__(self, index: int) -> bool:
        at = bisect_right(self._firsts, index) - 1
        return at >= 0 and index <= self._lasts[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IndexSet) and self.runs == other.runs

    def __hash__(self) -> int:
        return hash(tuple(self.runs))

    def __or__(self, other: "IndexSet") -> "IndexSet":
        return IndexSet([*self.runs, *other.runs])

    def __and__(self, other: "IndexSet") -> "IndexSet":
        both: list[tuple[int, int]] = []
        mine, theirs = self.runs, other.runs
        at = where = 0
        while at < len(mine) and where < len(theirs):
            first = max(mine[at][0], theirs[where][0])
            last = min(mine[at][1], theirs[where][1])
            if first <= last:
                both.append((first, last))
            if mine[at][1] < theirs[where][1]:
                at += 1
            else:
                where += 1
        return IndexSet(both)

    def missing(self, end: int) -> Iterator[int]:
        """Yield the numbers below `end` that are not in the set, in order."""
        start = 0
        for first, last in self.runs:
            yield from range(start, min(first, end))
            start = last + 1
        yield from range(start, end)

    def __str__(self) -> str:
        return ",".join(_run(first, last) for first, last in self.runs)

    def __repr__(self) -> str:
        return f"IndexSet({str(self)!r})"


def parse(text: str | None) -> IndexSet:
    """Parse a set; None is the empty set, and parts that are malformed are skipped."""
    return IndexSet(
        (int(first), int(last or first))
        for first, _, last in (part.partition("-") for part in (text or "").split(","))
        if is_index(first) and is_index(last or first) and int(first) <= int(last or first)
    )


def is_index(text: str) -> bool:
    """Return whether a text is a decimal number that may be an index."""
    return text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
