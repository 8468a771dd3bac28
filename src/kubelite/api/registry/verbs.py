"""The API verbs over the store; the authorized attributes decide which object a call reads or writes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from kubelite.api.auth.caller import Allowed, Authorizer, MayCreate
from kubelite.api.auth.reviews import Reviews
from kubelite.api.errors import (
    APIError,
    BadRequest,
    PlainError,
    UnsupportedMediaType,
)
from kubelite.api.kinds.autoscaling_v1 import Scale
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery import causes
from kubelite.api.machinery.apply import apply, check_config, type_named
from kubelite.api.machinery.mismatch import value_name
from kubelite.api.machinery.patch import json_patch, merge_patch, not_decodable, not_mergeable
from kubelite.api.machinery.schema import Schema
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.machinery.strategic import go_map, strategic_merge
from kubelite.api.machinery.work_cost import patch_cost
from kubelite.api.registry.answers import Deleted, Listed, Written
from kubelite.api.registry.beginning import Beginning
from kubelite.api.registry.bodies import (
    check_kind,
    check_type,
    findings,
    metadata_of,
    shape,
)
from kubelite.api.registry.deleting import Deleter
from kubelite.api.registry.handlers import Issue, Probe, Services, UsageMetrics
from kubelite.api.registry.hub import Hub
from kubelite.api.registry.objects import decode, encode
from kubelite.api.registry.options import DeletionOptions, ReadOptions, WatchOptions, WriteOptions
from kubelite.api.registry.posted import admit_connection
from kubelite.api.registry.reading import NOT_OLDER, Reader, parse_revision, too_large
from kubelite.api.registry.resource import Projection, Resource
from kubelite.api.registry.routes import check_scope, check_verb, not_found, object_not_found
from kubelite.api.registry.table import ResourceTable
from kubelite.api.registry.target import Target
from kubelite.api.registry.watch import Deliver, Ended, Form, Watching
from kubelite.api.registry.writing import JSON, Decode, Writer, manager
from kubelite.tasks import in_slices

__all__ = ["Deleted", "Listed", "PatchType", "Verbs", "Written"]

NAMELESS = "-"  # owner of the watches of a caller without a user name
PatchType = Literal["json", "merge", "strategic", "apply"]


class Verbs:
    """All verbs of all resources; each call raises `kubelite.api.errors.APIError`."""

    def __init__(
        self,
        writer: Writer,
        resources: ResourceTable,
        hub: Hub,
        *,
        authorizer: Authorizer,
        issue: Issue | None = None,
        reviews: Reviews | None = None,
        probes: Mapping[str, Probe] | None = None,
        metrics: Callable[[], UsageMetrics] | None = None,
    ) -> None:
        """`authorizer` decides whether an update or apply of an absent object may create it.

        `issue` makes the tokens of service accounts, `reviews` answers the review resources, and `probes` tell the
        health of the components by name. `metrics` measures for metrics.k8s.io, if that is served.
        """
        self.resources = resources
        self.hub = hub
        self.writer = writer
        self.offload = writer.offload
        self.deleter = Deleter(writer)
        self._authorizer = authorizer
        self._services = Services(
            writer, self.deleter, resources, issue, reviews, probes or {}, metrics
        )
        self._reader = Reader(writer.store, self.offload)

    async def get(self, allowed: Allowed, options: ReadOptions) -> bytes:
        """Return the JSON of an object, or of its scale, in the path's version; raises NotFound and Timeout."""
        target = self.target(allowed, "get")
        if (computed := target.resource.computed) is not None:
            return find_computed(target, await computed(self._services, target.namespace))
        value = await self._reader.get(target.resource, target.namespace, target.name, options)
        projection = target.projection
        return value if projection is None else encode(projection.read(decode.decode(value)))

    async def list(self, allowed: Allowed, options: ReadOptions) -> Listed:
        """Return the objects of one or all namespaces; raises Expired, BadRequest, Invalid and Timeout."""
        target = self.target(allowed, "list")
        if (computed := target.resource.computed) is not None:
            selection = await self._reader.selection(target.resource, options)
            items = await computed(self._services, target.namespace or selection.namespace)
            selected: list[bytes] = []
            async for some in in_slices(items):
                selected += [encode(item) for item in some if selection.selects_item(item)]
            return Listed(selected, "")
        return await self._reader.list(target.resource, target.namespace, options)

    async def create(
        self, allowed: Allowed, body: dict[str, Any], options: WriteOptions
    ) -> Written:
        """Create an object, or post to a subresource (binding, eviction, token). Changes `body`."""
        target = self.target(allowed, "create")
        if (post := target.post) is not None:
            return await post(self._services, target, body, options)
        return await self.writer.create(target, MayCreate(allowed), body, options)

    async def update(
        self, allowed: Allowed, body: dict[str, Any], options: WriteOptions
    ) -> Written:
        """Replace an object or one of its subresources. Changes `body`."""
        target = self.target(allowed, "update")
        if (projection := target.projection) is not None:
            return await self._update_projected(target, projection, body, options)
        metadata_of(body, target.resource.kind, custom=target.resource.type is None)
        check_type(target.resource, body)
        form, view = target.resource.shape, target.view
        warnings, original = await self.offload.run(
            form.cost(options.body_bytes), lambda: (shape(form, body, options), encode(body))
        )

        def revise(read: Decode | None) -> JSON:
            item: JSON = decode.decode(original)
            return item if view is None or read is None else view.write(item)

        creates = target.working.strategy.conduct.created_by_update and not target.subresource
        may_create = self._creation_right(target) if creates else None
        return await self.writer.update(
            target, revise, options, may_create=may_create, warnings=warnings
        )

    def _creation_right(self, target: Target) -> Callable[[], MayCreate]:
        """Return a call that authorizes the creation of the target's object; it raises Forbidden."""
        allowed = target.allowed
        attributes = replace(allowed.attributes, verb="create")
        return lambda: MayCreate(self._authorizer.authorize(allowed.caller, attributes))

    async def _update_projected(
        self, target: Target, projection: Projection, body: dict[str, Any], options: WriteOptions
    ) -> Written:
        schema = projection.shape.schema
        assert schema.gvk is not None
        check_kind(schema.gvk, body)
        warnings = shape(projection.shape, body, options)

        def revise(read: Decode | None) -> JSON:
            assert read is not None
            return projection.write(read(), body)

        written = await self.writer.update(target, revise, options, warnings=warnings)
        return projected(projection, written)

    async def patch(
        self, allowed: Allowed, patch_type: PatchType, patch: Any, options: WriteOptions
    ) -> Written:
        """Patch an object or one of its subresources; an apply creates an absent object."""
        target = self.target(allowed, "patch")
        if (projection := target.projection) is not None:
            return await self._patch_projected(target, projection, patch_type, patch, options)
        if patch_type == "apply":
            return await self._apply(target, patch, options)
        form, view = target.resource.shape, target.view
        original = encode(patch)
        warnings: list[str] = []

        def revise(read: Decode | None) -> JSON:
            assert read is not None
            served = read() if view is None else view.read(read())
            item = patched(target.resource, served, patch_type, original)
            with decoding(patch, patch_type):
                check_type(target.resource, item)
                warnings[:] = shape(form, item, options, patched=True)
            return item if view is None else view.write(item)

        with warned(warnings):
            written = await self.writer.update(
                target, revise, options, cost=_revision_cost(form, patch_type, patch, options)
            )
        return Written(written.body, written.created, (*warnings, *written.warnings))

    async def _apply(self, target: Target, config: Any, options: WriteOptions) -> Written:
        """Apply a configuration: create the object, or own and set the fields that it names."""
        resource, view = target.resource, target.view
        if not options.field_manager:
            raise causes.invalid_object(
                "PatchOptions",
                "meta.k8s.io",
                "",
                [causes.required("fieldManager", "is required for apply patch")],
            )
        if not isinstance(config, dict):
            raise BadRequest(
                "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot "
                f"unmarshal {value_name(config)} into Go value of type map[string]interface {{}}"
            )
        check_applied_type(resource.kind, config)

        def written_down() -> tuple[tuple[str, ...], bytes]:
            return findings(resource.schema, (), options, patched=True), encode(config)

        warnings, original = await self.offload.run(
            resource.shape.cost(options.body_bytes), written_down
        )

        def revise(read: Decode | None) -> JSON:
            old = None if read is None else read()
            live = old if view is None or old is None else view.read(old)
            writer = manager(target, options, self.writer.context(target, dry_run=False))
            item = apply(
                resource.schema, live, decode.decode(original), writer, force=options.force
            )
            shape(resource.shape, item, options)
            return item if view is None or old is None else view.write(item)

        may_create = None if target.subresource else self._creation_right(target)
        with warned(warnings):
            written = await self.writer.update(
                target,
                revise,
                options,
                cost=_revision_cost(resource.shape, "apply", config, options),
                may_create=may_create,
                applied=True,
            )
        return Written(written.body, written.created, (*warnings, *written.warnings))

    async def _patch_projected(
        self,
        target: Target,
        projection: Projection,
        patch_type: PatchType,
        patch: Any,
        options: WriteOptions,
    ) -> Written:
        form = projection.shape
        if patch_type == "apply":
            assert form.schema.gvk is not None
            check_applied_type(form.schema.gvk, patch)
            check_config(form.schema, patch)
        original = encode(patch)

        def revise(read: Decode | None) -> JSON:
            assert read is not None
            old = read()
            if patch_type == "apply" and target.resource.type is None:
                raise _unappliable(target)
            shown = apply_patch(form.schema, projection.read(old), patch_type, original)
            with decoding(patch, patch_type):
                shape(form, shown, options, patched=True)
            return projection.write(old, shown)

        return projected(projection, await self.writer.update(target, revise, options))

    async def delete(self, allowed: Allowed, options: DeletionOptions) -> Deleted:
        """Delete an object, or mark it as deleted if finalizers or a grace period delay its removal."""
        return await self.deleter.delete(self.target(allowed, "delete"), options)

    async def connect(
        self, allowed: Allowed, resource: Resource, options: dict[str, Any], form: Shape
    ) -> None:
        """Have admission judge a connection, such as an exec, before it is opened; it may change the options.

        `options` are an object of its kind. Raises what admission rejects with.
        """
        target = Target(allowed, resource, resource.canonical)
        await admit_connection(self.writer.admission, target, options, form)

    async def delete_collection(
        self, allowed: Allowed, selection: ReadOptions, options: DeletionOptions
    ) -> Deleted:
        """Delete the objects that `selection` selects; return the list of them."""
        target = self.target(allowed, "deletecollection")
        return await self.deleter.delete_collection(target, selection, options)

    async def watch(
        self,
        allowed: Allowed,
        options: WatchOptions,
        form: Form,
        deliver: Deliver,
        ended: Ended,
    ) -> Watching:
        """Open a watch for changes from now on; `Watching.begin` delivers the present state or the history.

        The watch ends if the requested history is compacted, or if changes arrive faster than they can be delivered.
        `ended` then gets the error, to be sent as an ERROR event; it gets None when the resource is no longer served.
        Raises BadRequest, Invalid, Timeout and TooManyRequests.
        """
        target = self.target(allowed, "watch")
        check_watch_options(options)
        resource = target.resource
        selection = await self._reader.selection(resource, options)
        if target.name:
            selection = selection.named(target.name)
        after = parse_revision(options.resource_version)
        begin_with_all = options.send_initial_events or (
            options.send_initial_events is None and not after
        )
        if begin_with_all and after > self.hub.revision:
            raise too_large(after, self.hub.revision)
        watch = self.hub.open(
            resource,
            target.namespace,
            selection,
            form,
            deliver,
            expired=ended,
            bookmarks=options.bookmarks,
            owner=allowed.caller.user or NAMELESS,
        )
        return Beginning(
            watch,
            self.hub,
            self.writer.store,
            self.offload,
            after=after,
            presents=begin_with_all,
            marks_end=bool(options.send_initial_events) and options.bookmarks,
        )

    def target(self, allowed: Allowed, verb: str) -> Target:
        """Return the rows that a request addresses; raises NotFound and MethodNotAllowed.

        `verb` is the verb about to run. Evidence for another verb is a bug, so it fails an assertion.
        """
        attributes = allowed.attributes
        assert attributes.verb == verb, f"allowed to {attributes.verb}, not to {verb}"
        resource = self.resources.find(attributes.group, attributes.version, attributes.resource)
        if resource is None:
            raise not_found()
        check_scope(resource, attributes)
        check_verb(resource, attributes)
        return Target(allowed, resource, resource.canonical)


def check_applied_type(expected: GroupVersionKind, config: dict[str, Any]) -> None:
    """Raise BadRequest unless the configuration states the `expected` apiVersion and kind."""
    if (config.get("apiVersion"), config.get("kind")) != (expected.api_version, expected.kind):
        raise BadRequest(f"invalid object type: {type_named(config)}")


@contextmanager
def warned(warnings: Sequence[str]) -> Iterator[None]:
    """Add the warnings of a request to the error that ends it."""
    try:
        yield
    except APIError as error:
        error.warnings = (*warnings, *error.warnings)
        raise


@contextmanager
def decoding(patch: Any, patch_type: PatchType) -> Iterator[None]:
    """Translate a BadRequest about the patched object into the error about its patch.

    Kubernetes quotes the whole object; who may patch it need not be allowed to read it, and messages end up in logs.
    """
    try:
        yield
    except BadRequest as error:
        if patch_type == "strategic":
            raise not_mergeable(patch, error.message) from error
        shown = go_map(patch) if isinstance(patch, dict) else "[...]"
        raise not_decodable(shown, error.message) from error


def _unappliable(target: Target) -> APIError:
    """Return the error for an apply of the scale of a custom resource, which upstream cannot convert."""
    version = Scale.gvk.api_version
    return PlainError(
        f"failed to convert new object ({target.namespace}/{target.name}; {version}, Kind=Scale) to "
        f"proper version: request to convert CR to an invalid group/version: {version}"
    )


def find_computed(target: Target, items: Sequence[dict[str, Any]]) -> bytes:
    """Return the JSON of the item that `target` names; raises NotFound."""
    for item in items:
        if item["metadata"]["name"] == target.name:
            return encode(item)
    raise object_not_found(target.resource, target.name)


def projected(projection: Projection, written: Written) -> Written:
    """Return the answer to a write with its body in another form."""
    body = encode(projection.read(decode.decode(written.body)))
    return Written(body, written.created, written.warnings)


def patched(
    resource: Resource, item: dict[str, Any], patch_type: PatchType, original: bytes
) -> dict[str, Any]:
    """Return `item`, which is consumed, with a patch applied.

    Raises BadRequest, Invalid, and UnsupportedMediaType for a strategic merge of a custom resource.
    """
    if patch_type == "strategic" and resource.type is None:
        raise unsupported_patch()
    return apply_patch(resource.schema, item, patch_type, original)


def apply_patch(
    schema: Schema, item: dict[str, Any], patch_type: PatchType, original: bytes
) -> dict[str, Any]:
    """Apply a patch, given as JSON so that each attempt decodes its own copy; raises BadRequest and Invalid."""
    patch = msgspec.json.decode(original)
    if patch_type == "json":
        return json_patch(item, patch)
    if patch_type in ("merge", "apply"):  # a Scale has one field, so an apply of it is a merge
        return merge_patch(item, patch)
    return strategic_merge(schema, item, patch)


def _revision_cost(
    form: Shape, patch_type: PatchType, patch: Any, options: WriteOptions
) -> Callable[[int], int]:
    """Return the function from a stored object's bytes to the cost of patching it and shaping the result."""
    size = options.body_bytes
    return lambda stored: patch_cost(patch_type, stored, size, patch) + form.cost(stored + size)


def unsupported_patch() -> APIError:
    """Return the error for a strategic merge of a custom resource."""
    return UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )


def check_watch_options(options: WatchOptions) -> None:
    """Raise Invalid for options that contradict each other."""
    match, path, found = options.resource_version_match, "resourceVersionMatch", []
    if options.send_initial_events is not None and match != NOT_OLDER:
        text = f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER}"
        found.append(causes.forbidden(path, text))
    if match:
        if options.send_initial_events is None:
            text = (
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
            found.append(causes.forbidden(path, text))
        if match != NOT_OLDER:
            found.append(causes.unsupported(path, match, (NOT_OLDER,)))
        if options.continue_token:
            text = "resourceVersionMatch is forbidden when continue is provided"
            found.append(causes.forbidden(path, text))
    if found:
        raise causes.invalid_object("ListOptions", "meta.k8s.io", "", found)
