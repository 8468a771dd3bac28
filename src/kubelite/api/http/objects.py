"""Resource verbs over HTTP, except watch: query options and body in, encoded object out."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from msgspec import Struct

from kubelite.api.auth.audit import AuditRecord
from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import BadRequest
from kubelite.api.http import body as bodies
from kubelite.api.http.forms import Forms
from kubelite.api.http.negotiation import Media
from kubelite.api.http.query import deletion_options, list_options, read_options, write_options
from kubelite.api.http.request import Query
from kubelite.api.http.respond import Reply, object_reply
from kubelite.api.http.unsent import FREE_BYTES, Unsent
from kubelite.api.http.wire import Body
from kubelite.api.kinds.meta import DeleteOptions
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.columns.layout import Layout
from kubelite.api.machinery.json_reading import Reading
from kubelite.api.registry.bodies import other_version
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.verbs import PatchType, Verbs, Written
from kubelite.offload import Offload

DELETE_OPTIONS_KIND = DeleteOptions.gvk
STATUS_START = b'{"kind":"Status"'


class Call(Struct, frozen=True):
    """An authorized request for a resource, with the negotiated media type."""

    request: web.BaseRequest
    resource: Resource
    allowed: Allowed
    query: Query
    media: Media
    offload: Offload
    record: AuditRecord | None = None

    @property
    def user_agent(self) -> str:
        """The User-Agent header, "" if absent."""
        return self.request.headers.get("User-Agent", "")

    def cut(self) -> None:
        """Abort the connection of a client that does not read the answer."""
        if self.request.transport is not None:
            self.request.transport.abort()

    @property
    def layout(self) -> Layout:
        """The layout of the table that shows the resource or subresource."""
        served = self.resource.subresources.get(self.allowed.attributes.subresource)
        if served is None or served.projection is None:
            return self.resource.layout
        return served.projection.layout

    @property
    def kind(self) -> GroupVersionKind:
        """The kind of the body of a write to the resource or subresource."""
        subresource = self.allowed.attributes.subresource
        if subresource and (served := self.resource.subresources.get(subresource)) is not None:
            return served.kind
        return self.resource.kind


class Objects:
    """Serves every verb but watch."""

    def __init__(self, verbs: Verbs, forms: Forms, unsent: Unsent) -> None:
        self._verbs = verbs
        self._forms = forms
        self._unsent = unsent
        self._offload = verbs.offload
        self._write_handlers: dict[str, Callable[[Call], Awaitable[Reply]]] = {
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def read(self, call: Call) -> Reply:
        """Answer a get or a list; raises APIError."""
        if call.allowed.attributes.verb == "get":
            body = await self._verbs.get(call.allowed, read_options(call.query))
            return await self._charged(call, len(body), lambda: self._single(call, body))
        listed = await self._verbs.list(call.allowed, list_options(call.query))
        return await self._charged(
            call,
            listed.size_bytes,
            lambda: self._forms.list(call.resource, call.media, call.query, listed),
        )

    async def _charged(self, call: Call, size: int, answer: Callable[[], Awaitable[Body]]) -> Reply:
        """Build an answer once the unsent bytes of its user allow `size` more. The reply releases the charge.

        Raises TooManyRequests.
        """
        if size <= FREE_BYTES:
            return await object_reply(await answer(), call.media, self._offload)
        charge = self._unsent.charge(call.allowed.caller.user, call.cut)
        try:
            if not charge.change(size):
                await charge.wait(size)
            reply = await object_reply(await answer(), call.media, self._offload)
            if len(reply.content) < charge.held:
                charge.change(len(reply.content))
        except BaseException:
            charge.release()
            raise
        reply.charge = charge
        return reply

    async def write(self, call: Call) -> Reply:
        """Answer a write; raises APIError."""
        return await self._write_handlers[call.allowed.attributes.verb](call)

    async def _create(self, call: Call) -> Reply:
        decoded = await _decoded_body(call)
        options = write_options(
            call.query,
            "CreateOptions",
            user_agent=call.user_agent,
            body=decoded,
        )
        written = await self._verbs.create(call.allowed, decoded.value, options)
        return await self._written(call, written, created=True)

    async def _update(self, call: Call) -> Reply:
        decoded = await _decoded_body(call)
        options = write_options(
            call.query,
            "UpdateOptions",
            user_agent=call.user_agent,
            body=decoded,
        )
        written = await self._verbs.update(call.allowed, decoded.value, options)
        return await self._written(call, written, created=written.created)

    async def _patch(self, call: Call) -> Reply:
        patch_type = _patch_type(call)
        data = await bodies.read_body(call.request)
        decoded = await bodies.decode_patch(data, patch_type, call.offload)
        if call.record is not None:
            call.record.request(decoded.value)
        options = write_options(
            call.query,
            "PatchOptions",
            user_agent=call.user_agent,
            body=decoded,
            is_apply=patch_type == "apply",
        )
        written = await self._verbs.patch(call.allowed, patch_type, decoded.value, options)
        return await self._written(call, written, created=written.created)

    async def _delete(self, call: Call) -> Reply:
        options = deletion_options(call.query, await _delete_options(call))
        deleted = await self._verbs.delete(call.allowed, options)
        body = deleted.body
        if not body.startswith(STATUS_START):
            body = await self._single(call, body)
        return await object_reply(body, call.media, self._offload, warnings=deleted.warnings)

    async def _delete_collection(self, call: Call) -> Reply:
        options = deletion_options(call.query, await _delete_options(call))
        selection = list_options(call.query)
        deleted = await self._verbs.delete_collection(call.allowed, selection, options)
        return await object_reply(
            deleted.body, call.media, self._offload, warnings=deleted.warnings
        )

    async def _single(self, call: Call, body: bytes) -> bytes:
        return await self._forms.single(call.resource, call.media, call.query, body, call.layout)

    async def _written(self, call: Call, written: Written, *, created: bool) -> Reply:
        return await object_reply(
            await self._single(call, written.body),
            call.media,
            self._offload,
            status=201 if created else 200,
            warnings=written.warnings,
        )


def _patch_type(call: Call) -> PatchType:
    content_type = bodies.media_type(call.request.headers.get("Content-Type", ""))
    # Strategic merge needs merge keys, which custom resources do not have.
    accepted = {
        name: kind
        for name, kind in bodies.PATCH_TYPES.items()
        if kind != "strategic" or call.resource.type is not None
    }
    if (patch_type := accepted.get(content_type)) is None:
        raise bodies.unsupported(tuple(accepted))
    return patch_type


async def _decoded_body(call: Call) -> Reading:
    content_type = call.request.headers.get("Content-Type", "")
    bodies.check_media_type(content_type)
    data = await bodies.read_body(call.request)
    decoded = await bodies.decode(data, content_type, call.kind, call.offload)
    if call.record is not None:
        call.record.request(decoded.value)
    # No type stands for the absent version of a custom object; only components of this process may leave it out.
    is_custom = call.resource.type is None and call.kind == call.resource.kind
    if is_custom and decoded.value.get("kind") and not decoded.value.get("apiVersion"):
        raise other_version("", call.kind)
    return decoded


async def _delete_options(call: Call) -> dict[str, Any] | None:
    data = await bodies.read_body(call.request)
    if not data:
        return None
    content_type = call.request.headers.get("Content-Type", "")
    reading = await bodies.decode(data, content_type, DELETE_OPTIONS_KIND, call.offload)
    value: dict[str, Any] = reading.value
    if call.record is not None:
        call.record.request(value)
    kind = value.get("kind", "DeleteOptions")
    if kind != "DeleteOptions":
        raise BadRequest(f"expected a DeleteOptions in the body, not a {kind}")
    return value
