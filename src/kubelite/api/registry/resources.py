"""What is served: the shape of a resource, and the table that finds it.

Everything that depends on a kind (paths, discovery, storage, schema, behaviour) starts from a `Resource`. The rows of
the built-in kinds are in `builtin`; custom ones come and go at run time.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from kubelite.api.kinds.model import GroupVersionKind, Kind

if TYPE_CHECKING:
    from kubelite.api.machinery.schema import Schema
    from kubelite.api.registry.strategy import Strategy

READ = ("get", "list", "watch")
STANDARD = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class View(Protocol):
    """Converts between what is stored and one of several versions of it that are served.

    Both directions get a dict of their own and may change it.
    """

    def read(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Return the served form of a stored object."""
        ...

    def write(self, served: dict[str, Any]) -> dict[str, Any]:
        """Return the stored form of a served object."""
        ...


class Subresource(Struct, frozen=True):
    """A part of an object with a path of its own."""

    name: str
    verbs: tuple[str, ...]
    kind: GroupVersionKind  # what it answers with


class Resource(Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """One row of the table. Compared by identity."""

    group: str
    version: str
    plural: str
    singular: str
    kind: GroupVersionKind
    type: type[Kind] | None  # None: custom
    namespaced: bool
    verbs: tuple[str, ...] = STANDARD
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    storage: str = (
        ""  # "<plural>.<group>" the bytes are under; a view names that of the canonical resource
    )
    view: View | None = None
    custom_schema: "Schema | None" = None
    custom_strategy: "Strategy | None" = (
        None  # None: the one of `strategies.STRATEGIES`, or the generic one
    )
    deprecation: str = ""  # every answer about it warns so; "": it is not deprecated
    selectable_fields: tuple[str, ...] = ()  # of custom resources, as paths such as spec.color

    @property
    def group_resource(self) -> str:
        """How error messages name it: ``pods`` or ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return self.kind.api_version

    @cached_property
    def prefix(self) -> str:
        """What the keys of all its objects begin with."""
        return f"/{self.storage}/"

    @cached_property
    def revision_at(self) -> int:
        """Where in the stored bytes the resource version stands."""
        return len(self.head)

    @cached_property
    def head(self) -> bytes:
        """What the stored bytes of every object begin with, up to the resource version."""
        return (
            f'{{"kind":"{self.kind.kind}","apiVersion":"{self.api_version}",'
            '"metadata":{"resourceVersion":"'
        ).encode()

    @cached_property
    def has_status(self) -> bool:
        """Whether the status is written through a path of its own."""
        return any(one.name == "status" for one in self.subresources)

    @cached_property
    def schema(self) -> "Schema":
        """The schema tree of its objects, compiled when first asked for."""
        from kubelite.api.machinery.schema import compile_struct

        if self.custom_schema is not None:
            return self.custom_schema
        assert self.type is not None
        return compile_struct(self.type)

    @cached_property
    def strategy(self) -> "Strategy":
        """What is special about writing objects of this kind."""
        from kubelite.api.registry.strategies import strategy_of

        return self.custom_strategy or strategy_of(self)

    def key(self, namespace: str, name: str) -> str:
        """Return where an object is stored."""
        if self.namespaced:
            return f"/{self.storage}/{namespace}/{name}"
        return f"/{self.storage}/{name}"

    def scope(self, namespace: str) -> str:
        """Return what the keys of a namespace's objects begin with; of all, for an empty one."""
        if self.namespaced and namespace:
            return f"/{self.storage}/{namespace}/"
        return self.prefix

    def subresource(self, name: str) -> Subresource | None:
        """Return a subresource by name."""
        return next((one for one in self.subresources if one.name == name), None)


class ResourceTable:
    """All that is served now. `generation` grows, and listeners are told, when a row comes or goes."""

    def __init__(self, rows: Iterable[Resource] = ()) -> None:
        self.generation = 0
        self._rows: dict[tuple[str, str, str], Resource] = {}
        self._kinds: dict[GroupVersionKind, Resource] = {}
        self._storages: dict[str, Resource] = {}
        self._listeners: list[Callable[[], None]] = []
        for row in rows:
            self._put(row)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource of a path."""
        return self._rows.get((group, version, plural))

    def by_kind(self, kind: GroupVersionKind) -> Resource | None:
        """Return the resource whose objects have `kind`."""
        return self._kinds.get(kind)

    def by_storage(self, storage: str) -> Resource | None:
        """Return the canonical resource of a storage."""
        return self._storages.get(storage)

    def canonical(self, resource: Resource) -> Resource:
        """Return the row as whose kind a resource's objects are stored."""
        return resource if resource.view is None else self._storages[resource.storage]

    def all(self) -> tuple[Resource, ...]:
        """Return every row, in the order in which groups are announced."""
        return tuple(self._rows.values())

    def versions(self) -> tuple[tuple[str, str], ...]:
        """Return every (group, version), in the order in which they are announced."""
        return tuple(dict.fromkeys((row.group, row.version) for row in self._rows.values()))

    def add(self, row: Resource) -> None:
        """Serve a resource, instead of the one of the same name if there is one."""
        self._put(row)
        self._changed()

    def remove(self, row: Resource) -> None:
        """Serve a resource no longer."""
        self._rows.pop((row.group, row.version, row.plural), None)
        if self._kinds.get(row.kind) is row:
            del self._kinds[row.kind]
        self._changed()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change; return the call that ends it."""
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
