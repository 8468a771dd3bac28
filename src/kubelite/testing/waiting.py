"""Waits for an object to become something, and says what it is when it does not."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from kubelite.api.client.decoding import typed
from kubelite.api.client.local import LocalClient
from kubelite.api.client.protocol import Object
from kubelite.api.registry.resource import Resource
from kubelite.testing.objects import KindName, client_of

Predicate = Callable[[Any], object]

EVENTS_SHOWN = 20
DELETED = "Deleted"


class NotReached(AssertionError):
    """An object did not become what was waited for; the message has the object, its conditions and events."""


class Wait:
    """One wait: which object, and until when."""

    def __init__(
        self,
        row: Resource,
        kind: KindName,
        name: str,
        namespace: str,
        *,
        condition: str = "",
        predicate: Predicate | None = None,
    ) -> None:
        """`condition` is ``Type`` or ``Type=Status``, or ``Deleted``; without any, the object only has to exist."""
        self._row = row
        self._kind = kind
        self._name = name
        self._namespace = namespace if row.namespaced else ""
        self._condition = condition
        self._predicate = predicate

    async def over(self, client: LocalClient, timeout_seconds: float) -> Any:
        """Return the object as soon as it is as wanted, in the loop of the cluster. Raises NotReached and APIError."""
        mirror = client_of(client, self._row).mirror(self._namespace)
        changed = asyncio.Event()
        end = mirror.subscribe(lambda *_: changed.set())
        try:
            await mirror.synced()
            async with asyncio.timeout(timeout_seconds):
                while not self._is_reached(item := mirror.get(self._name, self._namespace)):
                    changed.clear()
                    await changed.wait()
                return None if item is None else self._shown(item)
        except TimeoutError:
            found = mirror.get(self._name, self._namespace)
            message = await self._failure(client, found, timeout_seconds)
            raise NotReached(message) from None
        finally:
            end()
            mirror.close()

    def _shown(self, item: Object) -> Any:
        return (
            typed(self._kind, msgspec.json.encode(item)) if isinstance(self._kind, type) else item
        )

    def _is_reached(self, item: Object | None) -> bool:
        if self._condition == DELETED or item is None:
            return item is None and self._condition == DELETED
        if self._condition and not self._has_condition(item):
            return False
        return self._predicate is None or bool(self._predicate(self._shown(item)))

    def _has_condition(self, item: Object) -> bool:
        wanted, _, status = self._condition.partition("=")
        return any(
            one.get("type") == wanted and one.get("status") == (status or "True")
            for one in conditions_of(item)
        )

    async def _failure(self, client: LocalClient, item: Object | None, seconds: float) -> str:
        where = f" in {self._namespace}" if self._namespace else ""
        of = f"{self._row.group_resource} {self._name}{where}"
        what = self._condition or "existence" if self._predicate is None else "the predicate"
        lines = [f"{of}: {what} was not reached in {seconds:g} s"]
        if item is None:
            lines.append("it does not exist")
        else:
            lines += _object_lines(item)
        lines += await _event_lines(client, self._name, self._namespace)
        return "\n".join(lines)


def conditions_of(item: Object) -> Sequence[Mapping[str, Any]]:
    """Return the conditions in the status of an object."""
    found = (item.get("status") or {}).get("conditions") or ()
    return [one for one in found if isinstance(one, Mapping)]


def _object_lines(item: Object) -> Iterator[str]:
    import yaml

    if conditions := conditions_of(item):
        yield "conditions:"
        for one in conditions:
            detail = ": ".join(filter(None, (one.get("reason"), one.get("message"))))
            yield f"  {one.get('type')}={one.get('status')} {detail}".rstrip()
    metadata = {k: v for k, v in item.get("metadata", {}).items() if k != "managedFields"}
    yield "object:"
    text = yaml.safe_dump({**item, "metadata": metadata}, sort_keys=False)
    yield from (f"  {line}" for line in text.splitlines())


async def _event_lines(client: LocalClient, name: str, namespace: str) -> Sequence[str]:
    """Return the newest events: those of the object, then others of its namespace, of its pods for instance."""
    events = await client.resource("", "v1", "events").list(namespace)
    events.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    own = [one for one in events if one.get("involvedObject", {}).get("name") == name]
    others = [one for one in events if one not in own]
    shown = [*own[-EVENTS_SHOWN:], *others[-max(EVENTS_SHOWN - len(own), 0) :]][:EVENTS_SHOWN]
    if not shown:
        return ["events: none"]
    return [
        "events:",
        *(
            f"  {one.get('type')} {one['involvedObject'].get('kind')}/{one['involvedObject'].get('name')} "
            f"{one.get('reason')}: {one.get('message')}"
            for one in shown
        ),
    ]
