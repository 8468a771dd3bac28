"""Warnings about custom resources."""

from collections.abc import Iterator

from kubelite.api.machinery import names
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.rules.values import JSON, items, part

STANDARD = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def unqualified_finalizers(thing: JSON, old: JSON | None = None) -> Iterator[str]:
    """Warn about new finalizers without a domain, of which two writers may mean different things."""
    known = set(items(part(old, "metadata"), "finalizers")) if old is not None else set()
    for name in sorted(set(items(part(thing, "metadata"), "finalizers")) - known):
        at = f"metadata.finalizers: {quoted(name)}: "
        yield from (at + finding for finding in names.qualified_name(name))
        if "/" not in name and name not in STANDARD:
            path = " including a path (/)" if "." in name else ""
            yield (
                f"{at}prefer a domain-qualified finalizer name{path} to avoid accidental conflicts "
                "with other finalizer writers"
            )
