"""The table of the resources that are served now.

The rows of the built-in kinds are in `builtin`; rows of custom resources come and go at run time.
"""

from collections.abc import Callable, Iterable

from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.registry.resource import Resource


class ResourceTable:
    """The rows served now. Adding or removing a row increments `generation` and calls the listeners."""

    def __init__(self, rows: Iterable[Resource] = ()) -> None:
        self.generation = 0
        self._rows: dict[tuple[str, str, str], Resource] = {}
        self._kinds: dict[GroupVersionKind, Resource] = {}
        self._storages: dict[str, Resource] = {}
        self._listeners: list[Callable[[], None]] = []
        for row in rows:
            self._put(row)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the row of a path; None if it is not served."""
        return self._rows.get((group, version, plural))

    def by_kind(self, kind: GroupVersionKind) -> Resource | None:
        """Return the row whose objects have `kind`; None if it is not served."""
        return self._kinds.get(kind)

    def of(self, type_: type[Kind]) -> Resource:
        """Return the row of a built-in kind."""
        return self._kinds[type_.gvk]

    def by_storage(self, storage: str) -> Resource | None:
        """Return the row of the storage version of a storage; None if it is not served."""
        return self._storages.get(storage)

    def canonical(self, resource: Resource) -> Resource:
        """Return the row of the storage version."""
        return resource if resource.view is None else self._storages[resource.storage]

    def all(self) -> tuple[Resource, ...]:
        """Return every row, in the order of discovery."""
        return tuple(self._rows.values())

    def versions(self) -> tuple[tuple[str, str], ...]:
        """Return every (group, version), in the order of discovery."""
        return tuple(dict.fromkeys((row.group, row.version) for row in self._rows.values()))

    def add(self, row: Resource) -> None:
        """Add a row, or replace the row of the same group, version and plural."""
        self._put(row)
        self._changed()

    def remove(self, row: Resource) -> None:
        """Remove a row."""
        self._rows.pop((row.group, row.version, row.plural), None)
        if self._kinds.get(row.kind) is row:
            del self._kinds[row.kind]
        self._changed()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change; return a call that ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _put(self, row: Resource) -> None:
        assert row.storage, f"{row.plural} needs a storage"
        self._rows[row.group, row.version, row.plural] = row
        if row.view is None:
            self._storages[row.storage] = row
        if "get" in row.verbs or row.kind not in self._kinds:
            self._kinds[row.kind] = row

    def _changed(self) -> None:
        self.generation += 1
        for listener in tuple(self._listeners):
            listener()
