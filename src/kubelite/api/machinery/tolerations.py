"""Which taints a pod tolerates: a lookup by key and effect instead of a scan of all tolerations."""

from collections.abc import Iterable

from kubelite.api.kinds.core.scheduling import Toleration
from kubelite.api.machinery.numbers import integer

Taint = tuple[str, str, str]  # key, value, effect


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Return whether a toleration tolerates a taint; an absent key or effect matches all."""
    key, value, effect = taint
    if toleration.effect and toleration.effect != effect:
        return False
    if toleration.key and toleration.key != key:
        return False
    match toleration.operator:
        case "Exists":
            return True
        case "" | "Equal":
            return bool(toleration.key) and toleration.value == value
        case "Lt" | "Gt":
            return _compares(toleration.operator, toleration.value, value)
        case _:
            return False


def _compares(operator: str, bound: str, value: str) -> bool:
    number, limit = integer(value), integer(bound)
    if number is None or limit is None:
        return False
    return number < limit if operator == "Lt" else number > limit


class Tolerations:
    """The tolerations of a pod, deduplicated, by key and effect."""

    __slots__ = ("_by_place",)

    def __init__(self, tolerations: Iterable[Toleration]) -> None:
        # Tolerations with equal key and effect differ only in operator and value, so a dict deduplicates them.
        self._by_place: dict[tuple[str, str], dict[tuple[str, str], Toleration]] = {}
        for each in tolerations:
            there = self._by_place.setdefault((each.key, each.effect), {})
            operator = each.operator or "Equal"
            if operator in ("Lt", "Gt"):
                self._add_bound(there, each)
            else:
                there[operator, each.value if operator == "Equal" else ""] = each

    def cover(self, taint: Taint) -> bool:
        """Return whether any toleration tolerates the taint."""
        key, value, effect = taint
        for place in ((key, effect), (key, ""), ("", effect), ("", "")):
            there = self._by_place.get(place)
            if there is None:
                continue
            for kind in (("Exists", ""), ("Equal", value), ("Lt", ""), ("Gt", "")):
                each = there.get(kind)
                if each is not None and tolerates(each, taint):
                    return True
        return False

    @staticmethod
    def _add_bound(there: dict[tuple[str, str], Toleration], each: Toleration) -> None:
        """Keep the widest bound, since a taint beyond it is beyond all others."""
        known = there.get((each.operator, ""))
        if known is None or _compares(
            "Gt" if each.operator == "Lt" else "Lt", known.value, each.value
        ):
            there[each.operator, ""] = each
