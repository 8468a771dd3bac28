"""Label selectors, compiled once and kept."""

from collections.abc import Callable, Mapping

import msgspec

from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.machinery.selectors import NOTHING, label_selector
from kubelite.remembered import remembered

Labels = Mapping[str, str]
Matcher = Callable[[Labels], bool]


def matcher(selector: LabelSelector | None) -> Matcher:
    """Return the test of labels; None matches nothing, an empty one everything. Raises BadRequest if it is wrong."""
    if selector is None:
        return NOTHING.matches
    return _compiled(msgspec.json.encode(selector, order="deterministic"))


def equality_matcher(wanted: Labels) -> Matcher:
    """Compile the older form of selectors: all these labels."""
    items = tuple(wanted.items())
    return lambda labels: all(labels.get(key) == value for key, value in items)


@remembered(4096, length_max=2048)
def _compiled(encoded: bytes) -> Matcher:
    return label_selector(msgspec.json.decode(encoded, type=LabelSelector)).matches
