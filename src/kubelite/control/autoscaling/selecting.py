"""Which autoscalers scale the pods with given labels, by the selectors of their targets."""

from collections.abc import Iterator, Mapping

from kubelite.api.machinery.selectors import EXACT, IN, Selector
from kubelite.control.runtime import Key

ANY = ("", "")  # files a selector that requires no pair of label and value
ONE_OF = (*EXACT, IN)  # operators by which a requirement may have one value


class Selecting:
    """Selectors by key, each filed under one pair of label and value that it requires."""

    def __init__(self) -> None:
        self._terms: dict[Key, tuple[str, str, str]] = {}
        self._filed: dict[tuple[str, str, str], dict[Key, Selector]] = {}

    def put(self, key: Key, selector: Selector) -> None:
        """Set the selector of an autoscaler's target."""
        self.drop(key)
        term = (key.namespace, *_term(selector))
        self._terms[key] = term
        self._filed.setdefault(term, {})[key] = selector

    def drop(self, key: Key) -> None:
        """Remove an autoscaler."""
        term = self._terms.pop(key, None)
        if term is None:
            return
        filed = self._filed[term]
        del filed[key]
        if not filed:
            del self._filed[term]

    def keys(self, namespace: str, labels: Mapping[str, str]) -> Iterator[Key | None]:
        """Yield the autoscalers of the pods with these labels, and None for each step without one."""
        if not self._terms:
            return
        for pair in (ANY, *labels.items()):
            for key, selector in tuple(self._filed.get((namespace, *pair), {}).items()):
                yield key if selector.matches(labels) else None
            yield None


def _term(selector: Selector) -> tuple[str, str]:
    for one in selector.requirements:
        if one.operator in ONE_OF and len(one.values) == 1:
            return one.key, one.values[0]
    return ANY
