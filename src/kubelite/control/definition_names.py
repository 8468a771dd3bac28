"""Which names a custom resource may have: within a group, the first definition that asked for a name keeps it.

Source: apiextensions-apiserver's naming controller. Plural, singular and short names share one space, kind and list
kind another. A definition's own accepted names count as in use too.
"""

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.kinds.apiextensions import CustomResourceDefinitionNames
from kubelite.api.machinery.causes import cut, quoted

NONE = CustomResourceDefinitionNames()


class Decision(Struct, frozen=True):
    """The names that a definition has from now on, and why it has not all that it asked for ("": it has)."""

    accepted: CustomResourceDefinitionNames
    reason: str = ""
    message: str = ""


class NamesInUse:
    """The accepted names of a group's definitions."""

    def __init__(self, accepted: Iterable[CustomResourceDefinitionNames] = ()) -> None:
        self._resources: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        for names in accepted:
            self.change(NONE, names)

    def change(
        self, before: CustomResourceDefinitionNames, after: CustomResourceDefinitionNames
    ) -> None:
        """Replace the names of one definition."""
        for names, sign in ((before, -1), (after, 1)):
            for name in (names.plural, names.singular, *names.shortNames):
                self._resources[name] += sign
            for name in (names.kind, names.listKind):
                self._kinds[name] += sign

    def has_resource(self, name: str) -> bool:
        """Return whether a plural, singular or short name is in use."""
        return bool(name) and self._resources[name] > 0

    def has_kind(self, name: str) -> bool:
        """Return whether a kind or list kind is in use."""
        return bool(name) and self._kinds[name] > 0


def decide_names(
    wanted: CustomResourceDefinitionNames,
    accepted: CustomResourceDefinitionNames,
    in_use: NamesInUse,
) -> Decision:
    """Decide which wanted names a definition gets; of several conflicts the last one is told, as in Kubernetes."""
    names, reason, message = replace(accepted, categories=wanted.categories), "", ""
    for field, conflict, is_used in (
        ("plural", "PluralConflict", in_use.has_resource),
        ("singular", "SingularConflict", in_use.has_resource),
        ("shortNames", "ShortNamesConflict", in_use.has_resource),
        ("kind", "KindConflict", in_use.has_kind),
        ("listKind", "ListKindConflict", in_use.has_kind),
    ):
        value, own = getattr(wanted, field), getattr(accepted, field)
        asked = value if isinstance(value, list) else [value]
        known = frozenset(own if isinstance(own, list) else (own,))
        used = [
            f"{quoted(name)} is already in use"
            for name in asked
            if name not in known and is_used(name)
        ]
        if used:
            reason = conflict
            distinct = list(dict.fromkeys(used))
            message = cut(distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]")
        else:
            names = replace(names, **{field: value})
    return Decision(names, reason, message)
