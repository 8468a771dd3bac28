"""The file of a simulation: what it may say, and that each refusal names the field."""

from pathlib import Path

import pytest

from kubelite.limits import SIMULATED_NODES, SIMULATION_FILE
from kubelite.node.simulated.settings import (
    Simulation,
    SimulationInvalid,
    parse_simulation,
    planned_nodes,
    read_simulation,
)

GROUPS = b"""
nodes:
- {name: gpu, count: 2, cpu: "16", memory: 64Gi, pods: 250, architecture: arm64,
   labels: {topology.kubernetes.io/zone: a}, taints: ["gpu=yes:NoSchedule"]}
node: {cpu: 500m, storage: 1Ti}
"""


def test_nodes_of_groups_come_first_and_the_rest_is_of_the_default_kind() -> None:
    nodes = planned_nodes(parse_simulation(GROUPS), 4)
    assert [node.name for node in nodes] == ["gpu-0", "gpu-1", "simulated-0", "simulated-1"]
    assert [node.number for node in nodes] == [0, 1, 2, 3]
    gpu, other = nodes[0], nodes[3]
    assert (gpu.cpus, gpu.memory_bytes, gpu.spec.pods) == (16, 64 << 30, 250)
    assert [(taint.key, taint.effect) for taint in gpu.taints] == [("gpu", "NoSchedule")]
    assert (other.cpus, other.memory_bytes, other.disk_bytes) == (1, 8 << 30, 1 << 40)


def test_without_a_file_nodes_have_the_documented_size() -> None:
    (node,) = planned_nodes(Simulation(), 1)
    assert (node.name, node.cpus, node.memory_bytes, node.spec.pods) == (
        "simulated-0",
        4,
        8 << 30,
        110,
    )


def test_a_group_of_the_default_name_and_the_rest_do_not_collide() -> None:
    nodes = planned_nodes(parse_simulation(b"nodes: [{count: 2}]"), 3)
    assert [node.name for node in nodes] == ["simulated-0", "simulated-1", "simulated-2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes: [{cpu: many}]", "nodes[0].cpu: 'many': quantities must match"),
        ("nodes: [{memory: 0}]", "nodes[0].memory: 0 must be greater than 0"),
        ("nodes: [{count: 0}]", "nodes[0].count: Expected `int` >= 1"),
        ("nodes: [{count: yes}]", "nodes[0].count: Expected `int`, got `bool`"),
        ("nodes: [{colour: red}]", "nodes[0]: Object contains unknown field `colour`"),
        ("nodes: [{name: A}]", "nodes[0].name: 'A' must be"),
        ("nodes: [{architecture: vax}]", "nodes[0].architecture: 'vax' must be one of amd64, arm, arm64"),
        ("nodes: [{labels: {'a b': c}}]", "nodes[0].labels: 'a b':"),
        ("nodes: [{labels: {a: 'x y'}}]", "nodes[0].labels: "),
        ("nodes: [{labels: {node-role.kubernetes.io/master: x}}]", "nodes[0].labels: unknown 'kubernetes.io'"),
        ("nodes: [{taints: [x]}]", "nodes[0].taints: "),
        ("node: {cpu: -1}", "node.cpu: -1 must be greater than 0"),
        ("pods: [{startSeconds: -1}]", "pods[0].startSeconds: must be seconds"),
        ("pods: [{runSeconds: [2, 1]}]", "pods[0].runSeconds: must be seconds"),
        ("pods: [{runSeconds: .nan}]", "pods[0].runSeconds: must be seconds"),
        ("pods: [{crashes: 2}]", "pods[0].crashes: Expected `float` <= 1"),
        ("pods: [{exitCode: 256}]", "pods[0].exitCode: Expected `int` <= 255"),
        ("images: {pullSeconds: 20000000}", "images.pullSeconds: must be seconds"),
        ("[]", "the file: Expected `object`, got `array`"),
        ("{", "it is not YAML: "),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field(text: str, message: str) -> None:
    with pytest.raises(SimulationInvalid) as refused:
        parse_simulation(text.encode())
    assert str(refused.value).startswith(message)


def test_fewer_nodes_than_the_groups_have_are_refused() -> None:
    with pytest.raises(SimulationInvalid, match="they are 2, more than the 1"):
        planned_nodes(parse_simulation(GROUPS), 1)


def test_two_groups_of_one_name_are_refused() -> None:
    with pytest.raises(SimulationInvalid, match=r"nodes\[1\].name: there would be two nodes a-0"):
        planned_nodes(parse_simulation(b"nodes: [{name: a}, {name: a}]"), 0)


def test_nodes_and_the_file_are_bounded(tmp_path: Path) -> None:
    reached = SIMULATED_NODES.times_reached
    with pytest.raises(SimulationInvalid, match="at most"):
        planned_nodes(Simulation(), SIMULATED_NODES.value + 1)
    assert SIMULATED_NODES.times_reached == reached + 1
    file = tmp_path / "large.yaml"
    file.write_bytes(b"#" * (SIMULATION_FILE.value + 1))
    with pytest.raises(SimulationInvalid, match="more than"):
        read_simulation(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SimulationInvalid, match=f"cannot read {tmp_path}/none: No such file"):
        read_simulation(tmp_path / "none")
