"""The row of a resource: all that depends on a kind.

Paths, discovery, storage, form, rules and behaviour start from a `Resource`. The rows of the built-in kinds are in
`builtin`; rows of custom resources are made from their definitions.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

from msgspec import Struct

from kubelite.api.errors import Cause
from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.machinery.columns.custom import CREATED_AT
from kubelite.api.machinery.columns.layout import Layout
from kubelite.api.machinery.field_selectors import ANY_KIND, Fields
from kubelite.api.machinery.openapi_custom import CustomType
from kubelite.api.machinery.schema import Schema
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.registry.answers import Written
from kubelite.api.registry.conversion import Conversion
from kubelite.api.registry.rules.sets import NO_RULES, NO_WARNINGS, Rules, Warnings
from kubelite.api.registry.strategy import Strategy

READ = ("get", "list", "watch")
STANDARD = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Projection(Protocol):
    """Another form in which a subresource shows a part of its object, such as a Scale."""

    @property
    def shape(self) -> Shape:
        """The shape of the form."""
        ...

    @property
    def layout(self) -> Layout:
        """The layout of its table."""
        ...

    def read(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return an object in this form; `item` is not changed. Raises NotFound if the object has no such part."""
        ...

    def write(self, item: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
        """Return `item`, which is changed, with the part as in `shown`; raises BadRequest and Invalid."""
        ...

    def causes(self, item: Mapping[str, Any], *, of_status: bool) -> Iterable[Cause]:
        """Return why the part is invalid; `of_status`: after a write of the status."""
        ...


# Handlers; `handlers` describes their arguments. The types of those start from a row, so the row cannot name them.
Post = Callable[..., Awaitable[Written]]
ListComputed = Callable[..., Awaitable[Sequence[dict[str, Any]]]]


class Subresource(Struct, frozen=True):
    """A subresource of an object, such as status or scale."""

    name: str
    verbs: tuple[str, ...]
    kind: GroupVersionKind  # of its answers
    post: Post | None = None  # answers its POST
    projection: Projection | None = None  # None: it is read and written in the form of the object


Place = tuple[str, str, str]  # group, version and plural

NO_SUBRESOURCES: Mapping[str, Subresource] = MappingProxyType({})


class Resource(Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """One row of the table: a resource in one version. Rows are compared by identity."""

    group: str
    version: str
    plural: str
    singular: str
    kind: GroupVersionKind
    list_kind: str = ""  # "": that of the kind with List appended
    type: type[Kind] | None  # None: a custom resource
    namespaced: bool
    verbs: tuple[str, ...] = STANDARD
    listed_verbs: tuple[str, ...] = ()  # by discovery; (): all that are served
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = NO_SUBRESOURCES
    storage: str  # "<plural>.<group>", the first part of its keys; all versions have the same
    shape: Shape
    rules: Rules = NO_RULES
    warnings: Warnings = NO_WARNINGS
    strategy: Strategy
    layout: Layout = CREATED_AT  # what `kubectl get` prints
    fields: Fields = ANY_KIND  # what a field selector may name
    stored_as: "Resource | None" = None  # the row of the stored version; None: this one
    conversion: Conversion | None = None  # from what is stored; None: that is what is served
    openapi: CustomType | None = None  # what OpenAPI says of a custom resource
    post: Post | None = None  # answers a POST that stores nothing
    computed: ListComputed | None = None  # lists what is not stored
    deprecation: str = ""  # warning in every answer about it; "": it is not deprecated

    @property
    def group_resource(self) -> str:
        """The name in error messages: ``pods`` or ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def kind_of_list(self) -> str:
        """The kind of the list of its objects."""
        return self.list_kind or f"{self.kind.kind}List"

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return self.kind.api_version

    @cached_property
    def place(self) -> Place:
        """The place in the table, where another row may succeed this one."""
        return self.group, self.version, self.plural

    @cached_property
    def prefix(self) -> str:
        """The prefix of the keys of all its objects."""
        return f"/{self.storage}/"

    @property
    def canonical(self) -> "Resource":
        """The row of the stored version."""
        return self.stored_as or self

    @property
    def is_canonical(self) -> bool:
        """Whether objects are stored in this version."""
        return self.stored_as is None

    @property
    def has_status(self) -> bool:
        """Whether the kind has a status subresource."""
        return "status" in self.subresources

    @property
    def schema(self) -> Schema:
        """The schema tree of its objects, compiled on first use."""
        return self.shape.schema

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
