"""The client protocol, the only access of components to the API.

`local` calls the verbs of the same process, `remote` a server over HTTPS. Both return typed objects, or dicts of any
served resource (`Client.resource`), and raise the same `kubelite.api.errors`. Each component has a client with its own
identity. A mirror of a local client shows a write as soon as the write has returned; a mirror of a remote client, or of
a version that a webhook converts, is eventually consistent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from msgspec import Struct

from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.object_metadata import ObjectMetadata

K = TypeVar("K", bound=Kind)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Object = dict[str, Any]  # an object in wire form
# Called on the loop with the object before (None: created) and after (None: deleted); must not block.
MirrorListener = Callable[[T | None, T | None], None]
Index = Callable[[T], Sequence[str]]
PatchType = Literal["merge", "strategic", "json", "apply"]
Propagation = Literal["", "Foreground", "Background", "Orphan"]


class Mirror(Protocol[T_co]):
    """A live copy of a resource's objects; reads make no request. The objects are shared, so do not change them.

    When the resource is no longer served, all objects are removed, and the mirror of a local client stays empty.
    """

    async def synced(self) -> None:
        """Wait until the first complete list has arrived."""
        ...

    def get(self, name: str, namespace: str = "") -> T_co | None:
        """Return one object as last seen; None if it does not exist."""
        ...

    def list(self, namespace: str = "") -> Sequence[T_co]:
        """Return all objects, or those of one namespace, ordered by namespace and name."""
        ...

    def add_index(self, index_name: str, index: Index[T_co]) -> None:
        """Maintain an index of the values that `index` returns for an object; an existing name keeps its index."""
        ...

    def indexed(self, index_name: str, value: str) -> Sequence[T_co]:
        """Return the objects whose index has `value`, ordered by namespace and name."""
        ...

    def subscribe(self, listener: MirrorListener[T_co]) -> Callable[[], None]:
        """Call `listener(None, object)` for each object now, then for each change; return a call that ends it."""
        ...

    def close(self) -> None:
        """Give the mirror back, once for each time that it was asked for; the last call ends it."""
        ...


class ServedResource(Struct, frozen=True):
    """A served resource, at the preferred version of its group."""

    group: str
    version: str
    resource: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = ()


class ServedResources(Protocol):
    """The resources served now; custom ones come and go with their definitions."""

    def resources(self) -> Sequence[ServedResource]:
        """Return each resource that can be listed, watched and deleted once, at its preferred version."""
        ...

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change; return a function that ends it."""
        ...


class ResourceClient(Protocol):
    """Reads and writes the objects of one resource as dicts in wire form, as client-go's dynamic client does.

    The namespace is "" for a resource outside of namespaces, and to list and watch all namespaces. All calls raise
    `kubelite.api.errors.APIError`; NotFound if the resource is not served.
    """

    async def get(
        self,
        name: str,
        namespace: str = "",
        *,
        subresource: str = "",
        parameters: Mapping[str, str] | None = None,
    ) -> Object:
        """Return one object, or its subresource (``scale``); raises NotFound.

        `parameters` are for the server of an aggregated group, as those of custom metrics; others ignore them.
        """
        ...

    async def list(
        self, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        """Return the objects of one or all namespaces."""
        ...

    async def create(self, item: Object, *, name: str = "", subresource: str = "") -> Object:
        """Create an object, or a subresource of the object `name`; the metadata has the namespace."""
        ...

    async def update(self, item: Object, *, subresource: str = "") -> Object:
        """Replace an object or subresource; raises Conflict if `metadata.resourceVersion` is set and not current."""
        ...

    async def patch(
        self,
        name: str,
        patch: Object | Sequence[Object],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> Object:
        """Patch an object or subresource; `force` lets an apply take fields of other managers."""
        ...

    async def delete(
        self,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = "",
    ) -> None:
        """Delete an object; `uid` and `resource_version` are preconditions that raise Conflict."""
        ...

    async def delete_collection(
        self,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = "",
    ) -> None:
        """Delete the selected objects of one namespace, or of a resource outside of namespaces."""
        ...

    def mirror(
        self, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Mirror[Object]:
        """Return the mirror of the resource's objects; the same arguments return the same mirror."""
        ...

    def metadata_mirror(self) -> Mirror[ObjectMetadata]:
        """Return the mirror of the metadata of all objects, without annotations and managed fields."""
        ...


class Client(Protocol):
    """Reads and writes objects under one identity. All calls raise `kubelite.api.errors.APIError`."""

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        """Return one object; raises NotFound."""
        ...

    async def list(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[K]:
        """Return the objects of one or all namespaces."""
        ...

    async def create(self, item: K) -> K:
        """Create an object; its metadata has the namespace and the name or `generateName`."""
        ...

    async def update(self, item: K, subresource: str = "") -> K:
        """Replace an object or subresource; raises Conflict if `metadata.resourceVersion` is set and not current."""
        ...

    async def patch(
        self,
        kind: type[K],
        name: str,
        patch: Object | Sequence[Object],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> K:
        """Patch an object or its subresource (``status``); `force` lets an apply take fields of other managers."""
        ...

    async def delete(
        self,
        kind: type[K],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = "",
    ) -> None:
        """Delete an object; `uid` and `resource_version` are preconditions that raise Conflict."""
        ...

    async def post(
        self,
        kind: type[Kind],
        name: str,
        subresource: str,
        body: Kind,
        namespace: str = "",
    ) -> Object:
        """Create a subresource (pods/binding, pods/eviction, serviceaccounts/token); return the answer as JSON."""
        ...

    def mirror(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Mirror[K]:
        """Return the mirror of a kind; the same arguments return the same mirror."""
        ...

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each create, update and delete of one object; return a call that ends it.

        It requires only the right to watch that name. `changed` runs on the loop and must not block; a remote client
        may call it once more than the object changed. A local client raises Forbidden.
        """
        ...

    def on_return(self, returned: Callable[[], None]) -> Callable[[], None]:
        """Call `returned` each time the server answers again after it did not; return a call that ends it.

        The server of a local client is always there.
        """
        ...

    def resource(self, group: str, version: str, plural: str) -> ResourceClient:
        """Return the client of any resource, whether its kind has a Python type or not; makes no request."""
        ...

    @property
    def served(self) -> ServedResources:
        """The resources that the server serves."""
        ...
