"""Server-side apply: merges a configuration into an object and updates the ownership of its fields.

Follows Kubernetes' structured-merge-diff. An applier owns exactly the fields of its last configuration. A field that
it no longer names and that no other manager owns is removed. To change a field of another manager is a conflict,
unless forced.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NoReturn

import msgspec
from msgspec.structs import replace

from kubelite.api.errors import BadRequest, Cause, Conflict, PlainError
from kubelite.api.machinery.apply_typing import find_mistyped
from kubelite.api.machinery.causes import Causes, TooManyCauses, cut, quoted
from kubelite.api.machinery.field_sets import (
    MEMBER,
    FieldSet,
    KeyMissing,
    applied,
    child_schema,
    count,
    difference,
    element_key,
    intersection,
    is_granular,
    is_keyed,
    is_member,
    paths,
    union_of,
    without,
)
from kubelite.api.machinery.go_json import canonical_json
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
_ANY = Schema(type="any", preserve=True)


def apply(
    schema: Schema, live: JSON | None, config: JSON, writer: Writer, *, force: bool = False
) -> JSON:
    """Return the live object with the configuration applied, `managedFields` included; `live` is not changed.

    The result is not pruned, defaulted or validated. If nothing changed it equals the live object.

    Raises:
        BadRequest: The configuration has managedFields or another version.
        PlainError: The configuration does not fit its type.
        Conflict: Other managers own fields that the configuration changes; there is a cause for each, within the
        bounds of a response.
    """
    _check(schema, config, writer)
    config = _copy(config)  # parts of the copy become parts of the object
    base = _copy(live) if live is not None else {}
    entries = _entries_before(schema, base, writer)
    try:
        named = applied(config, schema)
        fields = owned_by_config(named, writer)
        merged: JSON = _merged(base, config, schema)
    except KeyMissing as error:  # raised for an element of the live object
        _refuse(config, [str(error)])
    own = writer.entry(APPLY, fields)
    last = next((entry for entry in entries if entry.identity == own.identity), None)
    others = [entry for entry in entries if entry is not last]
    if last is not None and last.fields:
        # No manager owns the identity of the object, so add it to what is kept.
        kept = union_of((named, *(entry.fields for entry in others)))
        _prune(merged, last.fields, kept or {}, schema)
    found = difference(base, merged, schema)
    changed = owned_by_config(found.changed, writer)
    if not force:
        excused = _excused(schema, base, writer)
        contest(
            (entry, without(intersection(entry.fields, changed), excused))
            for entry in others
            if writer.reaches(entry)
        )
    others = release(others, changed, found.removed, reaches=writer.reaches)
    if last is not None and last.fields == fields and changed is None and found.removed is None:
        own = last
    if merged == base:
        own = replace(
            own, time=last.time if last is not None else ""
        )  # an apply that sets nothing has no time
    if own.fields is not None:
        others.append(own)
    if _excusable(base, writer):
        annotations = merged.setdefault("metadata", {}).setdefault("annotations", {})
        annotations[LAST_APPLIED] = _as_applied(config)
    write_entries(merged.setdefault("metadata", {}), others)
    return merged


def _as_applied(config: JSON) -> str:
    """Encode a configuration for kubectl's last-applied annotation, without that annotation itself."""
    metadata = dict(config.get("metadata") or {})
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {
            name: value for name, value in annotations.items() if name != LAST_APPLIED
        }
    return canonical_json({**config, "metadata": metadata}).decode() + "\n"


def _copy(value: JSON) -> JSON:
    copied: JSON = _copy_of(_encode(value))
    return copied


def _refuse(config: JSON, problems: Sequence[str]) -> NoReturn:
    """Raise PlainError for a configuration, with its problems and the object's type and name."""
    metadata = config.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name, namespace = (_text(metadata.get(each)) for each in ("name", "namespace"))
    text = problems[0] if len(problems) == 1 else "errors:\n  " + "\n  ".join(problems)
    kind = type_named(config)
    raise PlainError(f"failed to create typed patch object ({namespace}/{name}; {kind}): {text}")


def _text(value: Any) -> str:
    return cut(value) if isinstance(value, str) else ""


def type_named(config: JSON) -> str:
    """Print the type that a configuration names: ``apps/v1, Kind=Deployment``; of the core group ``/v1, …``."""
    group, _, version = _text(config.get("apiVersion")).rpartition("/")
    return f"{group}/{version}, Kind={_text(config.get('kind'))}"


def _check(schema: Schema, config: JSON, writer: Writer) -> None:
    """Raise BadRequest for a configuration that can be applied to no object."""
    version = config.get("apiVersion", "")
    if version != writer.api_version:
        raise BadRequest(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {version}, expected: {writer.api_version}"
        )
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    check_config(schema, config)


def check_config(schema: Schema, config: JSON) -> None:
    """Raise PlainError for a configuration that does not fit its type, for example with unknown fields."""
    if problems := find_mistyped(schema, config):
        _refuse(config, problems)


def _entries_before(schema: Schema, base: JSON, writer: Writer) -> list[Entry]:
    """Read the managed fields; an object without any gets one entry for all that was written before its first apply."""
    entries = read_entries((base.get("metadata") or {}).get("managedFields"))
    if entries is None and base:
        earlier = Writer(BEFORE_FIRST_APPLY, writer.api_version, writer.time, reset=writer.reset)
        untracked = _copy(base)
        track(schema, None, untracked, earlier)
        entries = read_entries(untracked["metadata"].get("managedFields"))
    return entries or []


def _merged(live: Any, config: Any, schema: Schema) -> Any:
    """Return the configuration merged over the live value, which is not changed."""
    if isinstance(live, dict) and live and is_granular(schema, live):
        if config is None:
            return live
        if isinstance(config, dict):
            merged = dict(live)
            for name, value in config.items():
                if name in live:
                    merged[name] = _merged(live[name], value, child_schema(schema, name))
                else:
                    merged[name] = value
            return merged
    if isinstance(live, list) and live and is_keyed(schema):
        if config is None:
            return live
        if isinstance(config, list):
            return _merged_list(live, config, schema)
    return config


def _merged_list(live: list[Any], config: list[Any], schema: Schema) -> list[Any]:
    """Merge lists by key: in the configuration's order, with the other live elements beside their neighbours.

    Live elements with a duplicate key stay unchanged if the configuration does not name the key; else its one element
    replaces them.
    """
    keys, order = [[element_key(schema, item) for item in each] for each in (live, config)]
    wanted = dict(zip(order, config, strict=True))
    present: dict[str, Any] = {}
    for key, item in zip(keys, live, strict=True):
        present[key] = item if key not in present else None
    inner = schema.items or _ANY

    def laid_over(key: str) -> Any:
        before = present.get(key)
        return wanted[key] if before is None else _merged(before, wanted[key], inner)

    shared = iter([key for key in order if key in present])
    next_shared = next(shared, None)
    merged: list[Any] = []
    done: set[str] = set()
    at_live = at_config = 0
    while at_live < len(keys) or at_config < len(order):
        left = at_config < len(order)
        if at_live < len(keys):
            key = keys[at_live]
            if key not in wanted:
                merged.append(live[at_live])
                at_live += 1
                continue
            if left and key != order[at_config] and next_shared not in (None, key):
                at_live += 1  # the configuration puts another shared element first
                continue
            at_live += key in done or (left and key == order[at_config])
        if left:
            key = order[at_config]
            merged.append(laid_over(key))
            done.add(key)
            at_config += 1
            if key == next_shared:
                next_shared = next(shared, None)
    return merged


def _prune(value: JSON, last: FieldSet, owned: FieldSet, schema: Schema) -> None:
    """Remove the fields that the applier's last configuration named and that no manager owns now."""
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
        # The value is atomic now. An old record of its parts, from when it was granular, does not apply to it.
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
    """Return whether kubectl applies to an object of its own client-side apply, which it may take over."""
    annotations = (base.get("metadata") or {}).get("annotations") or {}
    return writer.manager == "kubectl" and not writer.subresource and LAST_APPLIED in annotations


def _excused(schema: Schema, base: JSON, writer: Writer) -> FieldSet | None:
    """Return the fields that kubectl's client-side apply wrote, which it may change without a conflict; or None."""
    if not _excusable(base, writer):
        return None
    try:
        last: Any = msgspec.json.decode(base["metadata"]["annotations"][LAST_APPLIED])
        if not isinstance(last, dict) or last.get("apiVersion") != writer.api_version:
            return None
        fields = applied(last, schema)
        drifted = difference(last, base, schema)
    except (msgspec.DecodeError, KeyMissing):
        return None
    return without(fields, drifted.changed)


def contest(others: Iterable[tuple[Entry, FieldSet | None]]) -> None:
    """Raise Conflict if other managers own fields that are to be changed, which are given with each entry."""
    total = 0
    causes = Causes()
    for entry, contested in sorted(others, key=lambda each: _described(each[0])):
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
    """Yield paths, at most as many as one response takes."""
    left = CAUSES_TEXT.value
    for path in islice(paths(contested), CAUSES.value):
        yield path
        left -= len(path)
        if left < 0:
            return


def _message(causes: Sequence[Cause], total: int) -> str:
    """Return the conflict's message: managers and their fields; `total` counts also those that are not in `causes`."""
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
