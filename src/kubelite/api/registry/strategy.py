# ruff: noqa: ARG002 - the hooks of the generic strategy ignore what those of a kind need
"""The write hooks of a kind, with the generic behaviour.

A strategy decides and changes dicts; it never waits and never touches the store.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct

from kubelite.api.auth.caller import Caller
from kubelite.api.registry.allocation import Allocator
from kubelite.api.registry.options import DeletionOptions
from kubelite.api.registry.reservation import Reservation
from kubelite.randomness import Randomness

# Subresources ("": the object itself) whose writes count the generation. A binding does not change the desired state.
COUNTED_PARTS = frozenset({"", "scale", "resize", "ephemeralcontainers"})


class WriteContext(Struct, frozen=True):
    """The caller, the date and the sources of randomness and addresses of one write."""

    caller: Caller
    now: datetime
    randomness: Randomness
    dry_run: bool = False
    addresses: Allocator | None = None  # None: Services get none (tests of other things)
    warnings: list[str] = []  # about what the strategy changes, which it adds


class Conduct(Struct, frozen=True, kw_only=True):
    """The facts about a kind that the generic behaviour depends on."""

    has_status: bool = False  # status is a subresource, so other writes do not change it
    counts_generation: bool = False  # metadata.generation counts changes of the desired state
    created_by_update: bool = False  # a PUT on a name that does not exist creates the object
    conditional: bool = False  # an update must name the resource version that it is based on
    answered_whole: bool = False  # an immediate deletion answers the object instead of a Status
    default_orphan: bool = False  # dependents are orphaned unless the deletion says otherwise
    orphan_warning: str = ""  # warning for a deletion without a propagation policy
    collected: bool = True  # takes part in garbage collection, so deletion may add its finalizers
    status_keeps_labels: bool = False  # a status write cannot change labels
    created_with_status: bool = False  # a create keeps the status of its body


ORDINARY = Conduct()


class Strategy:
    """The generic behaviour; a kind with behaviour of its own overrides hooks."""

    def __init__(self, conduct: Conduct = ORDINARY) -> None:
        self.conduct = conduct

    def prepare_create(self, item: dict[str, Any], context: WriteContext) -> None:
        """Set the first generation and drop the status, which a client cannot set by a create."""
        if self.conduct.counts_generation:
            item["metadata"]["generation"] = 1
        else:
            item["metadata"].pop("generation", None)
        if self.conduct.has_status and not self.conduct.created_with_status:
            item.pop("status", None)

    def prepare_update(
        self,
        item: dict[str, Any],
        old: dict[str, Any],
        subresource: str,
        context: WriteContext,
    ) -> None:
        """Restore from `old` the parts that this path does not write, and count the generation."""
        if (
            subresource and subresource != "scale"
        ):  # the scale is merged into the whole object already
            self.prepare_part(item, old, subresource, context)
        elif self.conduct.has_status:
            keep(item, old, "status")
        if subresource in COUNTED_PARTS:
            self.count(item, old)

    def prepare_part(
        self,
        item: dict[str, Any],
        old: dict[str, Any],
        subresource: str,
        context: WriteContext,
    ) -> None:
        """Restore from `old` all but the part that the subresource writes; by default the status."""
        assert subresource == "status", f"{subresource} needs a strategy"
        for name in {*item, *old} - {"metadata", "status", "kind", "apiVersion"}:
            keep(item, old, name)
        if self.conduct.status_keeps_labels:
            keep(item["metadata"], old["metadata"], "labels")

    def count(self, item: dict[str, Any], old: dict[str, Any]) -> None:
        """Increment the generation if the desired state changed."""
        if self.conduct.counts_generation and wanted(item) != wanted(old):
            item["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def finish(
        self, item: dict[str, Any], old: dict[str, Any] | None, context: WriteContext
    ) -> None:
        """Complete an object after mutating admission and defaults, before validation."""

    def reserve(
        self, item: dict[str, Any], old: dict[str, Any] | None, context: WriteContext
    ) -> Reservation | None:
        """Allocate unique values (addresses, ports) into `item`; None: it needs none. `old` is None for a create."""
        return None

    def release(self, item: dict[str, Any], context: WriteContext) -> Reservation | None:
        """Return the reservation that frees the unique values of `item` when it is removed; None: it has none."""
        return None

    def grace(self, item: dict[str, Any], options: DeletionOptions) -> int | None:
        """Return the grace period of a deletion in seconds; None: this kind has none."""
        return None

    def begin_deletion(self, item: dict[str, Any], now: datetime) -> bool:
        """Mark an object that is deleted for the first time, if the kind does it itself; return whether it did."""
        return False

    def holds(self, item: dict[str, Any]) -> bool:
        """Return whether the kind itself, beside metadata.finalizers, keeps the object from being removed."""
        return False

    def mark_deleted(self, item: dict[str, Any]) -> None:
        """Change the object to show that its deletion began, such as a phase."""


def keep(item: dict[str, Any], old: dict[str, Any], name: str) -> None:
    """Restore a field from `old`, or remove it if `old` lacks it."""
    if name in old:
        item[name] = old[name]
    else:
        item.pop(name, None)


_NOT_WANTED = frozenset({"metadata", "status", "kind", "apiVersion"})


def wanted(item: dict[str, Any]) -> dict[str, Any]:
    """Return the desired state of an object: all fields but metadata, status and its type."""
    return {name: value for name, value in item.items() if name not in _NOT_WANTED}
