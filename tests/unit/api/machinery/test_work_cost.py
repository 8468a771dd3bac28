"""Estimates of work: small requests stay on the loop, those that once held it do not."""

import pytest

from kubelite.api.machinery.work_cost import (
    json_cost,
    patch_cost,
    protobuf_cost,
    write_cost,
    yaml_cost,
)
from kubelite.limits import INLINE_WORK

POD_BYTES = 3400
REPLACE = [{"op": "replace", "path": "/spec/replicas", "value": 1}]
SMALL = {
    "a Pod as JSON": json_cost(POD_BYTES),
    "a Pod as YAML": yaml_cost(POD_BYTES),
    "a Pod as protobuf": protobuf_cost(POD_BYTES),
    "a Pod that is created": write_cost(POD_BYTES),
    "a Pod whose status is written": write_cost(POD_BYTES, POD_BYTES),
    "an operation on a Pod": patch_cost("json", POD_BYTES, 60, REPLACE),
    "a merge into a Pod": patch_cost("merge", POD_BYTES, 60, {}),
    "a strategic merge into a Pod": patch_cost("strategic", POD_BYTES, 60, {}),
    "an applied Pod": patch_cost("apply", POD_BYTES, POD_BYTES, {}),
}
LARGE = {
    "400,000 empty entries of protobuf": protobuf_cost(800_000),
    "10,000 operations on a list of 500,000": patch_cost(
        "json", 1_000_000, 400_000, [{"op": "add", "path": "/a/0"}] * 10_000
    ),
    "10,000 operations on a small object": patch_cost("json", 100, 400_000, REPLACE * 10_000),
    "an apply over 60,000 keys": patch_cost("apply", 900_000, 900_000, {}),
    "an order of 100,000": patch_cost("strategic", 1_000_000, 1_500_000, {}),
    "20,000 external addresses": write_cost(270_000),
    "a ConfigMap whose 60,000 keys change": write_cost(900_000, 900_000),
    "5,000 containers of the fewest bytes": write_cost(144_000),
    "a merge patch of a megabyte": patch_cost("merge", 100, 1_000_000, {}),
}


@pytest.mark.parametrize("name", SMALL)
def test_what_is_small_is_done_at_once(name: str) -> None:
    assert 0 < SMALL[name] <= INLINE_WORK.value


@pytest.mark.parametrize("name", LARGE)
def test_what_once_held_the_loop_leaves_it(name: str) -> None:
    assert LARGE[name] > INLINE_WORK.value


def test_costs_grow_with_what_is_touched() -> None:
    for kind in ("json", "merge", "strategic", "apply"):
        small = patch_cost(kind, 1000, 1000, [])
        assert patch_cost(kind, 100_000, 1000, []) > small
        assert patch_cost(kind, 1000, 100_000, []) > small
