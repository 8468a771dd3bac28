"""Groups of watches that share frames, and the index of the groups that a change may concern."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from kubelite.api.errors import APIError
from kubelite.api.machinery.field_selectors import Reader
from kubelite.api.registry.objects import encode, with_revision
from kubelite.api.registry.reading import served_bytes
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.seen import Seen
from kubelite.api.registry.selection import Selection
from kubelite.api.registry.watch import Form
from kubelite.store.protocol import Entry

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

GroupKey = tuple[Any, ...]


class Frame(NamedTuple):
    """A change as a framed watch event."""

    revision: int
    key: str
    line: bytes


class Member(Protocol):
    """One watch of a group."""

    bookmarks: bool

    def hear(self, frames: Sequence[Frame], lines: Sequence[bytes]) -> None:
        """Receive changes; `lines` are the lines of all `frames`."""
        ...

    def mark(self, lines: Sequence[bytes], revision: int) -> None:
        """Receive a bookmark of `revision`."""
        ...

    def fail(self) -> None:
        """End because changes arrive faster than they can be delivered."""
        ...

    def expire(self, error: APIError | None) -> None:
        """End with an error; None: its resource is no longer served."""
        ...

    def end(self) -> None:
        """End because the row is no longer served."""
        ...


class Group:
    """The watches with the same resource, namespace, selection and form, which share frames."""

    def __init__(
        self,
        key: GroupKey,
        resource: Resource,
        selection: Selection,
        form: Form,
        *,
        is_prompt: bool = False,
    ) -> None:
        self.key = key
        self.resource = resource
        self.canonical = resource.canonical
        self.namespace: str = key[1]
        self.selection = selection
        self.form = form
        self.is_prompt = is_prompt  # delivered to in the call that makes a change visible
        self.members: dict[Member, None] = {}

    def event(self, seen: Seen) -> tuple[str, bytes] | None:
        """Return the event type and the served object of a change; None: the change is not selected.

        An object that stops being selected is DELETED, with its last selected state at the revision of the change.
        """
        change, selection, conversion = seen.change, self.selection, self.resource.conversion
        if self.namespace and self.namespace != seen.namespace:
            return None
        if not selection.selects_key(seen.namespace, seen.name):
            return None
        before = seen.before
        was, now = before is not None, not change.deleted
        if selection.needs_object:
            was = before is not None and before.is_selected(selection, conversion)
            now = now and seen.after.is_selected(selection, conversion)
        if now:
            return ("MODIFIED" if was else "ADDED"), self._served(seen, "now")
        if not was:
            return None
        return "DELETED", self._served(seen, "now" if change.deleted else "left")

    def _served(self, seen: Seen, state: str) -> bytes:
        """Return the object in the watched version, converted once for all groups."""
        key = (id(self.resource.conversion), state)
        if key not in seen.values:
            seen.values[key] = self._state_bytes(seen, state)
        return seen.values[key]

    def _state_bytes(self, seen: Seen, state: str) -> bytes:
        conversion = self.resource.conversion
        if state == "now":
            return seen.after.served(conversion)
        # It exists but is no longer selected: its last selected state, with the revision of the change.
        assert seen.before is not None
        return with_revision(seen.before.served(conversion), seen.change.revision)

    @property
    def waits(self) -> bool:
        """Whether another server converts what the watches get."""
        conversion = self.resource.conversion
        return conversion is not None and conversion.waits

    def added(self, entry: Entry) -> bytes:
        """Return the framed ADDED event of a prepared entry in the initial state of a watch."""
        value = entry.value if self.waits else served_bytes(self.resource, entry)
        return self.form.event("ADDED", value)

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        """Return a framed bookmark; `initial_end` annotates it as the end of the initial events."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        item = {
            "kind": self.resource.kind.kind,
            "apiVersion": self.resource.api_version,
            "metadata": metadata,
        }
        return self.form.event("BOOKMARK", encode(item))


class Groups:
    """An index of groups by the name, field or label that they require, so a change is not matched against all."""

    def __init__(self) -> None:
        self._loose: dict[GroupKey, Group] = {}  # matched against every change
        self._by_field: dict[str, tuple[Reader, dict[str, dict[GroupKey, Group]]]] = {}
        self._by_label: dict[tuple[str, str | None], dict[GroupKey, Group]] = {}
        self._by_name: dict[tuple[str, str], dict[GroupKey, Group]] = {}  # namespace and name

    def __bool__(self) -> bool:
        return bool(self._loose or self._by_field or self._by_label or self._by_name)

    def add(self, group: Group) -> None:
        """Add a group to the index."""
        pin, label = group.selection.pin, group.selection.label_pin
        if name := group.selection.name:
            self._by_name.setdefault((group.namespace, name), {})[group.key] = group
        elif pin is not None:
            _, values = self._by_field.setdefault(pin.field, (pin.read, {}))
            values.setdefault(pin.value, {})[group.key] = group
        elif label is not None:
            self._by_label.setdefault((label.key, label.value), {})[group.key] = group
        else:
            self._loose[group.key] = group

    def remove(self, group: Group) -> None:
        """Remove a group from the index."""
        pin, label = group.selection.pin, group.selection.label_pin
        if name := group.selection.name:
            _drop(self._by_name, (group.namespace, name), group)
        elif pin is not None:
            _, values = self._by_field[pin.field]
            _drop(values, pin.value, group)
            if not values:
                del self._by_field[pin.field]
        elif label is not None:
            _drop(self._by_label, (label.key, label.value), group)
        else:
            del self._loose[group.key]

    def interested(self, seen: Seen) -> Iterable[Group]:
        """Yield each group that a change may concern, once, in a deterministic order."""
        yield from self._loose.values()
        for namespace in {seen.namespace: None, "": None}:
            yield from self._by_name.get((namespace, seen.name), {}).values()
        states = [seen.after] if seen.before is None else [seen.before, seen.after]
        for read, values in self._by_field.values():
            for text in sorted({read(state.item()) for state in states}):
                yield from values.get(text, {}).values()
        if self._by_label:
            pairs = {pair: None for state in states for pair in state.labels().items()}
            keys = {key: None for key, _ in pairs}
            for key, value in (*pairs, *((key, None) for key in keys)):
                yield from self._by_label.get((key, value), {}).values()


def _drop(index: dict[Any, dict[GroupKey, Group]], key: object, group: Group) -> None:
    found = index[key]
    del found[group.key]
    if not found:
        del index[key]


def frames_of(group: Group, changes: Sequence[Seen]) -> list[bytes]:
    """Return the framed events of changes for a group; pure."""
    events = (group.event(seen) for seen in changes)
    return [group.form.event(*event) for event in events if event is not None]
