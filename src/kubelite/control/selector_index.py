"""An index of selectors: finds the objects that select given labels without evaluating every selector."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from kubelite.api.client.mirror import metadata_of, name_of
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.kinds.model import Kind
from kubelite.control.runtime import Key
from kubelite.control.selection import (
    Labels,
    Matcher,
    compiled,
    equality_matcher,
    is_small,
    matcher,
)

K = TypeVar("K", bound=Kind)


class SelectorIndex(Generic[K]):
    """Finds the objects of a kind that select given labels.

    `selector_of` returns an object's selector; a dict of labels requires all of them, None selects nothing. `changed`
    must be subscribed to the mirror of the kind. A selector is filed under one pair of label and value that it
    requires, or with those that require no pair.
    """

    def __init__(self, selector_of: Callable[[K], LabelSelector | Labels | None]) -> None:
        self._selector_of = selector_of
        self._matchers: dict[tuple[str, str, str], dict[Key, Callable[[], Matcher]]] = {}

    def changed(self, before: K | None, after: K | None) -> None:
        """Update the index for a change in the mirror of the kind."""
        if before is not None:
            term = self._term(before)
            known = self._matchers.get(term)
            if known is not None:
                known.pop(Key(*name_of(before)), None)
                if not known:
                    del self._matchers[term]
        selector = self._selector_of(after) if after is not None else None
        if after is not None and selector is not None:
            self._matchers.setdefault(self._term(after), {})[Key(*name_of(after))] = _kept(selector)

    def keys(self, namespace: str, labels: Labels) -> Iterator[Key | None]:
        """Yield the key of each object that selects the labels, and None for each step without a match."""
        for pair in (("", ""), *labels.items()):
            candidates = self._matchers.get((namespace, *pair))
            for key, kept in tuple(candidates.items()) if candidates else ():
                yield key if kept()(labels) else None
            yield None

    def _term(self, item: K) -> tuple[str, str, str]:
        selector = self._selector_of(item)
        namespace = metadata_of(item).namespace
        pairs = selector.matchLabels if isinstance(selector, LabelSelector) else selector
        if pairs:
            return (namespace, *next(iter(pairs.items())))
        if isinstance(selector, LabelSelector):
            for one in selector.matchExpressions:
                if one.operator == "In" and len(one.values) == 1:
                    return (namespace, one.key, one.values[0])
        return (namespace, "", "")


def _kept(selector: LabelSelector | Labels) -> Callable[[], Matcher]:
    """Return a getter of the match function; that of a large selector is compiled now and kept with the object."""
    if not isinstance(selector, LabelSelector):
        made = equality_matcher(selector)
        return lambda: made
    if is_small(selector):
        return lambda: matcher(selector)
    large = compiled(selector)
    return lambda: large
