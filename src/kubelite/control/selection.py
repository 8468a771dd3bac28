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

SMALL = (
    16  # requirements, and values of each, up to which a selector is told from others by its text
)
MATCH_COST_BYTES = 6  # what the offload counts for one object asked: about two microseconds


def matcher(selector: LabelSelector | None) -> Matcher:
    """Return the test of labels; None matches nothing, an empty one everything.

    Raises BadRequest if a small one is wrong; a requirement of a large one that cannot be read is met by no label.
    """
    if selector is None:
        return NOTHING.matches
    if is_small(selector):
        return _compiled(msgspec.json.encode(selector, order="deterministic"))
    return _large(selector)


def equality_matcher(wanted: Labels) -> Matcher:
    """Compile the older form of selectors: all these labels."""
    pairs = wanted.items()
    return lambda labels: pairs <= labels.items()


async def selected(offload: Offload, items: Sequence[K], matches: Matcher) -> list[K]:
    """Return the items whose labels match, off the loop if there are many."""
    return await offload.run(
        len(items) * MATCH_COST_BYTES,
        lambda: [item for item in items if matches(metadata_of(item).labels)],
    )


def compiled(selector: LabelSelector) -> Matcher:
    """Return the test of a stored selector, whose keys and values were checked when it was written."""
    pairs = (Requirement(key, EQUALS, (value,)) for key, value in selector.matchLabels.items())
    requirements: list[LabelRequirement] = [*pairs, *selector.matchExpressions]
    return matcher_of(requirements)


def is_small(selector: LabelSelector) -> bool:
    """Return whether a selector is compiled as soon as it is looked up."""
    expressions = selector.matchExpressions
    return len(selector.matchLabels) + len(expressions) <= SMALL and all(
        len(one.values) <= SMALL for one in expressions
    )


@remembered(4096, length_max=2048)
def _compiled(encoded: bytes) -> Matcher:
    return label_selector(msgspec.json.decode(encoded, type=LabelSelector)).matches


class _LargeSelectors:
    """Matchers of large selectors, each known by the very object it was made of."""

    def __init__(self) -> None:
        # By identity; the selector is held so that no other object can take its identity.
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
