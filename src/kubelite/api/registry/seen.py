"""A change with what has been decoded of it, shared by all groups of watches."""

from collections.abc import Sequence
from typing import Any

from kubelite.api.registry.conversion import Conversion
from kubelite.api.registry.objects import decode, encode, name_of, revision_of
from kubelite.api.registry.selection import Selection, labels_of
from kubelite.store.protocol import Change

Labels = dict[str, str]


class State:
    """An object before or after a change, decoded lazily and once."""

    __slots__ = ("_converted", "_item", "_labels", "value")

    def __init__(self, value: bytes) -> None:
        self.value = value
        self._item: dict[str, Any] | None = None
        self._labels: Labels | None = None
        self._converted: dict[int, dict[str, Any]] = {}  # by the id of the conversion

    def item(self) -> dict[str, Any]:
        """Return the decoded object; the caller must not change it."""
        if self._item is None:
            self._item = decode.decode(self.value)
        return self._item

    def labels(self) -> Labels:
        """Return the labels; the caller must not change them."""
        if self._labels is None:
            self._labels = labels_of(self.value)
        return self._labels

    def converted(self, conversion: Conversion | None) -> dict[str, Any]:
        """Return the object as a row with this conversion serves it; the caller must not change it."""
        if conversion is None or not conversion.is_needed(revision_of(self.value)):
            return self.item()
        key = id(conversion)
        if key not in self._converted:
            self._converted[key] = conversion.read(decode.decode(self.value))
        return self._converted[key]

    def keep(self, conversion: Conversion, served: dict[str, Any]) -> None:
        """Keep what another server made of the object."""
        self._converted[id(conversion)] = served

    def is_selected(self, selection: Selection, conversion: Conversion | None) -> bool:
        """Return whether labels and fields match; name and namespace are not compared."""
        if not selection.labels.is_everything:
            labels = (
                self.converted(conversion)["metadata"].get("labels")
                if selection.is_prepared
                else self.labels()
            )
            if not selection.labels.matches(labels):
                return False
        fields = selection.fields
        return fields is None or fields.matches(self.converted(conversion))

    def served(self, conversion: Conversion | None) -> bytes:
        """Return the bytes as a row with this conversion serves them."""
        if conversion is None or not conversion.is_needed(revision_of(self.value)):
            return self.value
        return encode(self.converted(conversion))


class Seen:
    """One change, with its states before and after."""

    __slots__ = ("after", "before", "change", "name", "namespace", "values")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.namespace, self.name = name_of(change.key)
        self.after = State(change.value)  # the new or, of a deletion, the last one
        self.before = None if change.previous is None else State(change.previous)
        self.values: dict[tuple[int, str], bytes] = {}  # served bytes by conversion and state

    @property
    def size_bytes(self) -> int:
        """The bytes of the values it holds."""
        return len(self.change.value) + len(self.change.previous or b"")

    def states(self) -> tuple[State, ...]:
        """Return the states that it has."""
        return (self.after,) if self.before is None else (self.before, self.after)


async def convert_ahead(conversion: Conversion, changes: Sequence[Seen]) -> None:
    """Have another server convert the states of changes, all in one call; raises InternalError."""
    states = [
        state
        for seen in changes
        for state in seen.states()
        if conversion.is_needed(revision_of(state.value))
    ]
    if states:
        served = await conversion.read_all([decode.decode(state.value) for state in states])
        for state, item in zip(states, served, strict=True):
            state.keep(conversion, item)
