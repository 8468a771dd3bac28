import pytest
from msgspec.structs import replace

from kubelite.api.machinery import openapi_document
from kubelite.api.machinery.openapi import Served, ServedSubresource
from kubelite.api.machinery.openapi_custom import CustomType
from kubelite.api.machinery.openapi_document import (
    building_cost,
    by_group_version,
    fingerprint,
    measure,
    measuring_cost,
    within_limit,
)
from kubelite.limits import OBJECT, OPENAPI_SCHEMAS
from unit.api.machinery.openapi_rows import CATS, DEPLOYMENTS, PODS, custom_row


def test_rows_by_group_version() -> None:
    other = custom_row("dogs")
    assert by_group_version([PODS, CATS, DEPLOYMENTS, other]) == {
        "api/v1": (PODS,),
        "apis/example.com/v1": (CATS, other),
        "apis/apps/v1": (DEPLOYMENTS,),
    }


def test_the_fingerprint_changes_with_all_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    status = ServedSubresource("status", ("get",), CATS.kind, CATS.schema)
    variants = [
        [CATS],
        [CATS, custom_row("dogs")],
        [replace(CATS, plural="tomcats")],
        [replace(CATS, namespaced=True)],
        [replace(CATS, verbs=("get",))],
        [replace(CATS, subresources=(status,))],
        [replace(CATS, schema=schema_of(CATS).bare)],
    ]
    hashes = {fingerprint(rows) for rows in variants}
    monkeypatch.setattr(openapi_document, "__version__", "another")
    assert len(hashes | {fingerprint([CATS])}) == len(variants) + 1


def schema_of(row: Served) -> CustomType:
    assert isinstance(row.schema, CustomType)
    return row.schema


def test_costs_are_bounded_until_schemas_are_measured() -> None:
    row = custom_row("dogs")
    assert measuring_cost([PODS, row]) == OBJECT.value
    before = building_cost([PODS, row])
    measure([PODS, row])
    assert measuring_cost([PODS, row]) == 0
    assert building_cost([PODS]) < building_cost([PODS, row]) < before


def test_kinds_past_the_limit_lose_their_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    status = ServedSubresource("status", ("get",), CATS.kind)
    rows = [custom_row(name) for name in ("ants", "bees", "cows")]
    rows[1] = replace(rows[1], subresources=(replace(status, schema=rows[1].schema),))
    size = schema_of(rows[0]).encoded.size
    assert within_limit([PODS, *rows]) == (PODS, *rows)
    monkeypatch.setattr(OPENAPI_SCHEMAS, "value", size)
    shown = within_limit([PODS, *rows])
    reached = OPENAPI_SCHEMAS.times_reached
    assert shown[:2] == (PODS, rows[0])
    assert [schema_of(row).schema for row in shown[2:]] == [None, None]
    assert shown[2].subresources[0].schema is shown[2].schema
    assert within_limit([PODS, *rows]) == shown, "so that parts made of them are found again"
    assert OPENAPI_SCHEMAS.times_reached == reached + 2
