"""The one door through which components see the API.

`local` goes straight into the verbs of the same process, `remote` over HTTPS; both answer typed objects and raise
the same `kubelite.api.errors`. Each component holds a client of its own identity. A mirror made by a local client
shows a write as soon as the write has returned; a remote one follows shortly after.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

from kubelite.api.kinds.meta import PartialObjectMetadata
from kubelite.api.kinds.model import Kind

K = TypeVar("K", bound=Kind)
K_co = TypeVar("K_co", bound=Kind, covariant=True)

# Called on the loop with the state before (None: new) and after (None: gone); must not block.
MirrorListener = Callable[[K | None, K | None], None]
Index = Callable[[K], Sequence[str]]
PatchType = Literal["merge", "strategic", "json", "apply"]


class Mirror(Protocol[K_co]):
    """A live, typed copy of a kind's objects; reading costs no request."""

    async def synced(self) -> None:
        """Wait until the first complete list has arrived."""
        ...

    def get(self, name: str, namespace: str = "") -> K_co | None:
        """Return one object as last seen."""
        ...

    def list(self, namespace: str = "") -> Sequence[K_co]:
        """Return all objects, or those of one namespace, ordered by namespace and name."""
        ...

    def add_index(self, index_name: str, index: Index[K_co]) -> None:
        """Keep an index, computed by `index` for each object; adding one of the same name again does nothing."""
        ...

    def indexed(self, index_name: str, value: str) -> Sequence[K_co]:
        """Return the objects whose index has `value`, ordered by namespace and name."""
        ...

    def subscribe(self, listener: MirrorListener[K_co]) -> Callable[[], None]:
        """Call `listener(None, object)` for all there is now, then for each change; return the call that ends it."""
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
        """Return the objects of a namespace, or of all."""
        ...

    async def create(self, item: K) -> K:
        """Create; `metadata.namespace` and `name` or `generateName` come from the object."""
        ...

    async def update(self, item: K, subresource: str = "") -> K:
        """Replace; `metadata.resourceVersion`, if set, must be current, else Conflict."""
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
        """Change part of an object or of its subresource (``status``)."""
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
        """Delete; `uid` and `resource_version` are preconditions."""
        ...

    async def post(
        self,
        kind: type[Kind],
        name: str,
        subresource: str,
        body: Kind,
        namespace: str = "",
    ) -> dict[str, Any]:
        """Send `body` to a subresource (pods/binding, pods/eviction, serviceaccounts/token); return the answer."""
        ...

    def mirror(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Mirror[K]:
        """Return the mirror of a kind, shared by all who ask this client for the same one."""
        ...

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object, also when it comes or goes; return the call that ends it.

        The right to watch the one name suffices. `changed` is called on the loop and must not block; over the network
        it may be called once more than the object changed. Raises Forbidden.
        """
        ...

    def dynamic_mirror(
        self, group: str, version: str, resource: str
    ) -> Mirror[PartialObjectMetadata]:
        """Return a mirror of the metadata of any served resource, for the garbage collector and quota."""
        ...
