"""get and list: stored bytes out of the store, at any revision that is still kept."""

import base64
import binascii
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from kubelite.api.errors import APIError, BadRequest, Cause, Expired, NotFound, Timeout
from kubelite.api.machinery import causes
from kubelite.api.registry.answers import Listed
from kubelite.api.registry.objects import decode, encode, name_of
from kubelite.api.registry.options import ReadOptions
from kubelite.api.registry.resources import Resource
from kubelite.api.registry.selection import Selection, parse_selection
from kubelite.store.protocol import Compacted, Entry, FutureRevision, Store

EXACT, NOT_OLDER = "Exact", "NotOlderThan"
REVISION_MAX = 2**64 - 1
REVISION_DIGITS_MAX = 20


class Continuation(Struct, frozen=True):
    """Where a list goes on. A negative revision asks for the newest state instead of one state throughout."""

    v: str
    rv: int
    start: str

    def token(self) -> str:
        """Return the opaque text for clients."""
        return base64.urlsafe_b64encode(encode(self)).rstrip(b"=").decode()


_BAD_CONTINUE = "invalid continue token: continue key"
_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - the version of a format
_continuation: "msgspec.json.Decoder[Continuation]" = msgspec.json.Decoder(Continuation)


def parse_continuation(token: str) -> Continuation:
    """Read a token; raises BadRequest."""
    try:
        padded = token + "=" * (-len(token) % 4)
        data = base64.b64decode(padded, altchars=b"-_", validate=True)
        found = _continuation.decode(data)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
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


def not_found(resource: Resource, name: str) -> NotFound:
    """Return the error for an object that is not there."""
    return NotFound(
        f"{resource.group_resource} {causes.quoted(name)} not found",
        group=resource.group,
        kind=resource.plural,
        name=name,
    )


def parse_revision(text: str) -> int:
    """Read a resourceVersion parameter; empty is 0."""
    if not text:
        return 0
    wrong = "invalid syntax"
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0") or "0"
        if len(digits) <= REVISION_DIGITS_MAX and int(digits) <= REVISION_MAX:
            return int(digits)
        wrong = "value out of range"
    cause = causes.invalid(
        "resourceVersion", text, f"strconv.ParseUint: parsing {causes.quoted(text)}: {wrong}"
    )
    raise causes.invalid_object("ListOptions", "", "", [cause]) from None


def too_large(asked: int, current: int) -> APIError:
    """Return the error for a revision that has not happened yet."""
    cause = Cause("", "ResourceVersionTooLarge", "Too large resource version")
    return Timeout(
        f"Too large resource version: {asked}, current: {current}",
        causes=[cause],
        retry_after_seconds=1,
    )


def list_option_causes(options: ReadOptions) -> list[Cause]:
    """Return what contradicts in the options of a list."""
    match = options.resource_version_match
    found: list[Cause] = []
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
    """Reads objects of any resource."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entry(self, resource: Resource, namespace: str, name: str) -> Entry:
        """Return a stored object; raises NotFound."""
        entry = self._store.get(resource.key(namespace, name))
        if entry is None:
            raise not_found(resource, name)
        return entry

    def get(self, resource: Resource, namespace: str, name: str, options: ReadOptions) -> bytes:
        """Return an object as served; a resourceVersion asks for one at least that new."""
        asked = parse_revision(options.resource_version)
        if asked > self._store.revision:
            raise too_large(asked, self._store.revision)
        return self.served(resource, self.entry(resource, namespace, name).value)

    def served(self, resource: Resource, value: bytes) -> bytes:
        """Turn stored bytes into what the resource serves."""
        return value if resource.view is None else encode(resource.view.read(decode.decode(value)))

    def list(self, resource: Resource, namespace: str, options: ReadOptions) -> Listed:
        """Return the selected objects; raises BadRequest, Invalid, Expired and Timeout."""
        checked_list_options(options)
        selection = parse_selection(resource, options.label_selector, options.field_selector)
        entries, listed = self._page(resource, namespace, selection, options)
        items = [entry.value for entry in entries]
        if resource.view is not None:
            items = [self.served(resource, value) for value in items]
        return Listed(items, *listed)

    def selected(
        self, resource: Resource, namespace: str, options: ReadOptions
    ) -> tuple[Sequence[Entry], int]:
        """Return the entries of one page, and the revision they were read at."""
        selection = parse_selection(resource, options.label_selector, options.field_selector)
        entries, (version, _, _) = self._page(resource, namespace, selection, options)
        return entries, int(version)

    def chosen(self, resource: Resource, namespace: str, selection: Selection) -> Sequence[Entry]:
        """Return the entries that are selected now."""
        pinned = self._pinned(resource, namespace, selection)
        if pinned is not None:
            return pinned
        prefix = resource.scope(namespace or selection.namespace)
        return self._walk(prefix, "", 0, selection, 0)[0]

    def _page(
        self,
        resource: Resource,
        namespace: str,
        selection: Selection,
        options: ReadOptions,
    ) -> tuple[Sequence[Entry], tuple[str, str, int | None]]:
        prefix = resource.scope(namespace or selection.namespace)
        after, revision = self._start(prefix, options)
        fast = self._pinned(resource, namespace, selection) if not (after or revision) else None
        if fast is not None:
            return fast, (str(self._store.revision), "", None)
        try:
            return self._walk(prefix, after, revision, selection, max(options.limit, 0))
        except Compacted as error:
            raise self._expired(after, prefix, options) from error
        except FutureRevision as error:
            raise too_large(error.asked, error.current) from error

    def _pinned(
        self, resource: Resource, namespace: str, selection: Selection
    ) -> Sequence[Entry] | None:
        """Answer a selection by name with one look-up, where the namespace is known."""
        namespace = namespace or selection.namespace
        if not selection.name or (resource.namespaced and not namespace):
            return None
        entry = self._store.get(resource.key(namespace, selection.name))
        if entry is None or not selection.selects_key(*name_of(entry.key)):
            return ()
        chosen = not selection.needs_object or selection.selects_value(entry.value)
        return (entry,) if chosen else ()

    def _start(self, prefix: str, options: ReadOptions) -> tuple[str, int]:
        """Return the key to start behind and the revision to read at (0: now)."""
        if options.continue_token:
            if options.resource_version not in ("", "0"):
                raise BadRequest("specifying resource version is not allowed when using continue")
            found = parse_continuation(options.continue_token)
            return prefix + found.start, max(found.rv, 0)
        asked = parse_revision(options.resource_version)
        if asked > self._store.revision:
            raise too_large(asked, self._store.revision)
        exact = options.resource_version_match == EXACT or (
            # Before the parameter existed, a limit together with a version meant just that version.
            options.limit > 0 and asked > 0 and not options.resource_version_match
        )
        return "", asked if exact else 0

    def _walk(
        self, prefix: str, after: str, revision: int, selection: Selection, limit: int
    ) -> tuple[Sequence[Entry], tuple[str, str, int | None]]:
        if selection.is_everything:
            page = self._store.list(prefix, after=after, limit=limit, revision=revision)
            more = bool(limit) and page.remaining > 0
            token = self._token(prefix, page.entries[-1].key, page.revision) if more else ""
            return page.entries, (str(page.revision), token, page.remaining if more else None)
        return self._filter(prefix, after, revision, selection, limit)

    def _filter(
        self, prefix: str, after: str, revision: int, selection: Selection, limit: int
    ) -> tuple[Sequence[Entry], tuple[str, str, int | None]]:
        page = self._store.list(prefix, after=after, revision=revision)
        chosen: list[Entry] = []
        for entry in selection.candidates(page.entries):
            if not selects(selection, entry):
                continue
            if limit and len(chosen) == limit:
                token = self._token(prefix, chosen[-1].key, page.revision)
                return chosen, (str(page.revision), token, None)
            chosen.append(entry)
        return chosen, (str(page.revision), "", None)

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


def selects(selection: Selection, entry: Entry) -> bool:
    """Decide whether an entry is selected, decoding it only where that is needed."""
    if (selection.name or selection.namespace) and not selection.selects_key(*name_of(entry.key)):
        return False
    return not selection.needs_object or selection.selects_value(entry.value)
