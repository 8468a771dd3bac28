"""The write path of every object: shape, own, prepare, admit, check, commit.

Every create, update and patch goes through the same steps; only the source of the new object differs. Managed fields
are recorded before the strategy prepares a new object, after it has prepared an update, and before admission. An update
without a resource version is retried on the newest state if another write committed first. A write whose reservations
(quota, addresses) met another revision is retried as well.

Pure work (patching, shaping, managed fields, validation) runs through `Offload` with its cost in bytes, so a large
object does not block the loop. The object may change meanwhile; the commit detects that by its revision.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.caller import MayCreate
from kubelite.api.errors import (
    AlreadyExists,
    APIError,
    BadRequest,
    Cause,
    PlainError,
    RequestEntityTooLarge,
    ServiceUnavailable,
)
from kubelite.api.machinery import causes, managed_fields
from kubelite.api.machinery.apply_typing import is_mistyped
from kubelite.api.machinery.field_sets import Difference, difference
from kubelite.api.machinery.managed_fields import track
from kubelite.api.machinery.other_versions import settle, versions_of
from kubelite.api.machinery.shaping.shape import Inspection, TooPatient
from kubelite.api.machinery.times import format_time
from kubelite.api.machinery.work_cost import (
    json_cost,
    ownership_cost,
    rules_cost,
    shape_cost,
    warnings_cost,
)
from kubelite.api.registry.admission import Admission
from kubelite.api.registry.admission.request import AdmissionRequest, Verb, passing_on_warnings
from kubelite.api.registry.allocation import Allocator
from kubelite.api.registry.answers import Written
from kubelite.api.registry.bodies import (
    carry_over,
    check_key,
    check_name,
    check_namespace,
    check_type,
    metadata_of,
    object_revision,
    owners_once,
    shape,
)
from kubelite.api.registry.conversion import Conversion
from kubelite.api.registry.deletion import conflict, ends
from kubelite.api.registry.objects import (
    decode,
    encode,
    encode_object,
    put,
    removal,
    revision_of,
    with_revision,
)
from kubelite.api.registry.options import DeletionOptions, WriteOptions
from kubelite.api.registry.reservation import Reservation
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.routes import object_not_found
from kubelite.api.registry.strategy import WriteContext
from kubelite.api.registry.target import (
    ATTEMPTS_MAX,
    Target,
    already_exists,
    busy,
    no_name_left,
    precondition_failed,
)
from kubelite.api.registry.turns import Turns
from kubelite.clock import Clock
from kubelite.limits import EXPRESSION_INLINE, OBJECT
from kubelite.offload import FAR_FROM_INLINE, AtOnce, Offload
from kubelite.randomness import Randomness
from kubelite.store.protocol import (
    Check,
    Delete,
    Entry,
    Operation,
    Put,
    RevisionMismatch,
    Settled,
    Store,
    StoreUnavailable,
)

GENERATED_NAME_ATTEMPTS = 8
NAME_BASE_MAX = 58  # 63 less the suffix of five
MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


JSON = dict[str, Any]
Decode = Callable[[], JSON]  # a new copy of a stored object, which may be changed and kept
# Makes the desired object from the present one; None: the object does not exist.
Revise = Callable[[Decode | None], JSON]
# Checks an object by the rules of its kind: (resource, object, old object or None, subresource, inspection).
Validate = Callable[
    [Resource, dict[str, Any], dict[str, Any] | None, str, Inspection], Sequence[Cause]
]
# Returns the warnings about a valid object; arguments as of `Validate`, without the inspection.
Warn = Callable[[Resource, dict[str, Any], dict[str, Any] | None, str], Sequence[str]]


class Draft:
    """One attempt at a write, with its reservations, extra checks and warnings."""

    def __init__(
        self,
        target: Target,
        options: WriteOptions | DeletionOptions,
        context: WriteContext,
        cost_bytes: int = 0,
    ) -> None:
        self.target = target
        self.cost_bytes = cost_bytes  # of one pass over the new and the old object
        self.options = options
        self.context = context
        self.reservations: list[Reservation] = []
        self.checks: list[Check] = []
        self.warnings: list[str] = []

    def single_owners(self, metadata: JSON) -> None:
        """Drop duplicate owner references and add a warning about them."""
        patched = self.target.allowed.attributes.verb == "patch"
        self.warnings.extend(owners_once(metadata, patched=patched))

    async def commit(self, store: Store, operation: Operation) -> int:
        """Commit `operation` with its checks and reservations; return its revision.

        From here the store settles the reservations, so cancelling the caller does not cancel the write. Raises
        RevisionMismatch and ServiceUnavailable.
        """
        beside = [one for each in self.reservations for one in each.operations()]
        reservations, self.reservations = self.reservations, []

        def settled(committed: bool) -> None:
            for reservation in reservations:
                reservation.settled(committed=committed)

        operations = (*self.checks, *beside, operation)
        return await commit(store, operations, settled if reservations else None)

    def give_up(self) -> None:
        """Settle as not committed the reservations that did not reach the store."""
        reservations, self.reservations = self.reservations, []
        for reservation in reservations:
            reservation.settled(committed=False)


_NOTHING_OF_UID = (
    "uid mismatch: the provided object specified uid {}, and no existing object was found"
)


class _Change(Struct, frozen=True):
    """The arguments of an update, the same for each attempt."""

    target: Target
    revise: Revise
    options: WriteOptions
    cost: Callable[[int], int]
    may_create: Callable[[], MayCreate] | None
    warnings: Sequence[str]
    applied: bool


class Writer:
    """Creates and updates objects of any resource."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        randomness: Randomness,
        admission: Admission,
        validate: Validate,
        warn: Warn | None = None,
        addresses: Allocator | None = None,
        offload: Offload | None = None,
    ) -> None:
        """Without `offload` all work runs on the loop, as simulations need it; without `warn` no rule warns."""
        self.offload = offload or AtOnce()
        self._addresses = addresses
        self._turns = Turns()
        self.store = store
        self.clock = clock
        self.randomness = randomness
        self.admission = admission
        self._validate = validate
        self._warn = warn

    async def create(
        self,
        target: Target,
        evidence: MayCreate,
        body: JSON,
        options: WriteOptions,
        *,
        applied: bool = False,
    ) -> Written:
        """Create an object from `body`, which is consumed; `applied` means that its managed fields are set already.

        Raises AlreadyExists, BadRequest, Invalid, InternalError after `ATTEMPTS_MAX` tries, and admission's errors.
        """
        target = replace(target, allowed=evidence.allowed)
        metadata = metadata_of(body, target.resource.kind, custom=target.resource.type is None)
        check_type(target.resource, body)
        if metadata.get("resourceVersion") not in (None, "", "0"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        check_namespace(target, metadata)
        generated = not metadata.get("name") and bool(metadata.get("generateName"))
        warnings, original = await self.offload.run(
            target.resource.shape.cost(options.body_bytes),
            lambda: (shape(target.resource.shape, body, options), encode(body)),
        )
        for attempt in range(ATTEMPTS_MAX):
            item = body if attempt == 0 else decode.decode(original)
            try:
                return await self._create(target, item, options, warnings, applied=applied)
            except RevisionMismatch as error:
                name = item["metadata"]["name"]
                if error.key != target.canonical.key(target.namespace, name):
                    continue  # a reservation met another revision, so try again
                if not generated:
                    raise already_exists(target.resource, name) from error
                if attempt >= GENERATED_NAME_ATTEMPTS - 1:
                    raise no_name_left(target.resource, name) from error
        raise busy(target)

    async def _create(
        self,
        target: Target,
        item: JSON,
        options: WriteOptions,
        warnings: Sequence[str],
        *,
        applied: bool,
    ) -> Written:
        draft = self._draft(target, options, options.body_bytes)
        draft.warnings.extend(warnings)
        if target.view is not None:
            item = target.view.write(item)
        self._stamp(item["metadata"])
        draft.single_owners(item["metadata"])
        check_key(target.resource, item["metadata"])
        strategy = target.working.strategy
        if not applied:  # before the strategy: what it adds, such as a job's selector, has no owner
            await self._track(draft, None, item)
        strategy.prepare_create(item, draft.context)
        draft.warnings.extend(draft.context.warnings)
        target.working.shape.complete_status(item)
        try:
            item = await self._admit(draft, Verb.CREATE, item, None)
            return await self._commit(draft, item, None, created=True)
        except APIError as error:
            error.warnings = (*draft.warnings, *error.warnings)
            raise
        finally:
            draft.give_up()

    async def _track(self, draft: Draft, old: JSON | None, item: JSON) -> None:
        """Record the request's manager as the owner of the fields that `item` changes."""
        target, options = draft.target, draft.options
        assert isinstance(options, WriteOptions)
        who = manager(target, options, draft.context)
        schema = target.working.schema
        cost = ownership_cost(draft.cost_bytes)
        await self.offload.run(cost, lambda: track(schema, old, item, who))

    async def _track_update(self, draft: Draft, old: JSON, item: JSON, *, is_old: bool) -> None:
        """Record who owns what `item` changes of `old`, which `is_old` if it was stored under another schema.

        If the owners cannot be told, the object loses them, as upstream: the other server does not convert it, or it
        has values of types that its schema does not know any more.
        """
        working = draft.target.working
        if is_old and working.type is None:
            cost = ownership_cost(draft.cost_bytes)
            if await self.offload.run(cost, lambda: is_mistyped(working.schema, old)):
                item["metadata"].pop("managedFields", None)
                return
        await self._track(draft, old, item)
        try:
            await self._settle_versions(draft, old, item, contests=False)
        except PlainError:
            item["metadata"].pop("managedFields", None)

    async def _settle_versions(
        self, draft: Draft, old: JSON, item: JSON, *, contests: bool
    ) -> None:
        """Take from managers at other versions of a custom resource what the write changes there; see `settle`."""
        working, metadata = draft.target.working, item["metadata"]
        conversion = working.conversion
        if conversion is None or not conversion.works_as_served:
            return
        versions = versions_of(metadata) - {working.api_version}
        if not versions or item == old:
            return
        gone = {version for version in versions if conversion.schema_of(version) is None}
        found: dict[str, Difference | None] = dict.fromkeys(gone)
        if conversion.waits:
            for version in sorted(versions - gone):
                found[version] = await self._difference(draft, conversion, (old, item), version)
        if found:
            settle(metadata, found, contests=contests)

    async def _difference(
        self, draft: Draft, conversion: Conversion, both: tuple[JSON, JSON], version: str
    ) -> Difference:
        """Return what a write changes at another version, where another server converts."""
        schema = conversion.schema_of(version)
        assert schema is not None
        cost = ownership_cost(draft.cost_bytes)
        copies = await self.offload.run(cost, lambda: [_unowned(each) for each in both])
        old, new = await conversion.convert_all(copies, version)
        return await self.offload.run(cost, lambda: difference(old, new, schema))

    def _stamp(self, metadata: dict[str, Any]) -> None:
        """Set the metadata the server owns (generated name, uid, creationTimestamp); drop the client's values of it."""
        if not metadata.get("name") and metadata.get("generateName"):
            base = metadata["generateName"][:NAME_BASE_MAX]
            metadata["name"] = base + self.randomness.suffix()
        metadata["uid"] = self.randomness.uid()
        metadata["creationTimestamp"] = format_time(self.clock.now())
        for name in (
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
        ):
            metadata.pop(name, None)

    async def update(
        self,
        target: Target,
        revise: Revise,
        options: WriteOptions,
        *,
        cost: Callable[[int], int] = shape_cost,
        may_create: Callable[[], MayCreate] | None = None,
        warnings: Sequence[str] = (),
        applied: bool = False,
    ) -> Written:
        """Replace an object by what `revise` makes of the present one.

        `cost` maps the bytes of the stored object to the cost of `revise`. `may_create` authorizes the creation of an
        absent object; None: an absent object raises NotFound. Raises Conflict if the body names another resource
        version or uid, and whatever `revise` and admission raise.
        """
        change = _Change(target, revise, options, cost, may_create, warnings, applied)
        if target.key not in self._turns:
            with suppress(RevisionMismatch):
                return await self._attempt(change)
        async with self._turns.take(target.key):
            for _ in range(ATTEMPTS_MAX):
                with suppress(RevisionMismatch):
                    return await self._attempt(change)
        raise busy(target)

    async def _attempt(self, change: _Change) -> Written:
        """Try once; raises RevisionMismatch if another write committed first."""
        target = change.target
        entry = self.store.get(target.key)
        if entry is not None:
            return await self._update(change, entry)
        if change.may_create is None:
            raise object_not_found(target.resource, target.name)
        evidence = change.may_create()
        body = await self.offload.run(change.cost(0), lambda: change.revise(None))
        metadata = metadata_of(body)
        if uid := metadata.get("uid"):
            if change.applied:
                raise conflict(target.resource, target.name, _NOTHING_OF_UID.format(uid))
            raise precondition_failed(target.resource, target.namespace, target.name, uid)
        object_revision(metadata)
        metadata.pop("resourceVersion", None)
        check_name(target, metadata)
        try:
            return await self.create(target, evidence, body, change.options, applied=change.applied)
        except AlreadyExists as error:
            raise RevisionMismatch(target.key, 0) from error  # another request created it meanwhile

    async def _update(self, change: _Change, entry: Entry) -> Written:
        target, options = change.target, change.options
        draft = self._draft(target, options, options.body_bytes + len(entry.value))
        draft.warnings.extend(change.warnings)

        read = await self._present(target, entry)
        cost = change.cost(len(entry.value))
        old, item = await self.offload.run(cost, lambda: (read(), change.revise(read)))
        metadata = metadata_of(item)
        check_name(target, metadata)
        check_namespace(target, metadata)
        self._check_based_on(target, metadata, old["metadata"])
        carry_over(metadata, old["metadata"])
        draft.single_owners(metadata)
        strategy = target.working.strategy
        strategy.prepare_update(item, old, target.subresource, draft.context)
        if change.applied:
            await self._settle_versions(draft, old, item, contests=not options.force)
        else:
            await self._track_update(draft, old, item, is_old=is_outdated(target.working, entry))
        try:
            item = await self._admit(draft, Verb.UPDATE, item, old)
            return await self._commit(draft, item, (old, entry), created=False)
        except APIError as error:
            error.warnings = (*draft.warnings, *error.warnings)
            raise
        finally:
            draft.give_up()

    async def _present(self, target: Target, entry: Entry) -> Decode:
        """Return a function that makes the stored object in the version that the write is carried out in."""
        conversion = target.working.conversion
        if conversion is None or not conversion.is_needed(entry.revision):
            return lambda: decode.decode(entry.value)
        if not conversion.waits:
            return lambda: conversion.read(decode.decode(entry.value))
        (served,) = await conversion.read_all([decode.decode(entry.value)])
        value = encode(served)
        return lambda: decode.decode(value)

    async def _stored(self, target: Target, item: JSON) -> JSON:
        """Return an object in the version that is stored."""
        conversion = target.working.conversion
        if conversion is None or target.working is target.canonical:
            return item
        if conversion.waits:
            (stored,) = await conversion.write_all([item])
            return stored
        data = encode(item)
        cost = json_cost(len(data)) + target.canonical.shape.cost(len(data))
        return await self.offload.run(cost, lambda: conversion.write(decode.decode(data)))

    async def _shown(self, target: Target, stored: JSON) -> JSON:
        """Return what a read of a stored object will show, in the version that the write is carried out in."""
        conversion = target.working.conversion
        assert conversion is not None
        (shown,) = await conversion.read_all([decode.decode(encode(stored))])
        return shown

    def _check_based_on(
        self, target: Target, metadata: dict[str, Any], old: dict[str, Any]
    ) -> None:
        """Raise Conflict if the update names another version or uid, Invalid if it lacks a mandatory version."""
        version = object_revision(metadata)  # compared as a number: "007" is 7
        if version and version != int(old["resourceVersion"]):
            raise conflict(target.resource, target.name, MODIFIED)
        if not version and target.working.strategy.conduct.conditional:
            cause = causes.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            resource = target.resource
            raise causes.invalid_object(resource.plural, resource.group, target.name, [cause])
        uid = metadata.get("uid")
        if uid and uid != old.get("uid"):
            raise precondition_failed(
                target.resource, target.namespace, target.name, uid, old.get("uid", "")
            )

    def _draft(self, target: Target, options: WriteOptions, cost_bytes: int) -> Draft:
        context = self.context(target, dry_run=options.dry_run)
        return Draft(target, options, context, cost_bytes)

    def context(self, target: Target, *, dry_run: bool) -> WriteContext:
        """Return the context of a request for strategies."""
        return WriteContext(
            target.allowed.caller, self.clock.now(), self.randomness, dry_run, self._addresses
        )

    async def _admit(self, draft: Draft, operation: Verb, item: JSON, old: JSON | None) -> JSON:
        """Run mutating admission, defaults, the strategy, validation and validating admission; return the object."""
        target = draft.target
        resource, strategy = target.working, target.working.strategy
        request = AdmissionRequest(
            allowed=target.allowed,
            operation=operation,
            served=target.resource,
            resource=resource,
            item=item,
            old=old,
            options=draft.options,
            dry_run=draft.options.dry_run,
        )
        draft.reservations, draft.checks = request.reservations, request.checks
        if not target.is_step:
            with passing_on_warnings(request):
                await self.admission.mutate(request)
        item = request.object or item
        if (
            operation is Verb.CREATE
        ):  # rights were asked, and admission done, for the namespace of the path
            check_namespace(target, metadata_of(item))
        await self.offload.run(
            resource.shape.cost(draft.cost_bytes), partial(resource.shape.complete, item)
        )
        strategy.finish(item, old, draft.context)
        # A Service without its addresses is invalid, so reserve them before validation.
        reservation = strategy.reserve(item, old, draft.context)
        if reservation is not None:
            request.reserve(reservation)
        warns = isinstance(draft.options, WriteOptions) and draft.options.wants_warnings
        warn = self._warn if warns else None
        found, told = await self._check(draft, resource, item, old, warn)
        if found:
            kind, name = resource.kind, item["metadata"].get("name", "")
            named = item.get("kind") or kind.kind if resource.type is None else kind.kind
            raise causes.invalid_object(named, kind.group, name, found)
        draft.warnings.extend(told)
        if not target.is_step:
            with passing_on_warnings(request):
                await self.admission.validate(request)
        draft.warnings.extend(request.warnings)
        return item

    async def _check(
        self,
        draft: Draft,
        resource: Resource,
        item: JSON,
        old: JSON | None,
        warn: Warn | None,
    ) -> tuple[Sequence[Cause], Sequence[str]]:
        """Return the causes why an object is invalid, and the warnings if it is valid."""
        subresource, size = draft.target.subresource, draft.cost_bytes
        cost = rules_cost(size) * resource.rules.passes + (warnings_cost(size) if warn else 0)
        if resource.type is None:
            cost += resource.shape.cost(size)

        def checked(patience: int | None) -> tuple[Sequence[Cause], Sequence[str]]:
            inspection = Inspection(patience)
            found = self._validate(resource, item, old, subresource, inspection)
            if found or warn is None:
                return found, inspection.warnings
            return found, (*inspection.warnings, *warn(resource, item, old, subresource))

        try:
            return await self.offload.run(cost, lambda: checked(EXPRESSION_INLINE.value))
        except TooPatient:
            # What expressions cost is known only when they run, so long ones are begun anew, off the loop.
            EXPRESSION_INLINE.reached()
            return await self.offload.run(FAR_FROM_INLINE, lambda: checked(None))

    async def _commit(
        self,
        draft: Draft,
        item: JSON,
        before: tuple[dict[str, Any], Entry] | None,
        *,
        created: bool,
    ) -> Written:
        target, strategy = draft.target, draft.target.working.strategy
        version = ""
        if before is not None:
            old, entry = before
            version = item["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            managed_fields.keep_times(old, item)  # a repeated apply is no change
            if item == old and not is_outdated(target.canonical, entry):
                return self._written(draft, item, entry.value, created=False)
        expected = before[1].revision if before else 0
        stored = await self._stored(target, item)
        if stored is not item:
            item = await self._shown(target, stored)
        operation: Put | Delete
        if before is not None and ends(strategy, item):
            operation = removal(target.canonical, stored, expected)
            released = strategy.release(item, draft.context)
            if released is not None:
                draft.reservations.append(released)
        else:
            operation = put_within_limit(target.canonical, stored, expected)
        value = operation.value
        assert value is not None
        if draft.options.dry_run:
            if before is None and (taken := self.store.get(operation.key)) is not None:
                raise RevisionMismatch(taken.key, taken.revision)
            shown = encode(stored) if not version else with_revision(value, int(version))
            return self._written(draft, item, shown, created=created)
        revision = await draft.commit(self.store, operation)
        return self._written(draft, item, with_revision(value, revision), created=created)

    def _written(self, draft: Draft, item: JSON, value: bytes, *, created: bool) -> Written:
        """Return the answer, given the object in the version of the write and its stored bytes."""
        target = draft.target
        if target.view is not None:
            value = encode(target.view.read(decode.decode(value)))
        elif target.working is not target.canonical:
            is_tried = draft.options.dry_run and created
            shown = encode_object(target.working, item)
            value = encode(item) if is_tried else with_revision(shown, revision_of(value))
        return Written(value, created, tuple(draft.warnings))


def is_outdated(stored_as: Resource, entry: Entry) -> bool:
    """Return whether a write of an unchanged object would change its bytes, which are of another version or schema."""
    return stored_as.conversion is not None and stored_as.conversion.is_needed(entry.revision)


def _unowned(item: JSON) -> JSON:
    """Return a copy of an object without its managed fields."""
    metadata = {name: each for name, each in item["metadata"].items() if name != "managedFields"}
    return decode.decode(encode({**item, "metadata": metadata}))


async def commit(
    store: Store, operations: Sequence[Operation], settled: Settled | None = None
) -> int:
    """Commit and return the revision of the last operation; raises RevisionMismatch and ServiceUnavailable."""
    try:
        return await store.commit(*operations, settled=settled)
    except StoreUnavailable as error:
        raise ServiceUnavailable(f"the store {error}") from error


def put_within_limit(resource: Resource, item: JSON, expected: int) -> Put:
    """Return the operation that writes an object; raises RequestEntityTooLarge.

    An object over the limit loses its managed fields first, as in Kubernetes.
    """
    operation = put(resource, item, expected)
    if len(operation.value) > OBJECT.value and item["metadata"].pop("managedFields", None):
        operation = put(resource, item, expected)
    size = len(operation.value)
    if size > OBJECT.value:
        OBJECT.reached()
        raise RequestEntityTooLarge(
            f"etcdserver: request is too large ({size} bytes, the limit is {OBJECT.value})"
        )
    return operation


_STATUS_PARTS = ("status", "approval")


def manager(target: Target, options: WriteOptions, context: WriteContext) -> managed_fields.Writer:
    """Return the field manager of a request: its name, version, time, subresource and the fields it never owns."""
    conversion = target.working.conversion
    return managed_fields.Writer(
        options.field_manager or "unknown",
        target.resource.api_version,
        "" if target.projection is not None else format_time(context.now),  # as upstream's scale
        target.subresource,
        managed_fields.RESET_STATUS
        if target.subresource in _STATUS_PARTS
        else managed_fields.RESET_MAIN
        if target.working.has_status
        else managed_fields.RESET_NOTHING,
        conversion is not None and conversion.works_as_served and conversion.waits,
    )
