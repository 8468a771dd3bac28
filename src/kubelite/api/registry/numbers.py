"""An allocator of whole numbers, for addresses and ports."""

from kubelite.randomness import Randomness


class Numbers:
    """An allocator over a range of integers.

    The `reserved` lowest numbers are for requests of a certain number; others get them only if the rest is full.
    """

    def __init__(
        self,
        first: int,
        count: int,
        reserved: int,
        randomness: Randomness,
        taken: set[int] | None = None,
    ) -> None:
        """`taken` is shared with ranges that may overlap this one; None: no range does."""
        self.first = first
        self.count = count
        self._reserved = reserved if reserved < count else 0
        self._randomness = randomness
        self._taken = set() if taken is None else taken

    def __contains__(self, number: int) -> bool:
        return self.first <= number < self.first + self.count

    @property
    def taken(self) -> int:
        """The count of allocated numbers."""
        return len(self._taken)

    def take(self, number: int) -> bool:
        """Allocate a number of the range; False: it is allocated already."""
        if number in self._taken:
            return False
        self._taken.add(number)
        return True

    def take_any(self) -> int | None:
        """Allocate a free number, from a random start; None: the range is full."""
        for low, high in ((self._reserved, self.count), (0, self._reserved)):
            span = high - low
            if not span:
                continue
            start = int(self._randomness.uniform(0, span))
            for step in range(span):
                number = self.first + low + (start + step) % span
                if self.take(number):
                    return number
        return None

    def give_back(self, number: int) -> None:
        """Release a number."""
        self._taken.discard(number)
