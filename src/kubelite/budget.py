"""Budgets of resources held for owners: a limit for each owner and one for all together."""

from kubelite.limits import Limit


class Budget:
    """Counts the amount held for each owner."""

    def __init__(self, each: Limit, total: Limit) -> None:
        """Both limits have the same unit."""
        self.each = each
        self.total = total
        self.held = 0
        self._held: dict[str, int] = {}

    def held_for(self, owner: str) -> int:
        """Return the amount held for `owner`; 0 for an unknown one."""
        return self._held.get(owner, 0)

    def exceeded(self, owner: str, amount: int) -> Limit | None:
        """Return the limit that `amount` more for an owner would exceed, or None."""
        if self.held_for(owner) + amount > self.each.value:
            return self.each
        return self.total if self.held + amount > self.total.value else None

    def take(self, owner: str, amount: int) -> bool:
        """Hold `amount` more for an owner, or nothing if that would exceed a limit; return whether it is held."""
        if (limit := self.exceeded(owner, amount)) is not None:
            limit.reached()
            return False
        self.held += amount
        self._held[owner] = self.held_for(owner) + amount
        return True

    def give(self, owner: str, amount: int) -> None:
        """Release `amount` of what `owner` holds. Releasing more than was taken is a bug."""
        self.held -= amount
        left = self._held[owner] - amount
        assert left >= 0, "given back more than was taken"
        if left:
            self._held[owner] = left
        else:
            del self._held[owner]
