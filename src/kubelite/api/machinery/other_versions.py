"""Managed fields of other versions than that of a write, where another server converts.

A manager owns fields of the version that it wrote. What a write at another version changes there, only the converted
object tells: a field may have moved.
"""

from collections.abc import Mapping
from typing import Any

from kubelite.api.machinery.apply import contest
from kubelite.api.machinery.field_sets import Difference, intersection
from kubelite.api.machinery.managed_fields import read_entries, release, write_entries

JSON = dict[str, Any]


def versions_of(metadata: JSON) -> set[str]:
    """Return the apiVersions that the managed fields of an object name."""
    return {entry.get("apiVersion") or "" for entry in metadata.get("managedFields") or ()}


def settle(metadata: JSON, differences: Mapping[str, Difference | None], *, contests: bool) -> None:
    """Take from managers of other versions, in place, what a write changes or removes at their version.

    `differences` maps an apiVersion to what the write does there; None: there is no such version any more.
    Raises Conflict if the write `contests` and managers own what it changes.
    """
    kept, contested = [], []
    for entry in read_entries(metadata.get("managedFields")) or ():
        if entry.api_version not in differences:
            kept.append(entry)
        elif (there := differences[entry.api_version]) is not None:
            contested.append((entry, intersection(entry.fields, there.changed)))
            kept += release([entry], there.changed, there.removed)
    if contests:
        contest(contested)
    write_entries(metadata, kept)
