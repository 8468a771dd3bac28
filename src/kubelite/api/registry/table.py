"""The table of the resources that are served now.

The rows of the built-in kinds are in `builtin`; rows of custom resources come and go at run time.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.registry.resource import Place, Resource


class TableChange(Struct, frozen=True):
    """What one replacement of rows changed."""

    added: Sequence[Resource]
    removed: Sequence[Resource]
    changed: Sequence[tuple[Resource, Resource]]  # the row before and after

    @property
    def ended(self) -> Sequence[Resource]:
        """The rows whose objects are no longer shown as they were."""
        return (
            *self.removed,
            *(one for one, after in self.changed if not _shows_alike(one, after)),
        )


Listener = Callable[[TableChange], None]


class ResourceTable:
    """The rows served now.

    The rows given at first stay. Others are replaced group by group, which increments `generation` and calls the
    listeners; a row of a resource that one of the first rows has is left out.
    """

    def __init__(self, rows: Iterable[Resource] = ()) -> None:
        self.generation = 0
        self._first = {row.place: row for row in rows}
        self._reserved = {(row.group, row.plural) for row in self._first.values()}
        self._groups: dict[str, dict[Place, Resource]] = {}
        self._rows: dict[Place, Resource] = {}
        self._kinds: dict[GroupVersionKind, Resource] = {}
        self._listeners: list[Listener] = []
        self._index()

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the row of a path; None if it is not served."""
        return self._rows.get((group, version, plural))

    def by_kind(self, kind: GroupVersionKind) -> Resource | None:
        """Return the row whose objects have `kind`; None if it is not served."""
        return self._kinds.get(kind)

    def of(self, type_: type[Kind]) -> Resource:
        """Return the row of a built-in kind."""
        return self._kinds[type_.gvk]

    def all(self) -> tuple[Resource, ...]:
        """Return every row: the first ones in the order of discovery, then the others in the order of their groups."""
        return tuple(self._rows.values())

    def versions(self) -> tuple[tuple[str, str], ...]:
        """Return every (group, version), in the order of `all`."""
        return tuple(dict.fromkeys((row.group, row.version) for row in self._rows.values()))

    def replace(self, group: str, rows: Iterable[Resource]) -> TableChange:
        """Replace the rows of a group, except for the first ones, and tell the listeners if that changes anything."""
        before = self._groups.get(group, {})
        # By plural, since all versions share a storage, and nobody may read built-in objects as custom ones.
        after = {row.place: row for row in rows if (row.group, row.plural) not in self._reserved}
        change = TableChange(
            [row for place, row in after.items() if place not in before],
            [row for place, row in before.items() if place not in after],
            [
                (old, after[place])
                for place, old in before.items()
                if place in after and after[place] is not old
            ],
        )
        if not (change.added or change.removed or change.changed):
            return change
        if after:
            self._groups[group] = after
        else:
            del self._groups[group]
        self._index()
        self.generation += 1
        for listener in tuple(self._listeners):
            listener(change)
        return change

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each change; return a call that ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _index(self) -> None:
        self._rows = dict(self._first)
        for _, rows in sorted(self._groups.items()):
            self._rows.update(rows)
        self._kinds = {}
        for row in self._rows.values():
            if "get" in row.verbs or row.kind not in self._kinds:
                self._kinds[row.kind] = row


def _shows_alike(before: Resource, after: Resource) -> bool:
    """Return whether two rows of a place differ in nothing but what may be written."""
    fields = set(Resource.__struct_fields__) - {"listed_verbs", "strategy", "stored_as"}
    return all(getattr(before, name) is getattr(after, name) for name in fields)
