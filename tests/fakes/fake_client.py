"""A client over a dict: versions, uids, finalizers and mirrors, without rules, defaults or rights."""

import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import msgspec

from fakes.fake_resource import FakeResource, FakeServed
from fakes.rows import ROWS
from kubelite.api.client.protocol import PatchType, ServedResource
from kubelite.api.errors import AlreadyExists, APIError, Conflict, NotFound
from kubelite.api.kinds.model import GroupVersionKind, Kind, to_wire
from kubelite.api.machinery.field_selectors import (
    METADATA,
    Fields,
    parse_field_selector,
    paths,
)
from kubelite.api.machinery.patch import json_patch
from kubelite.api.machinery.selectors import parse_selector
from kubelite.api.machinery.times import format_time
from kubelite.randomness import SeededRandomness

K = TypeVar("K", bound=Kind)
CUSTOM_FIELDS = Fields({**METADATA, **paths("spec.color")})


class FixedClock:
    """A clock that goes only when told."""

    def __init__(self, date: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.date = date

    def now(self) -> datetime:
        return self.date

    def advance(self, seconds: float) -> None:
        self.date += timedelta(seconds=seconds)


class FakeMirror:
    """What a client holds of one kind."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Any] = {}
        self.indexes: dict[str, Callable[[Any], Sequence[str]]] = {}
        self.listeners: list[Callable[[Any, Any], None]] = []
        self.readers = 0

    async def synced(self) -> None:
        return

    def get(self, name: str, namespace: str = "") -> Any:
        return self.items.get((namespace, name))

    def list(self, namespace: str = "") -> list[Any]:
        return [self.items[key] for key in sorted(self.items) if namespace in ("", key[0])]

    def add_index(self, index_name: str, index: Callable[[Any], Sequence[str]]) -> None:
        self.indexes.setdefault(index_name, index)

    def indexed(self, index_name: str, value: str) -> Sequence[Any]:
        index = self.indexes[index_name]
        return [item for item in self.list() if value in index(item)]

    def subscribe(self, listener: Callable[[Any, Any], None]) -> Callable[[], None]:
        for item in self.list():
            listener(None, item)
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def close(self) -> None:
        self.readers -= 1

    def put(self, item: Any) -> None:
        key = (item.metadata.namespace, item.metadata.name)
        before = self.items.get(key)
        self.items[key] = item
        for listener in list(self.listeners):
            listener(before, item)

    def drop(self, item: Any) -> None:
        before = self.items.pop((item.metadata.namespace, item.metadata.name), None)
        if before is None:
            return
        for listener in list(self.listeners):
            listener(before, None)


class FakeClient:
    """Implements `Client`; `refuse(verb, kind name)` may return an error to raise."""

    def __init__(self, clock: FixedClock | None = None) -> None:
        self.clock = clock or FixedClock()
        self.randomness = SeededRandomness(1)
        self.mirrors: dict[GroupVersionKind, FakeMirror] = {}
        self.chosen: dict[tuple[object, ...], FakeMirror] = {}  # mirrors with a selection
        self.plain: dict[tuple[str, ...], Any] = {}  # mirrors of dicts
        self.served = FakeServed()
        self.dynamic: dict[tuple[str, str, str], type[Kind]] = {}
        self.revision = 0
        self.writes: list[tuple[str, str, str]] = []
        self.refuse: Callable[[str, str], APIError | None] = lambda verb, kind: None
        self.posts: list[tuple[str, str, Any]] = []
        self.returned: list[Callable[[], None]] = []

    def mirror(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Any:
        whole = chosen = self.whole(kind)
        if namespace or label_selector or field_selector:
            key = (kind.gvk, namespace, label_selector, field_selector)
            if key not in self.chosen:
                self.chosen[key] = selected(whole, kind, *key[1:])
            chosen = self.chosen[key]
        chosen.readers += 1
        return chosen

    def whole(self, kind: type[Kind]) -> FakeMirror:
        """Return the mirror of a kind, for the fake itself and for tests: no reader is counted."""
        return self.mirrors.setdefault(kind.gvk, FakeMirror())

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        is_told = False

        def listen(before: Any, after: Any) -> None:
            metadata = (after or before).metadata
            if is_told and (metadata.namespace, metadata.name) == (namespace, name):
                changed()

        end: Callable[[], None] = self.whole(kind).subscribe(listen)
        is_told = True
        return end

    def on_return(self, returned: Callable[[], None]) -> Callable[[], None]:
        self.returned.append(returned)
        return lambda: self.returned.remove(returned)

    def resource(self, group: str, version: str, plural: str) -> FakeResource:
        return FakeResource(self, (group, version, plural))

    def serve(self, kind: type[Kind], plural: str, *, namespaced: bool = True) -> None:
        """Begin to serve a custom resource."""
        self.dynamic[kind.gvk.group, kind.gvk.version, plural] = kind
        verbs = ("delete", "list", "watch")
        gvk = kind.gvk
        self.served.found.append(
            ServedResource(gvk.group, gvk.version, plural, gvk.kind, namespaced, verbs)
        )
        self.served.tell()

    def unserve(self, kind: type[Kind], plural: str) -> None:
        """End to serve a custom resource, whose objects go with it."""
        del self.dynamic[kind.gvk.group, kind.gvk.version, plural]
        whole = self.whole(kind)
        for item in whole.list():
            whole.drop(item)
        self.plain.clear()
        self.served.found = [one for one in self.served.found if one.resource != plural]
        self.served.tell()

    def all(self, kind: type[K]) -> list[K]:
        return list(self.whole(kind).list())

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        return self._known(kind, name, namespace)

    async def list(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[K]:
        chosen = selected(self.whole(kind), kind, namespace, label_selector, field_selector)
        return list(chosen.list())

    async def create(self, item: K) -> K:
        self._check("create", type(item))
        fields = copy.deepcopy(to_wire(item))
        meta = fields.setdefault("metadata", {})
        if not meta.get("name"):
            meta["name"] = meta["generateName"] + self.randomness.suffix()
        if self.whole(type(item)).get(meta["name"], meta.get("namespace", "")) is not None:
            raise AlreadyExists(f'{item.gvk.kind} "{meta["name"]}" already exists')
        meta.update(
            uid=self.randomness.uid(), generation=1, creationTimestamp=format_time(self.clock.now())
        )
        self.writes.append(("create", item.gvk.kind, meta["name"]))
        return self._store(type(item), fields)

    async def update(self, item: K, subresource: str = "") -> K:
        self._check("update", type(item))
        meta: Any = item.metadata  # type: ignore[attr-defined]
        current = self._known(type(item), meta.name, meta.namespace)
        before = to_wire(current)
        if meta.resourceVersion and meta.resourceVersion != before["metadata"]["resourceVersion"]:
            raise Conflict(f"{meta.name}: the object has been modified")
        after = to_wire(item)
        if subresource == "finalize":
            after = {**before, "spec": after.get("spec", {})}
        if subresource == "status":
            after = {**before, "status": after.get("status", {})}
        return self._change(type(item), before, after, subresource)

    async def patch(
        self,
        kind: type[K],
        name: str,
        patch: dict[str, Any] | Sequence[dict[str, Any]],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> K:
        self._check("patch", kind)
        if patch_type == "apply" and self.whole(kind).get(name, namespace) is None:
            assert isinstance(patch, dict)
            metadata = {**patch.get("metadata", {}), "name": name, "namespace": namespace}
            return await self.create(msgspec.convert({**patch, "metadata": metadata}, kind))
        known = self._known(kind, name, namespace)
        kind = type(known)
        before = to_wire(known)
        if not isinstance(patch, dict):
            after = json_patch(copy.deepcopy(before), copy.deepcopy(list(patch)))
            return self._change(kind, before, after, subresource)
        wanted = patch.get("metadata", {})
        for field in ("uid", "resourceVersion"):
            if field in wanted and wanted[field] != before["metadata"][field]:
                raise Conflict(f"{name}: the object has been modified")
        return self._change(kind, before, merged(before, patch), subresource)

    async def delete(
        self,
        kind: type[K],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: Literal["", "Foreground", "Background", "Orphan"] = "",
    ) -> None:
        self._check("delete", kind)
        item: Any = self._known(kind, name, namespace)
        kind = type(item)
        if uid and uid != item.metadata.uid:
            raise Conflict(f"{name}: uid differs")
        self.writes.append(("delete", kind.gvk.kind, name))
        fields = to_wire(item)
        held = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        if held:
            fields["metadata"].setdefault("finalizers", []).append(held)
        graceful = kind.gvk.kind == "Pod" and item.spec.nodeName and grace_seconds != 0
        if fields["metadata"].get("finalizers") or graceful:
            fields["metadata"].setdefault("deletionTimestamp", format_time(self.clock.now()))
            self._store(kind, fields)
        else:
            self.whole(kind).drop(item)

    async def post(
        self, kind: type[Kind], name: str, subresource: str, body: Kind, namespace: str = ""
    ) -> dict[str, Any]:
        self._check(subresource, kind)
        self.posts.append((name, subresource, body))
        if subresource == "binding":
            fields = to_wire(self._known(kind, name, namespace))
            fields["spec"]["nodeName"] = body.target.name  # type: ignore[attr-defined]
            self._store(kind, fields)
        return {}

    def _check(self, verb: str, kind: type[Kind]) -> None:
        if (error := self.refuse(verb, kind.gvk.kind)) is not None:
            raise error

    def _known(self, kind: type[K], name: str, namespace: str) -> K:
        item: K | None = self.whole(kind).get(name, namespace)
        if item is None:
            raise NotFound(f'{kind.gvk.kind} "{name}" not found')
        return item

    def _change(
        self, kind: type[K], before: dict[str, Any], after: dict[str, Any], subresource: str
    ) -> K:
        if before == after:
            return self._known(
                kind, before["metadata"]["name"], before["metadata"].get("namespace", "")
            )
        self.writes.append((subresource or "update", kind.gvk.kind, before["metadata"]["name"]))
        if before.get("spec") != after.get("spec"):
            after["metadata"]["generation"] = before["metadata"].get("generation", 1) + 1
        stored = self._store(kind, after)
        meta: Any = stored.metadata  # type: ignore[attr-defined]
        if meta.deletionTimestamp and not meta.finalizers:
            self.whole(kind).drop(stored)
        return stored

    def _store(self, kind: type[K], fields: dict[str, Any]) -> K:
        self.revision += 1
        fields["metadata"]["resourceVersion"] = str(self.revision)
        item = msgspec.convert(fields, kind)
        self.whole(kind).put(item)
        return item


def selected(
    whole: FakeMirror, kind: type[Kind], namespace: str, label_selector: str, field_selector: str
) -> FakeMirror:
    """Return a mirror of what a selection chooses from another one."""
    labels = parse_selector(label_selector)
    row = ROWS.get(kind.gvk)
    selectable = CUSTOM_FIELDS if row is None else row.fields
    fields = parse_field_selector(field_selector, selectable)

    def is_chosen(item: Any) -> bool:
        return (
            namespace in ("", item.metadata.namespace)
            and labels.matches(item.metadata.labels)
            and fields.matches(to_wire(item))
        )

    def changed(before: Any, after: Any) -> None:
        if after is not None and is_chosen(after):
            chosen.put(after)
        else:
            chosen.drop(before if before is not None else after)

    chosen = FakeMirror()
    whole.subscribe(changed)
    return chosen


def merged(target: Any, patch: Any) -> Any:
    """Return the result of a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
