"""Label selectors, compiled once to a function of labels."""

from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec

from kubelite.api.kinds.meta import LabelSelector

Labels = Mapping[str, str]
Matcher = Callable[[Labels], bool]


def nothing(_labels: Labels) -> bool:
    """Match no object: what an absent selector does."""
    return False


def matcher(selector: LabelSelector | None) -> Matcher:
    """Compile a selector; None matches nothing, an empty one everything. Raises ValueError for an unknown operator."""
    if selector is None:
        return nothing
    return _compiled(msgspec.json.encode(selector, order="deterministic"))


def equality_matcher(wanted: Mapping[str, str]) -> Matcher:
    """Compile the older form of selectors: all these labels."""
    items = tuple(wanted.items())
    return lambda labels: all(labels.get(key) == value for key, value in items)


@lru_cache(maxsize=4096)
def _compiled(encoded: bytes) -> Matcher:
    selector = msgspec.json.decode(encoded, type=LabelSelector)
    tests: list[Matcher] = []
    if selector.matchLabels:
        tests.append(equality_matcher(selector.matchLabels))
    tests += (
        _requirement(one.key, one.operator, frozenset(one.values))
        for one in selector.matchExpressions
    )
    if len(tests) == 1:
        return tests[0]
    return lambda labels: all(test(labels) for test in tests)


def _requirement(key: str, operator: str, values: frozenset[str]) -> Matcher:
    match operator:
        case "In":
            return lambda labels: labels.get(key) in values
        case "NotIn":
            return lambda labels: labels.get(key) not in values
        case "Exists":
            return lambda labels: key in labels
        case "DoesNotExist":
            return lambda labels: key not in labels
        case _:
            raise ValueError(f'"{operator}" is not a valid label selector operator')
