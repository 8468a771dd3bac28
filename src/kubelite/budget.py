"""What is held on behalf of others: so much for each of them, so much in all."""

from kubelite.limits import Limit


class Budget:
    """Counts what is held for each owner."""

    def __init__(self, each: Limit, total: Limit) -> None:
        """Both limits have the same unit."""
        self.each = each
        self.total = total
        self.held = 0
        self._held: dict[str, int] = {}

    def held_for(self, owner: str) -> int:
        """Return what is held for one owner."""
        return self._held.get(owner, 0)

    def exceeded(self, owner: str, amount: int) -> Limit | None:
        """Return the limit that `amount` more for an owner would exceed."""
        if self.held_for(owner) + amount > self.each.value:
            return self.each
        return self.total if self.held + amount > self.total.value else None

    def take(self, owner: str, amount: int) -> bool:
        """Hold more for an owner, or nothing if that would exceed a limit."""
        if (limit := self.exceeded(owner, amount)) is not None:
            limit.reached()
            return False
        self.held += amount
        self._held[owner] = self.held_for(owner) + amount
        return True

    def give(self, owner: str, amount: int) -> None:
        """Hold less for an owner."""
        self.held -= amount
        left = self._held[owner] - amount
        assert left >= 0, "given back more than was taken"
        if left:
            self._held[owner] = left
        else:
            del self._held[owner]
