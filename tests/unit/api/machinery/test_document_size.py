"""What documents are charged, against what they take."""

import tracemalloc
from typing import Any

import msgspec
import pytest

from kubelite.api.errors import RequestEntityTooLarge
from kubelite.api.machinery.document_size import Meter, check_json, json_cost, text_size
from kubelite.limits import DOCUMENT, OBJECT, REQUEST_BODY


def _schema(depth: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        f"field{index}": {"type": "string", "description": "What it is for. " * 8}
        for index in range(9)
    }
    if depth:
        fields["inner"] = _schema(depth - 1)
        fields["others"] = {"type": "array", "items": _schema(depth - 1)}
    return {"type": "object", "properties": fields}


LEGITIMATE: list[Any] = [
    {"data": {"a": "x" * OBJECT.value}},
    {"data": {f"key-{index}": "some value" for index in range(48_000)}},
    {"data": {"a": ',:{"' * (OBJECT.value // 5)}},
    _schema(9),
    {"f:data": {f"f:key-{index}": {} for index in range(70_000)}},
]


@pytest.mark.parametrize("value", LEGITIMATE)
def test_the_largest_objects_are_taken(value: Any) -> None:
    body = msgspec.json.encode(value)
    assert 1_000_000 < len(body) < REQUEST_BODY.value
    check_json(body)
    assert json_cost(body) < DOCUMENT.value * 2 / 3


DENSE = [b"{},", b"[],", b'{"":0},', b"1,", b'"aa",', b'{"":{}},', b"[[]],", b'"a",']


@pytest.mark.parametrize("element", DENSE)
def test_dense_bodies_are_refused_before_they_are_decoded(element: bytes) -> None:
    body = b"[" + element * (REQUEST_BODY.value // len(element) - 2) + b"0]"
    assert len(body) <= REQUEST_BODY.value
    with pytest.raises(RequestEntityTooLarge, match="document take more than"):
        check_json(body)


@pytest.mark.parametrize("element", DENSE)
def test_the_charge_is_about_what_a_document_takes(element: bytes) -> None:
    body = b"[" + element * 20_000 + b"0]"
    tracemalloc.start()
    value = msgspec.json.decode(body)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(value) == 20_001
    assert json_cost(body) > 0.7 * taken


def test_signs_in_texts_are_not_values() -> None:
    body = b'{"a":"' + rb"\\,\",{" * 400_000 + b'"}'
    assert json_cost(body) < 2 * len(body)


def test_an_endless_text_is_searched_once() -> None:
    for body in (b'"' * 2_000_001, b'"' + b"\\" * 2_000_001, b'"a\\' * 700_000, b"," * 2_000_000):
        json_cost(body)


def test_a_meter_charges_values_and_texts() -> None:
    meter = Meter()
    meter.charge(DOCUMENT.value - 64)
    assert meter.left == 0
    with pytest.raises(RequestEntityTooLarge):
        meter.charge(0)
    assert [text_size(text) for text in ("ab", "ä", "\ud800")] == [2, 2, 3]
