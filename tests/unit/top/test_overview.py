import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from kubelite.cli import main
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.overview import (
    CertificateView,
    FilesView,
    NodeView,
    Overview,
    ServerView,
    _Event,
    _Node,
    _Pod,
    _Usage,
    failing,
    is_recent,
    lines,
    node_views,
    read_files,
)
from kubelite.store import snapshots
from kubelite.store.lmdb_engine import LMDBEngine

NOW = datetime(2027, 3, 4, 12, 0, tzinfo=UTC)
LONG_AGO, JUST_NOW = "2027-03-04T09:00:00Z", "2027-03-04T11:59:30Z"
META = {"name": "one", "namespace": "default", "creationTimestamp": LONG_AGO}


def pod(**status: Any) -> _Pod:
    node = {"nodeName": status.pop("node", "n1")}
    meta = {**META, "creationTimestamp": status.pop("created", LONG_AGO)}
    return msgspec.convert({"metadata": meta, "spec": node, "status": status}, _Pod)


def waiting(reason: str) -> list[dict[str, Any]]:
    return [{"state": {"running": {}}}, {"state": {"waiting": {"reason": reason}}}]


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (pod(phase="Running"), ""),
        (pod(phase="Succeeded"), ""),
        (pod(phase="Failed"), "Failed"),
        (pod(phase="Failed", reason="Evicted"), "Evicted"),
        (pod(phase="Running", containerStatuses=waiting("CrashLoopBackOff")), "CrashLoopBackOff"),
        (pod(phase="Pending", initContainerStatuses=waiting("ErrImagePull")), "ErrImagePull"),
        (pod(phase="Pending", containerStatuses=waiting("ContainerCreating")), ""),
        (pod(phase="Pending", node="", created=JUST_NOW), ""),
        (pod(phase="Pending", node=""), "no node for 3h"),
        (pod(phase="Pending", node="", created="nonsense"), ""),
    ],
)
def test_failing_pods(one: _Pod, why: str) -> None:
    assert failing(one, NOW) == why


@pytest.mark.parametrize(
    ("event", "is_one"),
    [
        ({"lastTimestamp": JUST_NOW}, True),
        ({"lastTimestamp": LONG_AGO}, False),
        ({"eventTime": LONG_AGO, "series": {"lastObservedTime": JUST_NOW}}, True),
        ({"eventTime": LONG_AGO, "lastTimestamp": None}, False),
    ],
)
def test_recent_events(event: dict[str, Any], is_one: bool) -> None:
    assert is_recent(msgspec.convert(event, _Event), NOW) is is_one


def test_nodes() -> None:
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "capacity": {"cpu": "4", "memory": "8Gi"},
        "allocatable": {"pods": "110"},
        "nodeInfo": {"kubeletVersion": "v1.36.2"},
    }
    nodes = [
        msgspec.convert({"metadata": {**META, "name": name}, "status": given}, _Node)
        for name, given in (("n2", {}), ("n1", status))
    ]
    usage = {"metadata": {"name": "n1"}, "usage": {"cpu": "1500m", "memory": "2Gi"}}
    pods = [pod(phase="Running"), pod(phase="Failed"), pod(phase="Running", node="n2")]
    first, second = node_views(nodes, pods, [msgspec.convert(usage, _Usage)])
    assert first == NodeView("n1", True, LONG_AGO, "v1.36.2", 1, 110, 0.375, 0.25)
    assert (second.name, second.is_ready, second.cpu) == ("n2", False, None)


FILES = FilesView(
    "/data",
    True,
    20_000_000_000,
    100_000_000_000,
    4_200_000,
    77,
    CertificateView("admin", NOW + timedelta(days=30)),
    "kubelite-1.mdb",
    7200.0,
)
SERVER = ServerView(
    "https://here:6443",
    "v1.36.2",
    (NodeView("n1", True, LONG_AGO, "v1.36.2", 1, 110, 0.5),),
    {"Running": 3},
    healthy=("etcd-0",),
)
WHOLE = Overview(NOW, "0.1.0", FILES, SERVER)


def test_words() -> None:
    assert list(lines(WHOLE)) == [
        "server        ready, kubelite 0.1.0 (Kubernetes 1.36.2) at https://here:6443",
        "healthy       etcd-0",
        "nodes         1 of 1 ready",
        "              NAME   STATUS   AGE   VERSION   PODS    CPU   MEMORY",
        "              n1     Ready    3h    v1.36.2   1/110   50%   -",
        "pods          3 Running; 0 failing",
        "warnings      0 in the last hour",
        "certificates  the first to end is admin, on 2027-04-03 (in 30d)",
        "data          /data: 20.0 GB (20%) free on its disk",
        "store         4.2 MB at revision 77",
        "snapshots     the last is kubelite-1.mdb, 120m old",
    ]


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"server": None, "reason": "refused"}, "runs, but does not answer: refused; see its log"),
        (
            {"server": None, "files": replace(FILES, is_running=False)},
            "does not run; this is what its files say (kubelite server starts it)",
        ),
        ({"server": None, "files": None, "reason": "refused"}, "does not answer: refused"),
        (
            {"server": replace(SERVER, unhealthy={"etcd-0": "disk is full"})},
            "not ready, kubelite 0.1.0 (Kubernetes 1.36.2) at https://here:6443",
        ),
    ],
)
def test_servers_in_trouble(changes: dict[str, Any], first: str) -> None:
    seen = replace(WHOLE, **changes)
    assert next(iter(lines(seen))) == f"server        {first}"
    assert not seen.is_well


def test_many_are_counted_not_shown() -> None:
    nodes = tuple(NodeView(f"n{number}", number != 40, "", "v1") for number in range(50))
    broken = {f"default/p{number}": "Failed" for number in range(30)}
    text = list(lines(replace(WHOLE, server=replace(SERVER, nodes=nodes, failing=broken))))
    assert len(text) < 40
    assert "n40" in text[4]  # the one that is not ready comes first
    assert any("and 40 more; see kubectl get nodes" in line for line in text)
    assert any("and 20 more; see kubectl get pods -A" in line for line in text)


def test_files_of_a_server_that_is_down(tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path), node_name="one")
    clock = SetClock(datetime.now(UTC))
    assert read_files(config, clock) is None
    LMDBEngine(config.store_dir).close()
    saved = snapshots.save(config.store_dir, config.snapshots_dir, clock.now())
    found = read_files(config, clock)
    assert found is not None
    assert (found.is_running, found.revision, found.snapshot) == (False, 0, saved.name)
    assert found.store_bytes
    assert "there are no certificates in it" in found.problem
    held = LMDBEngine(config.store_dir)
    running = read_files(config, clock)
    held.close()
    assert running is not None
    assert running.is_running


def test_the_command_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBELITE_WRITE_KUBECONFIG", str(tmp_path / "none"))
    done = CliRunner().invoke(main, ["status", "--json", f"--data-dir={tmp_path}"])
    said = json.loads(done.output)
    assert (done.exit_code, said["ready"], said["files"], said["server"]) == (1, False, None, None)
    assert "cannot read kubeconfig" in said["reason"]
    hostile = CliRunner().invoke(main, ["status", "--kubeconfig", "/x\x1b[2J"])
    assert "\x1b" not in hostile.output
