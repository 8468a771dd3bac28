"""Events of the events.k8s.io group: a view of the same stored object as core events."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.events import EventSource
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import REQUIRED, GroupVersionKind, Int32, Kind, MicroTime, Model, Time


class EventSeries(Model):
    """How often an event came again, and when last."""

    count: Annotated[Int32, REQUIRED] = 0
    lastObservedTime: Annotated[MicroTime, REQUIRED] = ""


class Event(Kind):
    """Something that happened to an object, told to people for an hour."""

    gvk: ClassVar = GroupVersionKind("events.k8s.io", "v1", "Event")

    eventTime: Annotated[MicroTime, REQUIRED] = ""
    metadata: ObjectMeta = ObjectMeta()
    action: str = ""
    deprecatedCount: Int32 = 0
    deprecatedFirstTimestamp: Time = ""
    deprecatedLastTimestamp: Time = ""
    deprecatedSource: EventSource = EventSource()
    note: str = ""
    reason: str = ""
    regarding: ObjectReference = ObjectReference()
    related: ObjectReference | None = None
    reportingController: str = ""
    reportingInstance: str = ""
    series: EventSeries | None = None
    type: str = ""


class EventList(Kind):
    """A list of events."""

    gvk: ClassVar = GroupVersionKind("events.k8s.io", "v1", "EventList")

    items: Annotated[list[Event], REQUIRED] = []
    metadata: ListMeta = ListMeta()
