"""How the cluster is told of a node's drivers."""

from typing import Any

import pytest
from msgspec import convert

from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.storage import CSINodeDriver
from kubelite.api.machinery.csi_volumes import NODE_ID
from kubelite.limits import CSI_TOPOLOGY
from kubelite.node.csi.drivers import listed_drivers, node_driver, node_patch, refusal
from kubelite.node.csi.messages import NodeGetInfoResponse, Topology
from kubelite.node.plugins.messages import PluginInfo
from kubelite.node.plugins.registry import Refused


def node(labels: dict[str, str] | None = None, ids: str = "") -> Node:
    annotations = {NODE_ID: ids} if ids else {}
    meta = {"name": "one", "labels": labels or {}, "annotations": annotations}
    return convert({"metadata": meta}, Node)


def info(node_id: str = "n1", count: int = 0, **segments: str) -> NodeGetInfoResponse:
    topology = Topology(segments=segments) if segments else None
    return NodeGetInfoResponse(
        node_id=node_id, max_volumes_per_node=count, accessible_topology=topology
    )


@pytest.mark.parametrize(
    ("name", "versions", "is_good"),
    [
        ("d.example.com", ["1.0.0"], True),
        ("d.example.com", ["v1.2.3"], True),
        ("d.example.com", ["0.3.0", "1.0.0"], True),
        ("d.example.com", ["0.3.0", "2.0.0"], False),
        ("d.example.com", [], False),
        ("", ["1.0.0"], False),
        ("../etc", ["1.0.0"], False),
        ("a/b", ["1.0.0"], False),
        ("d\n", ["1.0.0"], False),
        ("d" * 64, ["1.0.0"], False),
    ],
)
def test_names_and_versions(name: str, versions: list[str], is_good: bool) -> None:
    assert (refusal(PluginInfo(name=name, supported_versions=versions)) == "") is is_good


def test_a_node_shows_ids_and_topology() -> None:
    drivers = {"d": info(zone="a"), "e": info("n2", zone="a", rack="7")}
    assert node_patch(node({"zone": "a"}), drivers) == {
        "labels": {"rack": "7"},
        "annotations": {NODE_ID: '{"d":"n1","e":"n2"}'},
    }
    same = node({"zone": "a", "rack": "7"}, '{"d":"n1","e":"n2"}')
    assert node_patch(same, drivers) == {}


def test_another_value_of_a_label_is_a_collision() -> None:
    text = 'driver reported "zone":"a" but existing label is "zone":"b"'
    with pytest.raises(Refused, match=text):
        node_patch(node({"zone": "b"}), {"d": info(zone="a")})
    with pytest.raises(Refused, match="collision"):
        node_patch(node(), {"d": info(zone="a"), "e": info(zone="b")})


def test_a_driver_cannot_fill_the_node_with_labels() -> None:
    many = {f"k{number}": "v" for number in range(CSI_TOPOLOGY.value + 1)}
    with pytest.raises(Refused, match="too many"):
        node_patch(node(), {"d": NodeGetInfoResponse(accessible_topology=Topology(many))})


def test_drivers_that_did_not_register_yet_stay_until_they_end() -> None:
    before: Any = [CSINodeDriver(name="old", nodeID="o")]
    assert [one.name for one in listed_drivers(before, {"d": info()})] == ["d", "old"]
    assert [one.name for one in listed_drivers(before, {}, gone="old")] == []
    shown = node_patch(node(ids='{"old":"o"}'), {"d": info()})
    assert shown["annotations"] == {NODE_ID: '{"d":"n1","old":"o"}'}
    gone = node_patch(node(ids='{"old":"o"}'), {}, "old")
    assert gone["annotations"] == {NODE_ID: None}
    assert node_patch(node(ids="not json"), {}) == {"annotations": {NODE_ID: None}}


@pytest.mark.parametrize(
    ("count", "listed"), [(0, None), (-1, None), (3, 3), (1 << 40, (1 << 31) - 1)]
)
def test_how_many_volumes_a_node_takes(count: int, listed: int | None) -> None:
    made = node_driver("d", info(count=count))
    assert (made.allocatable.count if made.allocatable else None) == listed
