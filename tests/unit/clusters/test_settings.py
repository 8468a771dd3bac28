"""The file of a cluster, and times as they are given."""

from pathlib import Path

import pytest

from kubelite.clusters.plan import PlanFailed
from kubelite.clusters.settings import ClusterFile, read_cluster_file, seconds_of


def _read(folder: Path, text: str) -> ClusterFile:
    file = folder / "cluster.yaml"
    file.write_text(text)
    return read_cluster_file(file)


def test_a_file(tmp_path: Path) -> None:
    text = "agents: 1\nimages: [app.tar, /x.tar]\nsimulation-file: s.yaml\nserver: {disable: [ingress]}\n"
    found = _read(tmp_path, text)
    assert found.agents == 1
    assert found.images == (f"{tmp_path}/app.tar", "/x.tar")
    assert found.simulation_file == f"{tmp_path}/s.yaml"
    assert found.server == {"disable": ["ingress"]}
    assert _read(tmp_path, "") == ClusterFile()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agents: -1", "agents: Expected `int` >= 0"),
        ("agents: many", "agents: Expected"),
        ("nodes: 1", "the file: Object contains unknown field `nodes`"),
        ("ports: 8080", "ports: Expected `array`"),
        ("server: {data-dir: /x}", "server.data-dir: the cluster sets it itself"),
        ("agent: {node_ip: 1.2.3.4}", "agent.node_ip: the cluster sets it itself"),
        ("{", "it is not YAML"),
    ],
)
def test_a_refusal_names_the_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PlanFailed) as refused:
        _read(tmp_path, text)
    assert str(refused.value).startswith(f"cannot use {tmp_path}/cluster.yaml: {message}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlanFailed, match=r"cannot read .*: No such file"):
        read_cluster_file(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("2m", 120), ("1.5", 1.5), ("0", 0), ("1m30s", 90)]
)
def test_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "48h"])
def test_no_seconds(text: str) -> None:
    with pytest.raises(PlanFailed, match="cannot use --wait"):
        seconds_of(text)
