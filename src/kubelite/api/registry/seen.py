"""A change with what has been decoded of it, shared by all groups of watches."""

from typing import Any

from kubelite.api.registry.objects import decode, encode, name_of
from kubelite.api.registry.resource import View
from kubelite.api.registry.selection import Selection, labels_of
from kubelite.store.protocol import Change

Labels = dict[str, str]


class State:
    """An object before or after a change, decoded lazily and once."""

    __slots__ = ("_item", "_labels", "_viewed", "value")

    def __init__(self, value: bytes) -> None:
        self.value = value
        self._item: dict[str, Any] | None = None
        self._labels: Labels | None = None
        self._viewed: dict[int, dict[str, Any]] = {}

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

    def viewed(self, view: View | None) -> dict[str, Any]:
        """Return the object in the version that a view serves; the caller must not change it."""
        if view is None:
            return self.item()
        key = id(view)
        if key not in self._viewed:
            self._viewed[key] = view.read(dict(self.item()))
        return self._viewed[key]

    def is_selected(self, selection: Selection) -> bool:
        """Return whether labels and fields match; name and namespace are not compared."""
        if not selection.labels.is_everything and not selection.labels.matches(self.labels()):
            return False
        fields = selection.fields
        return fields is None or fields.matches(self.viewed(selection.view))

    def served(self, view: View | None) -> bytes:
        """Return the bytes in the version that a view serves."""
        return self.value if view is None else encode(self.viewed(view))


class Seen:
    """One change, with its states before and after."""

    __slots__ = ("after", "before", "change", "name", "namespace", "values")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.namespace, self.name = name_of(change.key)
        self.after = State(change.value)  # the new state, or the last one of a deleted object
        self.before = None if change.previous is None else State(change.previous)
        self.values: dict[tuple[int, str], bytes] = {}  # served bytes by view and state

    @property
    def size_bytes(self) -> int:
        """The bytes of the values it holds."""
        return len(self.change.value) + len(self.change.previous or b"")
