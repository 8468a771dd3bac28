"""The `managedFields` of an object: which manager owns which field, updated with every write.

Call `track` after defaulting and before admission and allocation, as Kubernetes does, so that no manager owns the
fields that the server sets later.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from kubelite.api.machinery.field_sets import (
    FieldSet,
    created,
    cut,
    difference,
    find_error,
    in_order,
    intersection,
    union,
    union_of,
    without,
)
from kubelite.api.machinery.schema import Schema

JSON = dict[str, Any]

UPDATE, APPLY = "Update", "Apply"
UPDATE_MANAGERS_LIMIT = 10
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"
NAME_LIMIT = 128

# Fields that the server owns, so no manager may own them.
_IDENTITY: FieldSet = {"f:apiVersion": {}, "f:kind": {}}
_SERVER_METADATA: FieldSet = {
    f"f:{name}": {}
    for name in (
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    )
}
STRIPPED: FieldSet = {**_IDENTITY, "f:metadata": _SERVER_METADATA}

# Fields that a write to the main resource, or to its status, does not change.
RESET_MAIN: FieldSet = {"f:status": {}}
RESET_STATUS: FieldSet = {
    "f:spec": {},
    "f:metadata": {"f:deletionTimestamp": {}, "f:ownerReferences": {}},
}
RESET_NOTHING: FieldSet = {"f:.": {}}


class Entry(Struct, frozen=True):
    """One entry of managedFields: a manager, its operation and its fields."""

    manager: str
    operation: str
    api_version: str
    fields: FieldSet | None
    time: str = ""
    subresource: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        """Return the values that identify a manager; for an applier the version does not count."""
        version = "" if self.operation == APPLY else self.api_version
        return (self.manager, self.operation, version, self.subresource)

    def to_wire(self) -> JSON:
        """Return the ManagedFieldsEntry as JSON."""
        entry: JSON = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": in_order(self.fields or {}),
            "subresource": self.subresource,
        }
        for name in ("manager", "time", "subresource"):
            if not entry[name]:
                del entry[name]
        return entry


class Writer(Struct, frozen=True):
    """A write's manager, version, subresource and time (RFC 3339)."""

    manager: str
    api_version: str
    time: str
    subresource: str = ""
    reset: FieldSet = field(default_factory=lambda: RESET_MAIN)
    converts: bool = (
        False  # another server converts: entries of other versions are settled by `other_versions`
    )

    def reaches(self, entry: Entry) -> bool:
        """Return whether the fields of an entry are those of this write's version."""
        return not self.converts or entry.api_version == self.api_version

    def entry(self, operation: str, fields: FieldSet | None) -> Entry:
        """Return the writer's own entry with these fields."""
        return Entry(self.manager, operation, self.api_version, fields, self.time, self.subresource)


def read_entries(raw: Any) -> list[Entry] | None:
    """Parse managedFields; None if they are absent or malformed."""
    if not isinstance(raw, list) or not raw:
        return None
    entries = []
    for entry in raw:
        if not isinstance(entry, dict) or find_shape_error(entry):
            return None
        entries.append(
            Entry(
                entry.get("manager") or "",
                entry.get("operation") or UPDATE,
                entry.get("apiVersion") or "",
                entry.get("fieldsV1") or None,
                entry.get("time") or "",
                entry.get("subresource") or "",
            )
        )
    return entries


def find_shape_error(entry: JSON) -> str:
    """Return what is malformed in an entry; "" if nothing is."""
    if entry.get("operation") not in (APPLY, UPDATE):
        return "operation must be Apply or Update"
    fields = entry.get("fieldsV1")
    return find_error(fields) if fields else ""


def _is_reset(raw: Any) -> bool:
    """Return whether a client sent one empty entry, which resets all managers."""
    return isinstance(raw, list) and len(raw) == 1 and raw[0] == {}


def track(schema: Schema, old: JSON | None, new: JSON, writer: Writer) -> bool:
    """Set `managedFields` of `new` for a create (`old` None) or update; return whether any manager's fields changed."""
    if old is None:
        return _track_creation(schema, new, writer)
    metadata = new.setdefault("metadata", {})
    kept = old.get("metadata", {}).get("managedFields")
    entries = read_entries(kept) or []
    sent = metadata.get("managedFields")
    if not writer.subresource and sent is not kept and sent != kept:
        if _is_reset(sent):
            metadata.pop("managedFields")
            return True
        entries = read_entries(sent) or entries
        kept = None
    if not entries:
        # Tracking was dropped for this object, so it starts again with the next apply.
        metadata.pop("managedFields", None)
        return False
    found = difference(old, new, schema)
    changed = _owned(found.changed, writer)
    removed = cut(found.removed, {"f:metadata": {"f:managedFields": {}}})
    updated = release(entries, changed, removed, reaches=writer.reaches)
    if changed is not None:
        updated = _take(updated, changed, writer)
    if kept is not None and updated == entries:
        metadata["managedFields"] = kept
        return False
    write_entries(metadata, updated)
    return True


def _track_creation(schema: Schema, new: JSON, writer: Writer) -> bool:
    metadata = new.setdefault("metadata", {})
    sent = metadata.pop("managedFields", None)
    if _is_reset(sent):
        return False
    fields = _owned(created(new, schema, held=True), writer)
    entries = read_entries(sent) or []
    if fields is not None:
        entries = _take(release(entries, fields, None), fields, writer)
    write_entries(metadata, entries)
    return bool(entries)


def _owned(fields: FieldSet | None, writer: Writer) -> FieldSet | None:
    """Return the set without the server's fields and those that this kind of write cannot change."""
    if fields is None:
        return None
    kept = {name: part for name, part in fields.items() if name not in _IDENTITY}
    if (metadata := kept.get("f:metadata")) is not None:
        rest = {name: part for name, part in metadata.items() if name not in _SERVER_METADATA}
        if rest:
            kept["f:metadata"] = rest
        else:
            del kept["f:metadata"]
    return cut(kept, writer.reset) if kept else None


def owned_by_config(fields: FieldSet | None, writer: Writer) -> FieldSet | None:
    """Return an applied set without the fields that no manager may own."""
    return _owned(fields, writer)


def release(
    entries: Iterable[Entry],
    changed: FieldSet | None,
    removed: FieldSet | None,
    keep: tuple[str, ...] = (),
    reaches: Callable[[Entry], bool] = lambda _: True,
) -> list[Entry]:
    """Return the entries without changed and removed fields; entries left empty are dropped.

    The one of `keep`, and those that the write does not reach, stay as they are.
    """
    rest = []
    for entry in entries:
        if entry.identity == keep or not reaches(entry):
            rest.append(entry)
            continue
        fields = entry.fields
        if changed is not None and intersection(fields, changed) is not None:
            fields = without(fields, changed)
        if removed is not None:
            fields = cut(fields, removed)
        if fields is entry.fields:
            rest.append(entry)
        elif fields is not None:
            rest.append(entry if fields == entry.fields else replace(entry, fields=fields))
    return rest


def _take(entries: list[Entry], fields: FieldSet, writer: Writer) -> list[Entry]:
    own = writer.entry(UPDATE, fields)
    for index, entry in enumerate(entries):
        if entry.identity == own.identity:
            entries[index] = replace(own, fields=union(entry.fields, fields))
            return entries
    entries.append(own)
    return _capped(entries)


def _capped(entries: list[Entry]) -> list[Entry]:
    """Merge the oldest updaters into one entry per version if there are more than UPDATE_MANAGERS_LIMIT."""
    surplus = sum(each.operation == UPDATE for each in entries) - UPDATE_MANAGERS_LIMIT
    if surplus <= 0:
        return entries
    updaters = sorted(
        (each for each in entries if each.operation == UPDATE and not each.subresource),
        key=lambda each: each.time,
    )
    first: dict[str, Entry] = {}
    buckets: dict[str, Entry] = {
        each.api_version: each for each in updaters if each.manager == ANCIENT
    }
    folded: dict[str, list[FieldSet | None]] = {}
    gone: set[tuple[str, ...]] = set()
    for entry in updaters:
        if surplus <= 0:
            break
        if entry.manager == ANCIENT:
            continue
        version = entry.api_version
        bucket = buckets.get(version)
        if bucket is None:
            if version not in first:
                first[version] = entry
                continue
            bucket = replace(first[version], manager=ANCIENT)
            gone.add(first[version].identity)
        gone |= {entry.identity, bucket.identity}
        folded.setdefault(version, []).append(entry.fields)
        buckets[version] = replace(bucket, time=entry.time)
        surplus -= 1
    kept = [each for each in entries if each.identity not in gone]
    return kept + [
        replace(buckets[version], fields=union_of((buckets[version].fields, *sets)))
        for version, sets in folded.items()
    ]


def write_entries(metadata: JSON, entries: list[Entry]) -> None:
    """Write the entries into the metadata: appliers first, then by time and name."""
    if not entries:
        metadata.pop("managedFields", None)
        return
    if len(entries) > 1:
        entries = sorted(
            entries,
            key=lambda each: (each.operation, each.time, each.manager, each.api_version),
        )
    metadata["managedFields"] = [entry.to_wire() for entry in entries]


def keep_times(old: JSON, new: JSON) -> None:
    """If a write changed only times of managers, restore the old times, so that it changes nothing."""
    before = old.get("metadata", {}).get("managedFields") or []
    after = new.get("metadata", {}).get("managedFields") or []
    if before == after or len(before) != len(after):
        return

    def timeless(entries: list[JSON]) -> list[JSON]:
        return [{name: entry[name] for name in entry if name != "time"} for entry in entries]

    if timeless(before) != timeless(after):
        return
    metadata = {**new["metadata"], "managedFields": before}
    if {**old, "metadata": {**old["metadata"], "managedFields": before}} == {
        **new,
        "metadata": metadata,
    }:
        new["metadata"] = metadata
