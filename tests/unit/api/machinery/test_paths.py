from copy import copy

from kubelite.api.machinery.paths import FieldPath, Notes
from kubelite.limits import CAUSES_TEXT, SHOWN_VALUE, UNKNOWN_FIELDS

TWO = copy(UNKNOWN_FIELDS)
TWO.value = 2


def test_addresses() -> None:
    spec = FieldPath(None, "spec")
    container = FieldPath(FieldPath(spec, "containers"), 0)
    assert str(FieldPath(container, "name")) == "spec.containers[0].name"
    labels = FieldPath(FieldPath(None, "metadata"), "labels")
    assert str(FieldPath(labels, "app", bracketed=True)) == "metadata.labels[app]"
    assert str(FieldPath(spec, "")) == "spec."


def test_of_long_addresses_the_end_is_shown() -> None:
    path = FieldPath(FieldPath(None, "a"), "x" * 10 * SHOWN_VALUE.value)
    for _ in range(10_000):
        path = FieldPath(path, "b")
    assert str(path).endswith(".b.b")
    assert len(str(path)) < 2 * SHOWN_VALUE.value + 10


def test_notes_are_bounded_in_number_and_in_text() -> None:
    few, long = Notes(TWO), Notes(UNKNOWN_FIELDS)
    for index in range(100):
        few.add("no {}", FieldPath(None, index))
        long.add("{}", FieldPath(None, "x" * SHOWN_VALUE.value))
    assert few.texts == ["no [0]", "no [1]"]
    assert sum(map(len, long.texts)) == CAUSES_TEXT.value
