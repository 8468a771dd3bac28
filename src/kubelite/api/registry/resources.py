"""The served resources: the row of a resource, and the table that finds it.

Everything that depends on a kind (paths, discovery, storage, schema, behaviour) starts from a `Resource`. The rows of
the built-in kinds are in `builtin`; rows of custom resources are added and removed at run time.
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
    """Converts between the storage version and one served version.

    Both directions get a dict of their own and may change it.
    """

    def read(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Convert a stored object to the served version."""
        ...

    def write(self, served: dict[str, Any]) -> dict[str, Any]:
        """Convert a served object to the storage version."""
        ...


class Subresource(Struct, frozen=True):
    """A subresource of an object, such as status or scale."""

    name: str
    verbs: tuple[str, ...]
    kind: GroupVersionKind  # of its answers


class Resource(Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """One row of the table: a resource in one version. Rows are compared by identity."""

    group: str
    version: str
    plural: str
    singular: str
    kind: GroupVersionKind
    type: type[Kind] | None  # None: a custom resource
    namespaced: bool
    verbs: tuple[str, ...] = STANDARD
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    storage: str = ""  # "<plural>.<group>", the first part of its keys; a view has that of the canonical resource
    view: View | None = None
    custom_schema: "Schema | None" = None
    custom_strategy: "Strategy | None" = (
        None  # None: the one of `strategies.STRATEGIES`, or the generic one
    )
    deprecation: str = ""  # warning in every answer about it; "": it is not deprecated
    selectable_fields: tuple[str, ...] = ()  # of custom resources, as paths such as spec.color

    @property
    def group_resource(self) -> str:
        """The name in error messages: ``pods`` or ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return self.kind.api_version

    @cached_property
    def prefix(self) -> str:
        """The prefix of the keys of all its objects."""
        return f"/{self.storage}/"

    @cached_property
    def revision_at(self) -> int:
        """The byte offset of the resource version in the stored bytes."""
        return len(self.head)

    @cached_property
    def head(self) -> bytes:
        """The first bytes of every stored object, up to the resource version."""
        return (
            f'{{"kind":"{self.kind.kind}","apiVersion":"{self.api_version}",'
            '"metadata":{"resourceVersion":"'
        ).encode()

    @cached_property
    def has_status(self) -> bool:
        """Whether the kind has a status subresource."""
        return any(one.name == "status" for one in self.subresources)

    @cached_property
    def schema(self) -> "Schema":
        """The schema tree of its objects, compiled on first use."""
        from kubelite.api.machinery.schema import compile_struct

        if self.custom_schema is not None:
            return self.custom_schema
        assert self.type is not None
        return compile_struct(self.type)

    @cached_property
    def strategy(self) -> "Strategy":
        """The write hooks of this kind."""
        from kubelite.api.registry.strategies import strategy_of

        return self.custom_strategy or strategy_of(self)

    def key(self, namespace: str, name: str) -> str:
        """Return the store key of an object."""
        if self.namespaced:
            return f"/{self.storage}/{namespace}/{name}"
        return f"/{self.storage}/{name}"

    def scope(self, namespace: str) -> str:
        """Return the key prefix of the objects in a namespace; "": of all objects."""
        if self.namespaced and namespace:
            return f"/{self.storage}/{namespace}/"
        return self.prefix

    def subresource(self, name: str) -> Subresource | None:
        """Return a subresource by name; None if the kind does not have it."""
        return next((one for one in self.subresources if one.name == name), None)


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
