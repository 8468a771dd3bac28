"""Server-side apply: merge a configuration into an object, and take or contest the ownership of its fields.

Follows Kubernetes' structured merge: an applier owns exactly what its last configuration named; what it no longer names
and nobody else owns is removed; what others own and it changes is a conflict unless forced.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NoReturn

import msgspec

from kubelite.api.errors import BadRequest, Cause, Conflict
from kubelite.api.machinery.causes import Causes, TooManyCauses, quoted
from kubelite.api.machinery.field_sets import (
    MEMBER,
    FieldSet,
    KeyMissing,
    applied,
    child_schema,
    count,
    difference,
    element_key,
    indexed,
    intersection,
    is_granular,
    is_keyed,
    is_member,
    paths,
    union_of,
    without,
)
from kubelite.api.machinery.managed_fields import (
    APPLY,
    BEFORE_FIRST_APPLY,
    UPDATE,
    Entry,
    Writer,
    owned_by_config,
    read_entries,
    release,
    track,
    write_entries,
)
from kubelite.api.machinery.schema import Schema
from kubelite.limits import CAUSES, CAUSES_TEXT

JSON = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_copy_of = msgspec.json.Decoder().decode
_encode = msgspec.json.encode


def apply(
    schema: Schema, live: JSON | None, config: JSON, writer: Writer, *, force: bool = False
) -> JSON:
    """Return the live object with the configuration applied, `managedFields` included; `live` is not changed.

    The result is neither pruned nor defaulted nor validated. Where nothing changed it equals the live object.

    Raises:
        BadRequest: The configuration tells managedFields, another version, or list elements without their keys.
        Conflict: Others own fields that the configuration changes; there is a cause for each.
    """
    config = _checked(config, writer)
    base = _copy(live) if live is not None else {}
    entries = _entries_before(schema, base, writer)
    try:
        named = applied(config, schema)
        fields = owned_by_config(named, writer)
        merged: JSON = _merged(base, config, schema)
    except KeyMissing as error:
        _refuse(config, error)
    own = writer.entry(APPLY, fields)
    last = next((entry for entry in entries if entry.identity == own.identity), None)
    others = [entry for entry in entries if entry is not last]
    if last is not None and last.fields:
        # The name and the like belong to nobody, but they are not to go.
        kept = union_of((named, *(entry.fields for entry in others)))
        _prune(merged, last.fields, kept or {}, schema)
    found = difference(base, merged, schema)
    changed = owned_by_config(found.changed, writer)
    if not force:
        _contest(others, changed, _excused(schema, base, writer))
    others = release(others, changed, found.removed)
    if last is not None and last.fields == fields and changed is None and found.removed is None:
        own = last
    if own.fields is not None:
        others.append(own)
    if _excusable(base, writer):
        annotations = merged.setdefault("metadata", {}).setdefault("annotations", {})
        annotations[LAST_APPLIED] = _encode(config).decode() + "\n"
    write_entries(merged.setdefault("metadata", {}), others)
    return merged


def _copy(value: JSON) -> JSON:
    copied: JSON = _copy_of(_encode(value))
    return copied


def _refuse(config: JSON, error: KeyMissing) -> NoReturn:
    metadata = config.get("metadata") or {}
    name = "/".join(part for part in (metadata.get("namespace"), metadata.get("name")) if part)
    raise BadRequest(
        f"failed to create typed patch object ({name}; {config.get('apiVersion')}, "
        f"Kind={config.get('kind')}): {error}"
    ) from error


def _checked(config: JSON, writer: Writer) -> JSON:
    if (config.get("metadata") or {}).get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    version = config.get("apiVersion", "")
    if version != writer.api_version:
        raise BadRequest(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {version}, expected: {writer.api_version}"
        )
    cleaned: JSON = _without_nulls(config)
    return cleaned


def _without_nulls(value: Any) -> Any:
    """Copy a configuration without nulls, which claim nothing."""
    if isinstance(value, dict):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child) for child in value]
    return value


def _entries_before(schema: Schema, base: JSON, writer: Writer) -> list[Entry]:
    """Read who owned what; an object without any record was written before its first apply."""
    entries = read_entries((base.get("metadata") or {}).get("managedFields"))
    if entries is None and base:
        earlier = Writer(BEFORE_FIRST_APPLY, writer.api_version, writer.time, reset=writer.reset)
        untracked = _copy(base)
        track(schema, None, untracked, earlier)
        entries = read_entries(untracked["metadata"].get("managedFields"))
    return entries or []


def _merged(live: Any, config: Any, schema: Schema) -> Any:
    """Lay the configuration over the live value; the live value itself is left as it is."""
    if isinstance(config, dict) and isinstance(live, dict) and is_granular(schema, config):
        merged = dict(live)
        for name, value in config.items():
            if name in live:
                merged[name] = _merged(live[name], value, child_schema(schema, name))
            else:
                merged[name] = value
        return merged
    if isinstance(config, list) and isinstance(live, list) and is_keyed(schema):
        return _merged_list(live, config, schema)
    return config


def _merged_list(live: list[Any], config: list[Any], schema: Schema) -> list[Any]:
    """Merge lists by key: the configuration's order rules, the others stay beside their neighbours."""
    before, after = indexed(schema, live), indexed(schema, config)
    inner = schema.items
    merged: list[Any] = []
    done: set[str] = set()
    at_config = 0
    order = list(after)
    keys = list(before)
    at_live = 0
    while at_live < len(keys) or at_config < len(order):
        key = keys[at_live] if at_live < len(keys) else None
        if key is not None and (key not in after or key in done):
            if key not in done:
                merged.append(before[key])
            at_live += 1
            continue
        if at_config >= len(order):
            break
        wanted = order[at_config]
        value = after[wanted]
        if wanted in before and inner is not None:
            value = _merged(before[wanted], value, inner)
        merged.append(value)
        done.add(wanted)
        at_config += 1
    return merged


def _prune(value: JSON, last: FieldSet, owned: FieldSet, schema: Schema) -> None:
    """Remove what the applier named last time and neither it nor anybody else names now."""
    for element, node in last.items():
        if element == MEMBER or not element.startswith("f:"):
            continue
        name = element[2:]
        if name not in value:
            continue
        other = owned.get(element)
        if name in schema.fields:
            gone = other is None
        else:
            gone = is_member(node) and not (other is not None and is_member(other))
        if gone:
            del value[name]
        elif node:
            inner = child_schema(schema, name)
            value[name] = _pruned(value[name], node, other or {}, inner)
            if not value[name] and not inner.always:
                del value[name]


def _pruned(value: Any, last: FieldSet, owned: FieldSet, schema: Schema) -> Any:
    if isinstance(value, dict):
        # A record made when the value's parts were owned one by one says nothing about one owned as a whole.
        if not is_granular(schema, value):
            return value
        value = dict(value)
        _prune(value, last, owned, schema)
        return value
    if not isinstance(value, list) or not is_keyed(schema):
        return value
    kept = []
    for item in value:
        element = element_key(schema, item)
        node, other = last.get(element), owned.get(element)
        if node is None:
            kept.append(item)
        elif not is_member(node) or (other is not None and is_member(other)):
            inner = schema.items
            kept.append(_pruned(item, node, other or {}, inner) if inner and node else item)
    return kept


def _excusable(base: JSON, writer: Writer) -> bool:
    """Whether the object comes from kubectl's client-side apply, which kubectl may take over."""
    annotations = (base.get("metadata") or {}).get("annotations") or {}
    return writer.manager == "kubectl" and not writer.subresource and LAST_APPLIED in annotations


def _excused(schema: Schema, base: JSON, writer: Writer) -> FieldSet | None:
    """Return the fields that client-side apply wrote and that kubectl may therefore change."""
    if not _excusable(base, writer):
        return None
    try:
        last: Any = msgspec.json.decode(base["metadata"]["annotations"][LAST_APPLIED])
        if not isinstance(last, dict) or last.get("apiVersion") != writer.api_version:
            return None
        fields = applied(_without_nulls(last), schema)
        drifted = difference(last, base, schema)
    except (msgspec.DecodeError, KeyMissing):
        return None
    return without(fields, drifted.changed)


def _contest(others: list[Entry], changed: FieldSet | None, excused: FieldSet | None) -> None:
    """Refuse the apply where others own what it changes."""
    total = 0
    causes = Causes()
    for entry in sorted(others, key=_described):
        contested = without(intersection(entry.fields, changed), excused)
        if contested is None:
            continue
        total += count(contested)
        with suppress(TooManyCauses):
            found = [
                Cause(path, "FieldManagerConflict", f"conflict with {_described(entry)}")
                for path in _some(contested)
            ]
            causes.extend(sorted(found, key=lambda cause: cause.path))
    if total:
        raise Conflict(_message(causes, total), causes=causes)


def _some(contested: FieldSet) -> Iterator[str]:
    """Yield paths, no more of them than one answer takes."""
    left = CAUSES_TEXT.value
    for path in islice(paths(contested), CAUSES.value):
        yield path
        left -= len(path)
        if left < 0:
            return


def _message(causes: Sequence[Cause], total: int) -> str:
    """Say who owns which of the contested fields, of which only some may be among the causes."""
    if total == 1:
        return f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].path}"
    lines, current = [], ""
    for cause in causes:
        if cause.message != current:
            current = cause.message
            lines.append(f"conflicts{current.removeprefix('conflict')}:")
        lines.append(f"- {cause.path}")
    if total > len(causes):
        lines.append(f"and {total - len(causes)} more")
    return f"Apply failed with {total} conflicts: " + "\n".join(lines)


def _described(entry: Entry) -> str:
    text = quoted(entry.manager)
    if entry.subresource:
        text += f" with subresource {quoted(entry.subresource)}"
    if entry.operation == UPDATE:
        text += f" using {entry.api_version}"
    return text
