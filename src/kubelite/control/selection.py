"""Label selectors of stored objects, compiled once and kept."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from kubelite.api.client.mirror import metadata_of
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.kinds.model import Kind
from kubelite.api.machinery.label_matching import LabelRequirement, matcher_of
from kubelite.api.machinery.selectors import EQUALS, NOTHING, Requirement, label_selector
from kubelite.limits import COMPILED_SELECTORS
from kubelite.offload import Offload
from kubelite.remembered import remembered

K = TypeVar("K", bound=Kind)
Labels = Mapping[str, str]
Matcher = Callable[[Labels], bool]

SMALL = 16  # requirements, and values of each, up to which a selector is cached by its text
MATCH_COST_BYTES = 6  # cost of matching one object, for the offload: about two microseconds


def matcher(selector: LabelSelector | None) -> Matcher:
    """Return the selector's match function; None matches nothing, an empty selector everything.

    Raises BadRequest if a small selector is invalid. In a large one an invalid requirement matches no labels.
    """
    if selector is None:
        return NOTHING.matches
    if is_small(selector):
        return _compiled(msgspec.json.encode(selector, order="deterministic"))
    return _large(selector)


def equality_matcher(wanted: Labels) -> Matcher:
    """Return the match function of an equality selector: all these labels."""
    pairs = wanted.items()
    return lambda labels: pairs <= labels.items()


async def selected(offload: Offload, items: Sequence[K], matches: Matcher) -> list[K]:
    """Return the items whose labels match; evaluated off the loop if there are many."""
    return await offload.run(
        len(items) * MATCH_COST_BYTES,
        lambda: [item for item in items if matches(metadata_of(item).labels)],
    )


def compiled(selector: LabelSelector) -> Matcher:
    """Return the match function of a stored selector, whose keys and values were validated when it was written."""
    pairs = (Requirement(key, EQUALS, (value,)) for key, value in selector.matchLabels.items())
    requirements: list[LabelRequirement] = [*pairs, *selector.matchExpressions]
    return matcher_of(requirements)


def is_small(selector: LabelSelector) -> bool:
    """Return whether a selector is small: it is compiled at its first lookup and cached by its text."""
    expressions = selector.matchExpressions
    return len(selector.matchLabels) + len(expressions) <= SMALL and all(
        len(one.values) <= SMALL for one in expressions
    )


@remembered(4096, length_max=2048)
def _compiled(encoded: bytes) -> Matcher:
    return label_selector(msgspec.json.decode(encoded, type=LabelSelector)).matches


class _LargeSelectors:
    """Match functions of large selectors, cached by the identity of the selector."""

    def __init__(self) -> None:
        # By `id`. The selector is referenced, so that no other object can get its id.
        self._known: OrderedDict[int, tuple[LabelSelector, Matcher, int]] = OrderedDict()
        self._weight = 0

    def __call__(self, selector: LabelSelector) -> Matcher:
        known = self._known.get(id(selector))
        if known is not None:
            self._known.move_to_end(id(selector))
            return known[1]
        made = compiled(selector)
        weight = len(selector.matchLabels) + sum(
            1 + len(one.values) for one in selector.matchExpressions
        )
        self._known[id(selector)] = selector, made, weight
        self._weight += weight
        while self._weight > COMPILED_SELECTORS.value and len(self._known) > 1:
            COMPILED_SELECTORS.reached()
            self._weight -= self._known.popitem(last=False)[1][2]
        return made


_large = _LargeSelectors()
