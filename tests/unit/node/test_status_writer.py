"""Patches of a status that others have written to as well."""

import msgspec
import pytest

from kubelite.api.kinds.core.nodes import NodeStatus
from kubelite.api.kinds.core.pods import PodStatus
from kubelite.node.registration import _without_dates
from kubelite.node.status_writer import status_patch

READY = {"type": "Ready", "status": "True"}


@pytest.mark.parametrize("odd", [{}, {"status": "True"}, {"type": "", "status": "False"}])
def test_a_condition_without_a_type_stands_in_nobodys_way(odd: dict[str, str]) -> None:
    before = msgspec.convert({"conditions": [odd]}, PodStatus)
    after = msgspec.convert({"conditions": [odd, READY]}, PodStatus)
    assert [one["type"] for one in status_patch(before, after)["conditions"]] == ["Ready"]
    assert status_patch(after, after) == {}
    node = msgspec.convert({"conditions": [odd, READY]}, NodeStatus)
    assert [one["type"] for one in _without_dates(node)["conditions"]] == ["Ready"]


def test_the_node_sets_a_disruption_and_never_deletes_one() -> None:
    disruption = {"type": "DisruptionTarget", "status": "True"}
    before = msgspec.convert({"conditions": [READY]}, PodStatus)
    after = msgspec.convert({"conditions": [READY, disruption]}, PodStatus)
    (written,) = status_patch(before, after)["conditions"]
    assert written["type"] == "DisruptionTarget"
    assert status_patch(after, before) == {}
