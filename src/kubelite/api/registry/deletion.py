"""Decides what a deletion does to an object: nothing yet, a deletion timestamp, or its removal.

Finalizers keep an object until they are removed. A grace period gives the component that runs the object (the kubelet,
for pods) time to finish. The propagation policy becomes a finalizer that the garbage collector removes.
"""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from kubelite.api.errors import Conflict
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.api.registry.options import DeletionOptions
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.strategy import Strategy

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


class Removal(Struct, frozen=True):
    """The decision: write `item` (None: leave the object as it is), or remove it from the store."""

    item: dict[str, Any] | None
    remove: bool


PENDING = Removal(None, remove=False)  # its deletion has begun already


def check_preconditions(resource: Resource, item: dict[str, Any], options: DeletionOptions) -> None:
    """Raise Conflict if the object has another uid or resource version than the preconditions."""
    metadata = item["metadata"]
    name, uid, version = metadata["name"], metadata.get("uid", ""), metadata["resourceVersion"]
    text = ""
    if options.uid and options.uid != uid:
        text = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated"
        )
    elif options.resource_version and options.resource_version != version:
        text = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match "
            f"the ResourceVersion in record ({version}). The object might have been modified"
        )
    if text:
        kind = resource.kind
        named = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
        raise Conflict(
            f'Operation cannot be fulfilled on {named} "{name}": {text}',
            group=kind.group,
            kind=kind.kind,
            name=name,
        )


def conflict(resource: Resource, name: str, reason: str) -> Conflict:
    """Return the Conflict error for `reason`, worded as in Kubernetes."""
    return Conflict(
        f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {reason}',
        group=resource.group,
        kind=resource.plural,
        name=name,
    )


def removal_of(
    strategy: Strategy, item: dict[str, Any], options: DeletionOptions, now: datetime
) -> Removal:
    """Return what to do with `item`, which is changed in place."""
    metadata = item["metadata"]
    if metadata.get("deletionTimestamp") is None and strategy.begin_deletion(item, now):
        return Removal(item, remove=False)
    graceful, pending = _be_graceful(strategy, item, options, now)
    if pending:
        return PENDING
    changed = _propagate(strategy, metadata, options)
    held = bool(metadata.get("finalizers")) or strategy.holds(item)
    if not graceful:
        if not held:
            return Removal(item, remove=True)
        marked = _mark(metadata, now)
        strategy.mark_deleted(item)
        return Removal(item, remove=False) if marked or changed else PENDING
    strategy.mark_deleted(item)
    if held or metadata["deletionGracePeriodSeconds"] > 0:
        return Removal(item, remove=False)
    return Removal(item, remove=True)


def _be_graceful(
    strategy: Strategy, item: dict[str, Any], options: DeletionOptions, now: datetime
) -> tuple[bool, bool]:
    """Set deletion timestamp and grace period; return whether they were set, and whether a wait goes on unchanged."""
    metadata = item["metadata"]
    wanted = strategy.grace(item, options)
    if wanted is None:
        return False, False
    since = metadata.get("deletionTimestamp")
    if since is None:
        _stamp(metadata, now, wanted)
        _count(metadata)
        return True, False
    left = metadata.get("deletionGracePeriodSeconds") or 0
    if left <= 0:
        return False, False
    asked = options.grace_seconds
    if asked is None or asked >= left:
        return False, True  # a grace period can only be shortened
    end = parse_time(since) + timedelta(seconds=asked - left)
    if end < now.replace(microsecond=0):
        end, asked = now, min(asked, 1)
    metadata["deletionTimestamp"] = format_time(end)
    metadata["deletionGracePeriodSeconds"] = max(asked, 0)
    return True, False


def _stamp(metadata: dict[str, Any], now: datetime, seconds: int) -> None:
    metadata["deletionTimestamp"] = format_time(now + timedelta(seconds=seconds))
    metadata["deletionGracePeriodSeconds"] = seconds


def _mark(metadata: dict[str, Any], now: datetime) -> bool:
    """Set the deletion timestamp of an object without a grace period; return whether that changed it."""
    since = metadata.get("deletionTimestamp")
    if since is None:
        _count(metadata)
    elif metadata.get("deletionGracePeriodSeconds") == 0 and parse_time(since) <= now:
        return False
    if since is None or parse_time(since) > now:
        metadata["deletionTimestamp"] = format_time(now)
    metadata["deletionGracePeriodSeconds"] = 0
    return True


def _count(metadata: dict[str, Any]) -> None:
    if metadata.get("generation"):
        metadata["generation"] += 1


def _propagate(strategy: Strategy, metadata: dict[str, Any], options: DeletionOptions) -> bool:
    """Set the finalizer of the propagation policy; return whether that changed the object."""
    if not strategy.conduct.collected:
        return False
    before = metadata.get("finalizers") or []
    wanted = _collector_finalizer(strategy, before, options)
    after = [name for name in before if name not in (ORPHAN, FOREGROUND)]
    if wanted:
        after.append(wanted)
    if set(after) == set(before):
        return False
    metadata["finalizers"] = after
    if not after:
        del metadata["finalizers"]
    return True


def _collector_finalizer(strategy: Strategy, present: list[str], options: DeletionOptions) -> str:
    explicit = {"Orphan": ORPHAN, "Foreground": FOREGROUND, "Background": ""}
    if options.propagation:
        return explicit[options.propagation]
    for name in present:
        if name in (ORPHAN, FOREGROUND):
            return name
    return ORPHAN if strategy.conduct.default_orphan else ""


def ends(strategy: Strategy, item: dict[str, Any]) -> bool:
    """Return whether an object being deleted has no grace period, finalizer or hold left, so an update removes it."""
    metadata = item["metadata"]
    return (
        metadata.get("deletionTimestamp") is not None
        and not metadata.get("deletionGracePeriodSeconds")
        and not metadata.get("finalizers")
        and not strategy.holds(item)
    )
