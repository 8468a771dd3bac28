"""Events of the core group."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    REQUIRED,
    GroupVersionKind,
    Int32,
    Kind,
    MicroTime,
    Model,
    Time,
)


class EventSeries(Model):
    """How often an event came again, and when last."""

    count: Int32 = 0
    lastObservedTime: MicroTime = ""


class EventSource(Model):
    """Which component reported an event, and on which node."""

    component: str = ""
    host: str = ""


class Event(Kind):
    """Something that happened to an object, told to people for an hour."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Event")

    involvedObject: Annotated[ObjectReference, REQUIRED] = ObjectReference()
    metadata: Annotated[ObjectMeta, REQUIRED] = ObjectMeta()
    action: str = ""
    count: Int32 = 0
    eventTime: MicroTime = ""
    firstTimestamp: Time = ""
    lastTimestamp: Time = ""
    message: str = ""
    reason: str = ""
    related: ObjectReference | None = None
    reportingComponent: Annotated[str, ALWAYS] = ""
    reportingInstance: Annotated[str, ALWAYS] = ""
    series: EventSeries | None = None
    source: EventSource = EventSource()
    type: str = ""


class EventList(Kind):
    """A list of events."""

    gvk: ClassVar = GroupVersionKind("", "v1", "EventList")

    items: Annotated[list[Event], REQUIRED] = []
    metadata: ListMeta = ListMeta()
