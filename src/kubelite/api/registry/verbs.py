"""The verbs of the API over the store; everything is driven by the attributes that were authorized."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from msgspec import Struct

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import APIError
from kubelite.api.registry.options import DeletionOptions, ReadOptions, WatchOptions, WriteOptions
from kubelite.api.registry.resources import ResourceTable
from kubelite.api.registry.watch import Deliver, Form, Watching

PatchType = Literal["json", "merge", "strategic", "apply"]


class Written(Struct, frozen=True):
    """What a create, update or patch answers."""

    body: bytes
    created: bool = False
    warnings: tuple[str, ...] = ()


class Listed(Struct, frozen=True):
    """What a list answers, before it is put together."""

    items: Sequence[bytes]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


class Deleted(Struct, frozen=True):
    """What a delete answers: the object while it goes, or a Status once it is gone."""

    body: bytes
    finished: bool
    warnings: tuple[str, ...] = ()


class Verbs:
    """All verbs of all resources; each call raises `kubelite.api.errors.APIError`."""

    def __init__(self, resources: ResourceTable) -> None:
        self.resources = resources

    def get(self, allowed: Allowed, options: ReadOptions) -> bytes:
        """Return an object's (or subresource's) JSON as stored."""
        raise NotImplementedError

    def list(self, allowed: Allowed, options: ReadOptions) -> Listed:
        """Return the objects of a namespace, or of all; raises Expired and BadRequest."""
        raise NotImplementedError

    async def create(
        self, allowed: Allowed, body: dict[str, Any], options: WriteOptions
    ) -> Written:
        """Create an object, or post to a subresource (binding, eviction, token). Changes `body`."""
        raise NotImplementedError

    async def update(
        self, allowed: Allowed, body: dict[str, Any], options: WriteOptions
    ) -> Written:
        """Replace an object or one of its subresources. Changes `body`."""
        raise NotImplementedError

    async def patch(
        self, allowed: Allowed, patch_type: PatchType, patch: Any, options: WriteOptions
    ) -> Written:
        """Change part of an object or of a subresource; `apply` may create."""
        raise NotImplementedError

    async def delete(self, allowed: Allowed, options: DeletionOptions) -> Deleted:
        """Delete an object, or begin to where finalizers or a grace period ask for time."""
        raise NotImplementedError

    async def delete_collection(
        self, allowed: Allowed, selection: ReadOptions, options: DeletionOptions
    ) -> bytes:
        """Delete what `selection` selects; return the list of it."""
        raise NotImplementedError

    def watch(
        self,
        allowed: Allowed,
        options: WatchOptions,
        form: Form,
        deliver: Deliver,
        expired: Callable[[APIError], None],
    ) -> Watching:
        """Deliver changes from now on.

        What is there or has happened since `options.resource_version` is delivered before this returns. When
        the past asked for is no longer kept, `expired` gets the error (to be sent as an ERROR event) and
        nothing is delivered.
        """
        raise NotImplementedError
