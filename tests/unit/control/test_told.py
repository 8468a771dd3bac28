"""Warnings about objects, each recorded once while it is true."""

from typing import Any, cast

from kubelite.api.client.events import EventRecorder
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.told import Told


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def event(self, _item: Any, _type: str, reason: str, message: str) -> None:
        self.events.append((reason, message))


def test_a_warning_is_told_once_until_it_is_gone() -> None:
    recorder = Recorder()
    told = Told(cast("EventRecorder", recorder))
    item = Service(metadata=ObjectMeta(name="a", uid="1"))
    for warnings, count in (
        ([("A", "x")], 1),
        ([("A", "x")], 1),
        ([("A", "x"), ("B", "y"), ("B", "y")], 2),
        ([("A", "z")], 3),
        ([], 3),
        ([("A", "z")], 4),
    ):
        told.tell(item, warnings)
        assert len(recorder.events) == count
    told.keep(["2"])
    told.tell(item, [("A", "z")])
    assert len(recorder.events) == 5
