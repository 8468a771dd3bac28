"""get and list: serve stored bytes at any revision that the store still keeps."""

import asyncio
import base64
import binascii
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.errors import (
    APIError,
    BadRequest,
    Cause,
    Expired,
    PlainError,
    Timeout,
)
from kubelite.api.machinery import causes
from kubelite.api.machinery.json_errors import syntax_error
from kubelite.api.registry.answers import Listed
from kubelite.api.registry.objects import decode, encode, name_of
from kubelite.api.registry.options import ReadOptions
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.routes import object_not_found
from kubelite.api.registry.selection import EVERY_OBJECT, Selection, parse_selection
from kubelite.offload import AtOnce, Offload
from kubelite.store.protocol import Compacted, Entry, FutureRevision, Page, Store

EXACT, NOT_OLDER = "Exact", "NotOlderThan"
READ_AT_ONCE = 10_000  # entries read in one step, about 2 ms of the loop
SELECTED_AT_ONCE = 2000  # entries
# Costs, in the unit of `limits.INLINE_WORK`.
SELECTING_COST = 12  # per entry, about 3 µs
SKIPPED_BYTES = 256  # bytes of a value scanned for its labels, per unit
VIEWED_BYTES = 32  # bytes of a value decoded and encoded, per unit
PARSING_COST = 4  # per character of a selector
REVISION_MAX = 2**64 - 1
REVISION_DIGITS_MAX = 20


class Continuation(Struct, frozen=True):
    """The content of a continue token: its format `v`, the revision `rv` and the last key listed.

    A negative `rv` continues at the newest state instead of the state of the first page.
    """

    v: str
    rv: int
    start: str

    def token(self) -> str:
        """Return the token that clients send back."""
        return base64.urlsafe_b64encode(encode(self)).rstrip(b"=").decode()


_BAD_CONTINUE = "invalid continue token: continue key"
_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - the version of a format
_continuation: "msgspec.json.Decoder[Continuation]" = msgspec.json.Decoder(Continuation)


def parse_continuation(token: str) -> Continuation:
    """Parse a continue token; raises BadRequest."""
    data = b""
    try:
        padded = token + "=" * (-len(token) % 4)
        data = base64.b64decode(padded, altchars=b"-_", validate=True)
        found = _continuation.decode(data)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{_BAD_CONTINUE} is not valid: {error}") from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"{_BAD_CONTINUE} is not valid: {syntax_error(data)}") from error
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{_BAD_CONTINUE} is not valid: {error}") from error
    if found.v != _TOKEN_VERSION:
        raise BadRequest(
            f"{_BAD_CONTINUE} is not valid: server does not recognize this encoded version {found.v}"
        )
    if found.rv == 0:
        raise BadRequest(
            f"{_BAD_CONTINUE} is not valid: incorrect encoded start resourceVersion "
            f"(version {_TOKEN_VERSION})"
        )
    if not found.start:
        raise BadRequest(
            f"{_BAD_CONTINUE} is not valid: encoded start key empty (version {_TOKEN_VERSION})"
        )
    if ".." in found.start or "//" in found.start or found.start.startswith("/"):
        raise BadRequest(f"{_BAD_CONTINUE} is not valid: {found.start}")
    return found


def parse_revision(text: str, *, of_list: bool = False) -> int:
    """Parse a resourceVersion parameter; "" is 0. Raises PlainError, `of_list` BadRequest."""
    try:
        return unsigned(text)
    except ValueError as error:
        cause = causes.invalid("resourceVersion", text, str(error))
        said = f"{cause.path}: {cause.message}"
        if of_list:
            raise BadRequest(f"invalid resource version: {said}") from None
        raise PlainError(said) from None


def unsigned(text: str) -> int:
    """Parse an unsigned 64-bit number; "" is 0. Raises ValueError, worded as Go's strconv words it."""
    if not text:
        return 0
    wrong = "invalid syntax"
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0") or "0"
        if len(digits) <= REVISION_DIGITS_MAX and int(digits) <= REVISION_MAX:
            return int(digits)
        wrong = "value out of range"
    raise ValueError(f"strconv.ParseUint: parsing {causes.shown(text)}: {wrong}")


def too_large(asked: int, current: int) -> APIError:
    """Return the error, to be retried, for a revision newer than the store's."""
    cause = Cause("", "ResourceVersionTooLarge", "Too large resource version")
    return Timeout(
        f"Timeout: Too large resource version: {asked}, current: {current}",
        causes=[cause],
        retry_after_seconds=1,
    )


def list_option_causes(options: ReadOptions) -> list[Cause]:
    """Return the causes why the options of a list contradict each other."""
    match = options.resource_version_match
    found: list[Cause] = []
    if options.send_initial_events is not None:
        text = "sendInitialEvents is forbidden for list"
        found.append(causes.forbidden("sendInitialEvents", text))
    if not match:
        return found
    path = "resourceVersionMatch"
    if not options.resource_version:
        text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        found.append(causes.forbidden(path, text))
    if options.continue_token:
        text = "resourceVersionMatch is forbidden when continue is provided"
        found.append(causes.forbidden(path, text))
    if match not in (EXACT, NOT_OLDER):
        found.append(causes.unsupported(path, match, (EXACT, NOT_OLDER, "")))
    if match == EXACT and options.resource_version == "0":
        text = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        found.append(causes.forbidden(path, text))
    return found


def checked_list_options(options: ReadOptions) -> None:
    """Raise Invalid for options that contradict each other."""
    if found := list_option_causes(options):
        raise causes.invalid_object("ListOptions", "meta.k8s.io", "", found)


class Reader:
    """Reads objects of any resource; long work runs in slices or through `Offload`."""

    def __init__(self, store: Store, offload: Offload | None = None) -> None:
        self._store = store
        self._offload = offload or AtOnce()

    def entry(self, resource: Resource, namespace: str, name: str) -> Entry:
        """Return the entry of a stored object; raises NotFound."""
        entry = self._store.get(resource.key(namespace, name))
        if entry is None:
            raise object_not_found(resource, name)
        return entry

    async def get(
        self, resource: Resource, namespace: str, name: str, options: ReadOptions
    ) -> bytes:
        """Return an object as served, at least as new as the resourceVersion; raises NotFound, Invalid and Timeout."""
        asked = parse_revision(options.resource_version)
        if asked > self._store.revision:
            raise too_large(asked, self._store.revision)
        entry = self.entry(resource, namespace, name)
        conversion = resource.conversion
        if conversion is None or not conversion.is_needed(entry.revision):
            return entry.value
        return (await self.served(resource, await self.prepared(resource, (entry,))))[0]

    async def prepared(self, resource: Resource, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return the entries with what another server makes of them; unchanged if no other server converts."""
        conversion = resource.conversion
        if conversion is None or not conversion.waits:
            return entries
        found = [entry for entry in entries if conversion.is_needed(entry.revision)]
        if not found:
            return entries
        cost = sum(len(entry.value) for entry in found) // VIEWED_BYTES
        items = await self._offload.run(
            cost, lambda: [decode.decode(entry.value) for entry in found]
        )
        served = await conversion.read_all(items)
        made = await self._offload.run(cost, lambda: [encode(item) for item in served])
        values = {entry.key: value for entry, value in zip(found, made, strict=True)}
        return [
            replace(entry, value=values[entry.key]) if entry.key in values else entry
            for entry in entries
        ]

    async def served(self, resource: Resource, entries: Sequence[Entry]) -> Sequence[bytes]:
        """Return what the resource serves of prepared entries."""
        conversion = resource.conversion
        if conversion is None or conversion.waits:
            return [entry.value for entry in entries]
        cost = sum(len(one.value) for one in entries if conversion.is_needed(one.revision))
        if not cost:
            return [entry.value for entry in entries]
        return await self._offload.run(
            cost // VIEWED_BYTES, lambda: [served_bytes(resource, entry) for entry in entries]
        )

    async def selection(self, resource: Resource, options: ReadOptions) -> Selection:
        """Compile the selectors of a request; raises BadRequest."""
        labels, fields = options.label_selector, options.field_selector
        if not (labels or fields):
            return EVERY_OBJECT
        cost = (len(labels) + len(fields)) * PARSING_COST
        return await self._offload.run(cost, lambda: parse_selection(resource, labels, fields))

    async def list(self, resource: Resource, namespace: str, options: ReadOptions) -> Listed:
        """Return a page of the selected objects; raises BadRequest, Invalid, Expired and Timeout."""
        checked_list_options(options)
        selection = await self.selection(resource, options)
        entries, listed = await self._page(resource, namespace, selection, options)
        return Listed(await self.served(resource, entries), *listed)

    async def selected(
        self, resource: Resource, namespace: str, options: ReadOptions
    ) -> tuple[Sequence[Entry], int]:
        """Return the entries of one page, and the revision they were read at; raises as `list` does."""
        checked_list_options(options)
        selection = await self.selection(resource, options)
        entries, (version, _, _) = await self._page(resource, namespace, selection, options)
        return entries, int(version)

    def chosen(self, resource: Resource, namespace: str, selection: Selection) -> Sequence[Entry]:
        """Return all selected entries in one step, without giving up the loop; for the mirrors of the process."""
        pinned = self.pinned(resource, namespace, selection)
        if pinned is not None:
            return pinned
        prefix = resource.scope(namespace or selection.namespace)
        return select(selection, self._store.list(prefix).entries)

    async def _page(
        self,
        resource: Resource,
        namespace: str,
        selection: Selection,
        options: ReadOptions,
    ) -> tuple[Sequence[Entry], tuple[str, str, int | None]]:
        prefix = resource.scope(namespace or selection.namespace)
        after, revision = self._start(prefix, options)
        fast = self.pinned(resource, namespace, selection) if not (after or revision) else None
        if fast is not None:
            told = (str(self._store.revision), "", None)
            return await self.prepared(resource, fast), told
        try:
            limit = max(options.limit, 0)
            return await self._walk(resource, prefix, after, revision, selection, limit)
        except Compacted as error:
            raise self._expired(after, prefix, options) from error
        except FutureRevision as error:
            raise too_large(error.asked, error.current) from error

    def pinned(
        self, resource: Resource, namespace: str, selection: Selection
    ) -> Sequence[Entry] | None:
        """Return the entries of a selection by name with one look-up; None if it needs a list."""
        namespace = namespace or selection.namespace
        if not selection.name or (resource.namespaced and not namespace):
            return None
        entry = self._store.get(resource.key(namespace, selection.name))
        if entry is None or not selection.selects_key(*name_of(entry.key)):
            return ()
        if not selection.needs_object:
            return (entry,)
        if resource.conversion is not None and resource.conversion.waits:
            return None
        return (entry,) if selection.selects_entry(entry) else ()

    def _start(self, prefix: str, options: ReadOptions) -> tuple[str, int]:
        """Return the key to start after and the revision to read at (0: now)."""
        if options.continue_token:
            if options.resource_version not in ("", "0"):
                raise BadRequest("specifying resource version is not allowed when using continue")
            found = parse_continuation(options.continue_token)
            return prefix + found.start, max(found.rv, 0)
        asked = parse_revision(options.resource_version, of_list=True)
        if asked > self._store.revision:
            raise too_large(asked, self._store.revision)
        exact = options.resource_version_match == EXACT or (
            # Older clients do not send resourceVersionMatch, so a limit with a version means that exact version.
            options.limit > 0 and asked > 0 and not options.resource_version_match
        )
        return "", asked if exact else 0

    async def _walk(
        self,
        resource: Resource,
        prefix: str,
        after: str,
        revision: int,
        selection: Selection,
        limit: int,
    ) -> tuple[Sequence[Entry], tuple[str, str, int | None]]:
        if selection.is_everything:
            page = await self._entries(prefix, after, revision, limit)
            more = bool(limit) and page.remaining > 0
            token = self._token(prefix, page.entries[-1].key, page.revision) if more else ""
            entries = await self.prepared(resource, page.entries)
            return entries, (str(page.revision), token, page.remaining if more else None)
        page = await self._entries(prefix, after, revision, 0)
        entries = await self.prepared(resource, page.entries)
        wanted = limit + 1 if limit else 0
        chosen = await self._offload.run(
            selecting_cost(entries), lambda: select(selection, entries, wanted)
        )
        if limit and len(chosen) > limit:
            token = self._token(prefix, chosen[limit - 1].key, page.revision)
            return chosen[:limit], (str(page.revision), token, None)
        return chosen, (str(page.revision), "", None)

    async def _entries(self, prefix: str, after: str, revision: int, limit: int) -> Page:
        """Return a page at one revision, read in slices."""
        first = self._store.list(
            prefix, after=after, limit=min(limit or READ_AT_ONCE, READ_AT_ONCE), revision=revision
        )
        if not first.remaining or len(first.entries) == limit:
            return first
        entries, remaining = list(first.entries), first.remaining
        while remaining and len(entries) != limit:
            await asyncio.sleep(0)
            size = min(limit - len(entries), READ_AT_ONCE) if limit else READ_AT_ONCE
            try:
                page = self._store.list(
                    prefix, after=entries[-1].key, limit=size, revision=first.revision
                )
            except Compacted:  # a compaction overtook the slices, so read in one step
                return self._store.list(prefix, after=after, limit=limit, revision=revision)
            entries.extend(page.entries)
            remaining = page.remaining
        return Page(entries, first.revision, remaining)

    def _token(self, prefix: str, last: str, revision: int) -> str:
        return Continuation(_TOKEN_VERSION, revision, last.removeprefix(prefix)).token()

    def _expired(self, after: str, prefix: str, options: ReadOptions) -> APIError:
        if not options.continue_token:
            return Expired("The resourceVersion for the provided list is too old.")
        start = after.removeprefix(prefix)
        return Expired(
            "The provided continue parameter is too old to display a consistent list result. "
            "You can start a new list without the continue parameter, or use the continue token "
            "in this response to retrieve the remainder of the results. Continuing with the "
            "provided token results in an inconsistent list - objects that were created, modified, "
            "or deleted between the time the first chunk was returned and now may show up in the "
            "list.",
            continue_token=Continuation(_TOKEN_VERSION, -1, start).token(),
        )


def served_bytes(resource: Resource, entry: Entry) -> bytes:
    """Return what the resource serves of an entry, which no other server has to convert."""
    conversion = resource.conversion
    if conversion is None or not conversion.is_needed(entry.revision):
        return entry.value
    return encode(conversion.read(decode.decode(entry.value)))


def selecting_cost(entries: Sequence[Entry]) -> int:
    """Return the cost of selecting, in the unit of `Offload.run`; the length of the selector does not count."""
    if len(entries) > SELECTED_AT_ONCE:
        return len(entries) * SELECTING_COST
    return (
        len(entries) * SELECTING_COST + sum(len(entry.value) for entry in entries) // SKIPPED_BYTES
    )


def select(selection: Selection, entries: Sequence[Entry], limit: int = 0) -> list[Entry]:
    """Return the first `limit` (0: all) selected entries."""
    chosen: list[Entry] = []
    for start in range(0, len(entries), SELECTED_AT_ONCE):
        part = (
            entries[start : start + SELECTED_AT_ONCE]
            if len(entries) > SELECTED_AT_ONCE
            else entries
        )
        chosen += [entry for entry in selection.candidates(part) if selects(selection, entry)]
        if limit and len(chosen) >= limit:
            return chosen[:limit]
    return chosen


def selects(selection: Selection, entry: Entry) -> bool:
    """Return whether an entry is selected, decoding it only if its key does not decide."""
    if (selection.name or selection.namespace) and not selection.selects_key(*name_of(entry.key)):
        return False
    return not selection.needs_object or selection.selects_entry(entry)
