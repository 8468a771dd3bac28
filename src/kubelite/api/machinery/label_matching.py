"""Matches labels against many requirements at once, in time proportional to the smaller of the two.

Requirements on the same key are merged into one rule when a selector is compiled. So matching a selector of twenty
thousand requirements takes no longer than a walk through the labels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from kubelite.api.machinery.numbers import integer

Labels = Mapping[str, str]
# Spelt as in selector texts, and as in LabelSelectors and NodeSelectors.
EQUALITIES = frozenset({"=", "==", "in", "In"})
INEQUALITIES = frozenset({"!=", "notin", "NotIn"})
ABSENCES = frozenset({"!", "DoesNotExist"})
PRESENCES = frozenset({"exists", "Exists"})
ABOVE = frozenset({"gt", "Gt"})
BELOW = frozenset({"lt", "Lt"})


class LabelRequirement(Protocol):
    """One condition on one label: `selectors.Requirement` or a requirement of the API's selectors."""

    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def values(self) -> Sequence[str]: ...


def matcher_of(requirements: Iterable[LabelRequirement]) -> Callable[[Labels], bool]:
    """Return a function that returns whether labels meet every requirement; an absent label meets negations.

    No label meets an unknown operator, or a bound that is no number.
    """
    rules = _Rules()
    for each in requirements:
        rules.add(each.key, each.operator, each.values)
    return rules.matcher()


class _Rules:
    """The merged requirements, by key."""

    def __init__(self) -> None:
        self._present: set[str] = set()
        self._absent: set[str] = set()
        self._allowed: dict[str, frozenset[str]] = {}
        self._forbidden: dict[str, frozenset[str]] = {}
        self._above: dict[str, int] = {}
        self._below: dict[str, int] = {}

    def add(self, key: str, operator: str, values: Sequence[str]) -> None:
        """Add a requirement."""
        if operator in INEQUALITIES:
            known = self._forbidden.get(key)
            forbidden = frozenset(values)
            self._forbidden[key] = forbidden if known is None else known | forbidden
            return
        if operator in ABSENCES:
            self._absent.add(key)
            return
        self._present.add(key)
        if operator in EQUALITIES:
            known = self._allowed.get(key)
            allowed = frozenset(values)
            self._allowed[key] = allowed if known is None else known & allowed
        elif operator in ABOVE and (bound := _bound(values)) is not None:
            self._above[key] = max(bound, self._above.get(key, bound))
        elif operator in BELOW and (bound := _bound(values)) is not None:
            self._below[key] = min(bound, self._below.get(key, bound))
        elif operator not in PRESENCES:
            self._allowed[key] = frozenset()

    def matcher(self) -> Callable[[Labels], bool]:
        """Return the match function."""
        keys = {*self._present, *self._absent, *self._forbidden}
        more = self._absent or self._forbidden or self._above or self._below
        one_each = all(len(values) == 1 for values in self._allowed.values())
        if not more and one_each and len(self._allowed) == len(self._present):
            # Only equalities: by far the most frequent case.
            pairs = {key: value for key, (value,) in self._allowed.items()}.items()
            return lambda labels: pairs <= labels.items()
        present, wanted = self._present, len(self._present)
        admits = self._admits

        def matches(labels: Labels) -> bool:
            if wanted > len(labels):
                return False
            if len(keys) <= len(labels):
                for key in keys:
                    value = labels.get(key)
                    if key in present if value is None else not admits(key, value):
                        return False
                return True
            found = 0
            for key, value in labels.items():
                if key in keys:
                    if not admits(key, value):
                        return False
                    found += key in present
            return found == wanted

        return matches

    def _admits(self, key: str, value: str) -> bool:
        """Return whether a present label may have this value."""
        if key in self._absent or value in self._forbidden.get(key, ()):
            return False
        allowed = self._allowed.get(key)
        if allowed is not None and value not in allowed:
            return False
        above, below = self._above.get(key), self._below.get(key)
        if above is None and below is None:
            return True
        number = integer(value)
        if number is None:
            return False
        return (above is None or number > above) and (below is None or number < below)


def _bound(values: Sequence[str]) -> int | None:
    return integer(values[0]) if values else None
