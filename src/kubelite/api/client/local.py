"""The client inside the server process: calls the verbs directly, under an identity of its own.

Authorization and admission are the same as over HTTP. A mirror shows a write as soon as the write has returned.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from kubelite.api.auth.caller import Allowed, Attributes, Authorizer, Caller
from kubelite.api.client.decoding import typed
from kubelite.api.client.mirror import metadata_of
from kubelite.api.client.mirrors import Mirrors
from kubelite.api.client.pace import Pace
from kubelite.api.client.protocol import Mirror, PatchType
from kubelite.api.client.request_metrics import Counted
from kubelite.api.kinds.meta import PartialObjectMetadata
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.machinery.field_selectors import NAME, required_values
from kubelite.api.registry.options import DeletionOptions, ReadOptions, WriteOptions
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.routes import not_found
from kubelite.api.registry.verbs import Verbs

K = TypeVar("K", bound=Kind)

DECODED_AT_ONCE = 500  # objects decoded in one step, about 5 ms of the loop
_READ = ReadOptions()
_GET, _PUT, _PATCH, _DELETE = map(Counted, ("GET", "PUT", "PATCH", "DELETE"))
_POST = Counted("POST", 201)


class LocalClient:
    """Reads and writes objects as `caller`."""

    def __init__(
        self,
        verbs: Verbs,
        authorizer: Authorizer,
        caller: Caller,
        mirrors: Mirrors,
        *,
        field_manager: str = "kubelite",
        pace: Pace | None = None,
    ) -> None:
        """All clients of a process should share one `pace`."""
        self._verbs = verbs
        self._authorizer = authorizer
        self._caller = caller
        self._mirrors = mirrors
        self._manager = field_manager
        self._pace = pace or Pace()

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        """Return one object; raises NotFound."""
        with _GET:
            allowed = self._allow("get", kind, namespace, name)
            found = await self._verbs.get(allowed, _READ)
        return typed(kind, found)

    async def list(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[K]:
        """Return the objects of one or all namespaces."""
        options = ReadOptions(label_selector=label_selector, field_selector=field_selector)
        with _GET:
            allowed = self._allow(
                "list",
                kind,
                namespace,
                name=named(field_selector),
                field_selector=field_selector,
                label_selector=label_selector,
            )
            listed = await self._verbs.list(allowed, options)
        items: list[K] = []
        for start in range(0, len(listed.items), DECODED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            part = listed.items[start : start + DECODED_AT_ONCE]
            items += [typed(kind, item) for item in part]
        return items

    async def create(self, item: K) -> K:
        """Create an object; its metadata has the namespace and the name or `generateName`."""
        await self._pace.turn()
        kind = type(item)
        with _POST:
            allowed = self._allow("create", kind, metadata_of(item).namespace)
            written = await self._verbs.create(allowed, to_wire(item), self._options())
        return typed(kind, written.body)

    async def update(self, item: K, subresource: str = "") -> K:
        """Replace an object or subresource; raises Conflict if `metadata.resourceVersion` is set and not current."""
        await self._pace.turn()
        kind, metadata = type(item), metadata_of(item)
        with _PUT:
            allowed = self._allow("update", kind, metadata.namespace, metadata.name, subresource)
            written = await self._verbs.update(allowed, to_wire(item), self._options())
        return typed(kind, written.body)

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
        await self._pace.turn()
        options = self._options(force=force)
        with _PATCH:
            allowed = self._allow("patch", kind, namespace, name, subresource)
            written = await self._verbs.patch(allowed, patch_type, patch, options)
        return typed(kind, written.body)

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
        options = DeletionOptions(
            grace_seconds=grace_seconds,
            propagation=propagation,
            uid=uid,
            resource_version=resource_version,
        )
        await self._pace.turn()
        with _DELETE:
            await self._verbs.delete(self._allow("delete", kind, namespace, name), options)

    async def post(
        self,
        kind: type[Kind],
        name: str,
        subresource: str,
        body: Kind,
        namespace: str = "",
    ) -> dict[str, Any]:
        """Create a subresource (pods/binding, pods/eviction, serviceaccounts/token); return the answer as JSON."""
        await self._pace.turn()
        with _POST:
            allowed = self._allow("create", kind, namespace, name, subresource)
            written = await self._verbs.create(allowed, to_wire(body), self._options())
        answer: dict[str, Any] = msgspec.json.decode(written.body)
        return answer

    def mirror(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Mirror[K]:
        """Return the mirror of a kind; raises Forbidden if the caller may not list and watch it."""
        for verb in ("list", "watch"):
            self._allow(
                verb,
                kind,
                namespace,
                name=named(field_selector),
                field_selector=field_selector,
                label_selector=label_selector,
            )
        return self._mirrors.mirror(
            kind, namespace, label_selector=label_selector, field_selector=field_selector
        )

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object; return a call that ends it. Raises Forbidden."""
        self._allow("watch", kind, namespace, name, field_selector=f"{NAME}={name}")
        return self._mirrors.follow(kind, name, namespace, changed)

    def dynamic_mirror(
        self, group: str, version: str, resource: str
    ) -> Mirror[PartialObjectMetadata]:
        """Return a mirror of the metadata of any served resource; raises NotFound and Forbidden."""
        row = self._verbs.resources.find(group, version, resource)
        if row is None:
            raise not_found()
        for verb in ("list", "watch"):
            self._allow_row(verb, row)
        return self._mirrors.metadata(row)

    def _options(self, *, force: bool = False) -> WriteOptions:
        return WriteOptions(field_manager=self._manager, field_validation="Ignore", force=force)

    def _allow(
        self,
        verb: str,
        kind: type[Kind],
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        **selectors: str,
    ) -> Allowed:
        row = self._verbs.resources.by_kind(kind.gvk)
        if row is None:
            raise not_found()
        return self._allow_row(verb, row, namespace, name, subresource, **selectors)

    def _allow_row(
        self,
        verb: str,
        row: Resource,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        **selectors: str,
    ) -> Allowed:
        attributes = Attributes(
            verb=verb,
            group=row.group,
            version=row.version,
            resource=row.plural,
            subresource=subresource,
            namespace=namespace,
            name=name,
            **selectors,
        )
        return self._authorizer.authorize(self._caller, attributes)


def named(field_selector: str) -> str:
    """Return the name that a field selector requires, or ""; the right to that object allows its list and watch."""
    return required_values(field_selector).get(NAME, "")
