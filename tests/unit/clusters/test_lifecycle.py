"""How a cluster comes up where others take what was free a moment before; the parts that start something are given."""

import socket
from pathlib import Path

import pytest

from kubelite.clusters.lifecycle import ClusterFailed, Clusters
from kubelite.clusters.plan import Plan, Wanted
from kubelite.clusters.state import Folder, Folders


def test_a_port_that_is_taken_before_the_server_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    thieves: list[socket.socket] = []

    def start(_self: Clusters, _folder: Folder, plan: Plan, _seconds: float) -> None:
        tried.append(plan.api_port)
        if len(tried) < 3:
            thieves.append(socket.create_server(("127.0.0.1", plan.api_port)))
            raise ClusterFailed("its server has ended")

    monkeypatch.setattr(Clusters, "_start", start)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    clusters = Clusters(Folders(tmp_path / "clusters"))
    plan = clusters.create(Wanted("ci", simulate_nodes=1))
    for thief in thieves:
        thief.close()
    assert len(set(tried)) == 3
    assert plan.api_port == tried[-1]
    folder = tmp_path / "clusters" / "ci"
    assert Folder(folder).read() == plan
    assert (
        f'"https-listen-port": {plan.api_port}' in (folder / "server" / "config.yaml").read_text()
    )


def test_another_failure_removes_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_self: Clusters, _folder: Folder, _plan: Plan, _seconds: float) -> None:
        raise ClusterFailed("its server has ended")

    monkeypatch.setattr(Clusters, "_start", start)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterFailed, match="its server has ended"):
        Clusters(Folders(tmp_path / "clusters")).create(Wanted("ci", simulate_nodes=1))
    assert not (tmp_path / "clusters").exists()
