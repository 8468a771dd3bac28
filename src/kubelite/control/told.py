"""Warnings that are recorded once for each object, until they are no longer true."""

from collections.abc import Iterable

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.kinds.model import Kind

Warned = tuple[str, str]  # reason and message


class Told:
    """What objects were told, by uid."""

    def __init__(self, events: EventRecorder) -> None:
        self._events = events
        self._told: dict[str, frozenset[Warned]] = {}

    def tell(self, item: Kind, warnings: Iterable[Warned]) -> None:
        """Record the warnings that are new for an object; those that are not among them may be told anew."""
        uid: str = item.metadata.uid  # type: ignore[attr-defined]  # of every Kind that has events
        wanted = dict.fromkeys(warnings)
        told = self._told.pop(uid, frozenset())
        for reason, message in wanted:
            if (reason, message) not in told:
                self._events.event(item, WARNING, reason, message)
        if wanted:
            self._told[uid] = frozenset(wanted)

    def keep(self, uids: Iterable[str]) -> None:
        """Forget all objects but these."""
        known = set(uids)
        self._told = {uid: told for uid, told in self._told.items() if uid in known}
