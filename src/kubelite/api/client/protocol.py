"""The client protocol, the only access of components to the API.

`local` calls the verbs of the same process, `remote` a server over HTTPS. Both return typed objects and raise the same
`kubelite.api.errors`. Each component has a client with its own identity. A mirror of a local client shows a write as
soon as the write has returned; a mirror of a remote client is eventually consistent.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

from kubelite.api.kinds.meta import PartialObjectMetadata
from kubelite.api.kinds.model import Kind

K = TypeVar("K", bound=Kind)
K_co = TypeVar("K_co", bound=Kind, covariant=True)

# Called on the loop with the object before (None: created) and after (None: deleted); must not block.
MirrorListener = Callable[[K | None, K | None], None]
Index = Callable[[K], Sequence[str]]
PatchType = Literal["merge", "strategic", "json", "apply"]


class Mirror(Protocol[K_co]):
    """A live, typed copy of a kind's objects; reads make no request. The objects are shared, so do not change them."""

    async def synced(self) -> None:
        """Wait until the first complete list has arrived."""
        ...

    def get(self, name: str, namespace: str = "") -> K_co | None:
        """Return one object as last seen; None if it does not exist."""
        ...

    def list(self, namespace: str = "") -> Sequence[K_co]:
        """Return all objects, or those of one namespace, ordered by namespace and name."""
        ...

    def add_index(self, index_name: str, index: Index[K_co]) -> None:
        """Maintain an index of the values that `index` returns for an object; an existing name keeps its index."""
        ...

    def indexed(self, index_name: str, value: str) -> Sequence[K_co]:
        """Return the objects whose index has `value`, ordered by namespace and name."""
        ...

    def subscribe(self, listener: MirrorListener[K_co]) -> Callable[[], None]:
        """Call `listener(None, object)` for each object now, then for each change; return a call that ends it."""
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
        patch: dict[str, Any] | Sequence[dict[str, Any]],
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
        propagation: Literal["", "Foreground", "Background", "Orphan"] = "",
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
    ) -> dict[str, Any]:
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

    def dynamic_mirror(
        self, group: str, version: str, resource: str
    ) -> Mirror[PartialObjectMetadata]:
        """Return a mirror of the metadata of any served resource, for the garbage collector and quota."""
        ...
