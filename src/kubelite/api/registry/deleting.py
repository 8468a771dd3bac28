"""The delete and deletecollection verbs."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from kubelite.api.auth.caller import Attributes
from kubelite.api.errors import NotFound
from kubelite.api.registry.admission.request import AdmissionRequest, Verb, passing_on_warnings
from kubelite.api.registry.answers import Deleted
from kubelite.api.registry.deletion import PENDING, check_preconditions, removal_of
from kubelite.api.registry.objects import decode, encode, name_of, put, removal, with_revision
from kubelite.api.registry.options import DeletionOptions, ReadOptions
from kubelite.api.registry.reading import Reader
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.routes import object_not_found
from kubelite.api.registry.target import ATTEMPTS_MAX, Target, busy
from kubelite.api.registry.writing import Draft, Writer
from kubelite.store.protocol import Delete, Entry, Put, RevisionMismatch

TOGETHER_MAX = 64  # deletions of one collection in flight at a time
COPIED_BYTES = 512  # bytes copied for the cost of one byte decoded


class Deleter:
    """Deletes objects of any resource."""

    def __init__(self, writer: Writer) -> None:
        self._store = writer.store
        self._writer = writer
        self._admission = writer.admission
        self._offload = writer.offload
        self._reader = Reader(writer.store, self._offload)

    async def delete(self, target: Target, options: DeletionOptions) -> Deleted:
        """Delete an object, or mark it as deleted; raises NotFound, Conflict, InternalError after too many tries."""
        for _ in range(ATTEMPTS_MAX):
            entry = self._store.get(target.key)
            if entry is None:
                raise object_not_found(target.resource, target.name)
            with suppress(RevisionMismatch):
                return await self._delete(target, entry, options)
        raise busy(target)

    async def _delete(self, target: Target, entry: Entry, options: DeletionOptions) -> Deleted:
        resource, strategy = target.canonical, target.canonical.strategy
        entry = await self._current(resource, entry)
        old = decode.decode(entry.value)
        check_preconditions(target.resource, old, options)
        draft = Draft(target, options, self._writer.context(target, dry_run=options.dry_run))
        try:
            await self._admit(draft, old, options)
            item = decode.decode(entry.value)
            found = removal_of(strategy, item, options, draft.context.now)
            if found == PENDING:
                return await self._answer(draft, entry, finished=False)
            assert found.item is not None
            operation: Put | Delete
            if found.remove:
                operation = removal(resource, item, entry.revision)
                if (released := strategy.release(item, draft.context)) is not None:
                    draft.reservations.append(released)
            else:
                operation = put(resource, item, entry.revision)
            value = operation.value
            assert value is not None
            revision = entry.revision
            if not options.dry_run:
                revision = await draft.commit(self._store, operation)
            last = replace(entry, value=with_revision(value, revision), revision=revision)
            return await self._answer(draft, last, finished=found.remove)
        finally:
            draft.give_up()

    async def _current(self, resource: Resource, entry: Entry) -> Entry:
        """Return the entry in the version that is stored now; it may have been stored in an earlier one."""
        (prepared,) = await self._reader.prepared(resource, (entry,))
        (value,) = await self._reader.served(resource, (prepared,))
        return entry if value is entry.value else replace(entry, value=value)

    async def _admit(self, draft: Draft, old: dict[str, Any], options: DeletionOptions) -> None:
        target = draft.target
        request = AdmissionRequest(
            allowed=target.allowed,
            operation=Verb.DELETE,
            served=target.resource,
            resource=target.canonical,
            item=None,
            old=old,
            options=options,
            dry_run=options.dry_run,
        )
        draft.reservations = request.reservations
        if not target.is_step:
            with passing_on_warnings(request):
                await self._admission.mutate(request)
                await self._admission.validate(request)
        draft.warnings.extend(request.warnings)
        draft.warnings.extend(deletion_warnings(target, options))

    async def _answer(self, draft: Draft, last: Entry, *, finished: bool) -> Deleted:
        target = draft.target
        warnings = tuple(draft.warnings)
        if finished and not target.canonical.strategy.conduct.answered_whole:
            return Deleted(success(target.resource, last.value), finished, warnings)
        prepared = await self._reader.prepared(target.resource, (last,))
        (served,) = await self._reader.served(target.resource, prepared)
        return Deleted(served, finished, warnings)

    async def delete_collection(
        self, target: Target, selection: ReadOptions, options: DeletionOptions
    ) -> Deleted:
        """Delete the selected objects; return the list of them as they were before."""
        entries, revision = await self._reader.selected(
            target.resource, target.namespace, selection
        )
        for start in range(0, len(entries), TOGETHER_MAX):
            batch = entries[start : start + TOGETHER_MAX]
            results = await asyncio.gather(
                *(self._delete_one(target, entry, options) for entry in batch),
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        items = await self._reader.served(target.resource, entries)
        # Copying a byte costs far less than decoding one, which is what the budget counts.
        cost = sum(map(len, items)) // COPIED_BYTES
        body = await self._offload.run(cost, lambda: list_body(target.resource, items, revision))
        return Deleted(body, finished=True, warnings=deletion_warnings(target, options))

    async def _delete_one(self, target: Target, entry: Entry, options: DeletionOptions) -> None:
        namespace, name = name_of(entry.key)
        asked = target.allowed.attributes
        attributes = Attributes(
            verb=asked.verb,
            group=asked.group,
            version=asked.version,
            resource=asked.resource,
            namespace=namespace,
            name=name,
        )
        allowed = replace(target.allowed, attributes=attributes)
        try:
            await self.delete(Target(allowed, target.resource, target.canonical), options)
        except NotFound:
            return  # a concurrent request deleted it first


def deletion_warnings(target: Target, options: DeletionOptions) -> tuple[str, ...]:
    """Return the warning for a deletion without a propagation policy, if the kind has one."""
    warning = target.canonical.strategy.conduct.orphan_warning
    return (warning,) if warning and not options.propagation else ()


def success(resource: Resource, value: bytes) -> bytes:
    """Return the Status for a removed object, given its last stored bytes."""
    metadata = decode.decode(value)["metadata"]
    details = {"name": metadata["name"], "kind": resource.plural, "uid": metadata.get("uid", "")}
    if resource.group:
        details["group"] = resource.group
    return encode(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
    )


def list_body(resource: Resource, items: Sequence[bytes], revision: int) -> bytes:
    """Return the JSON of a list of encoded items; one of custom resources always has a token."""
    token = ',"continue":""' if resource.type is None else ""
    return (
        (
            f'{{"kind":"{resource.kind_of_list}","apiVersion":"{resource.api_version}",'
            f'"metadata":{{"resourceVersion":"{revision}"{token}}},"items":['
        ).encode()
        + b",".join(items)
        + b"]}"
    )
