"""The bodies of the summary and of the metrics, from measurements."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from kubelite.node.eviction.observations import ContainerFootprint, DiskUse
from kubelite.node.pod_files import PodFiles, VolumeFiles
from kubelite.node.runtime import ContainerRecord, Usage
from kubelite.node.stat_metrics import (
    cadvisor_metrics,
    probe_metrics,
    resource_metrics,
    volume_metrics,
)
from kubelite.node.stats import summary
from kubelite.node.usage import ContainerUsage, Measured, Measurement, PodUsage
from kubelite.node.usage_files import Filesystem, Interface

AT = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = 'x"} 1\nforged{a="\\'


def usage(cpu: int, moment: float, limit: int = 0) -> Usage:
    return Usage(
        at=AT + timedelta(seconds=moment),
        cpu_core_nanoseconds=cpu,
        memory_usage_bytes=500,
        memory_working_set_bytes=400,
        memory_rss_bytes=300,
        processes=3,
        memory_limit_bytes=limit,
        moment_seconds=moment,
    )


def record(image: str = "busybox") -> ContainerRecord:
    return ContainerRecord(
        id="c1",
        pod_uid="u1",
        pod_name="p",
        namespace="a",
        name="main",
        attempt=0,
        phase="running",
        created_at=AT,
        started_at=AT,
        image=image,
    )


def measurement(moment: float, image: str = "busybox", interface: str = "eth0") -> Measurement:
    cpu = round(moment * 1e9)
    pod = PodUsage(
        "u1",
        "a",
        "p",
        "2026-01-01T00:00:00Z",
        (ContainerUsage(record(image), usage(cpu, moment, 1000)),),
        usage(cpu + 5, moment),
        (Interface("lost", 1, 1, 1, 1), Interface(interface, 10, 0, 20, 0)),
    )
    return Measurement(
        AT + timedelta(seconds=moment),
        usage(cpu * 2, moment),
        (pod, PodUsage("u2", "a", "starting", "2026-01-01T00:00:00Z")),
        1000,
        Filesystem(100, 60, 40, 10, 7),
        (4096, 99),
        Filesystem(200, 50, 150, 20, 5),
    )


def test_a_summary_has_the_shape_of_the_kubelets() -> None:
    measured = Measured(measurement(16), measurement(1))
    shown = summary("n1", "2026-01-01T00:00:00Z", measured, only_cpu_and_memory=False)
    node, (pod,) = shown["node"], shown["pods"]
    date = "2026-01-01T00:00:16Z"
    assert node["cpu"] == {
        "time": date,
        "usageNanoCores": 2_000_000_000,
        "usageCoreNanoSeconds": 32_000_000_000,
    }
    assert node["memory"]["availableBytes"] == 600
    assert node["fs"] == {
        "time": date,
        "availableBytes": 60,
        "capacityBytes": 100,
        "usedBytes": 40,
        "inodesFree": 7,
        "inodes": 10,
        "inodesUsed": 3,
    }
    assert node["runtime"]["imageFs"] == node["runtime"]["containerFs"]
    assert node["runtime"]["imageFs"]["availableBytes"] == 50
    assert node["runtime"]["imageFs"]["inodesUsed"] == 15
    assert node["rlimit"] == {"time": date, "maxpid": 4096, "curproc": 99}
    assert pod["podRef"] == {"name": "p", "namespace": "a", "uid": "u1"}
    assert pod["process_stats"] == {"process_count": 3}
    assert pod["network"]["name"] == "eth0"
    assert pod["network"]["rxBytes"] == 10
    assert [one["name"] for one in pod["network"]["interfaces"]] == ["lost", "eth0"]
    (container,) = pod["containers"]
    assert container["name"] == "main"
    assert container["cpu"]["usageNanoCores"] == 1_000_000_000
    assert container["memory"] == {
        "time": date,
        "usageBytes": 500,
        "workingSetBytes": 400,
        "rssBytes": 300,
        "pageFaults": 0,
        "majorPageFaults": 0,
        "availableBytes": 600,
    }


def test_a_rate_that_is_not_known_is_left_out() -> None:
    shown = summary("n1", "", Measured(measurement(1)), only_cpu_and_memory=True)
    assert "usageNanoCores" not in shown["node"]["cpu"]
    assert "usageNanoCores" not in shown["pods"][0]["containers"][0]["cpu"]
    assert not {"fs", "rlimit"} & shown["node"].keys()
    assert not {"network", "process_stats"} & shown["pods"][0].keys()


def test_resource_metrics_are_those_of_the_kubelet() -> None:
    lines = resource_metrics(measurement(16)).splitlines()
    date = int((AT.timestamp() + 16) * 1000)
    where = '{container="main",namespace="a",pod="p"}'
    for wanted in (
        f"node_cpu_usage_seconds_total 32 {date}",
        f"node_memory_working_set_bytes 400 {date}",
        f"container_cpu_usage_seconds_total{where} 16 {date}",
        f"container_memory_working_set_bytes{where} 400 {date}",
        f"container_start_time_seconds{where} {int(AT.timestamp())}",
        f'pod_cpu_usage_seconds_total{{namespace="a",pod="p"}} 16.000000005 {date}',
        "resource_scrape_error 0",
        "# TYPE container_cpu_usage_seconds_total counter",
    ):
        assert wanted in lines


LINE = re.compile(
    r'[a-z_]+(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)*\})? [0-9.e+-]+(?: [0-9]+)?|# (?:HELP|TYPE) .*'
)


@pytest.mark.parametrize(("image", "interface"), [("busybox", "eth0"), (HOSTILE, HOSTILE)])
def test_names_of_others_end_where_they_should(image: str, interface: str) -> None:
    text = cadvisor_metrics(measurement(16, image, interface), 4)
    lines = text.splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    named = [line for line in lines if line.startswith("container_cpu_usage_seconds_total{")]
    assert len(named) == 3  # machine, pod, container
    assert sum(line.startswith("container_network_receive_bytes_total{") for line in lines) == 2
    assert "machine_cpu_cores 4" in lines


def test_probes_are_counted_by_type_and_result() -> None:
    probes = SimpleNamespace(counts=Counter({("Readiness", "successful"): 3}))
    ended = msgspec.structs.replace(record(), id="c0", phase="exited")
    metadata = SimpleNamespace(name="p", namespace="a", uid="u1")
    memory = SimpleNamespace(
        pod=SimpleNamespace(metadata=metadata),
        gone=False,
        containers={"c0": SimpleNamespace(probes=probes), "c1": SimpleNamespace(probes=probes)},
        records={"c0": ended, "c1": record()},
    )
    text = probe_metrics([cast(Any, memory)])
    labels = 'probe_type="Readiness",result="successful",container="main",pod="p",namespace="a",pod_uid="u1"'
    assert text.splitlines()[2:] == [f"prober_probe_total{{{labels}}} 3"]
    assert probe_metrics([]) == ""


def test_a_summary_has_what_the_files_of_a_pod_take() -> None:
    containers = {"main": ContainerFootprint("main", root=DiskUse(5, 1), logs=DiskUse(6, 2))}
    quota = Filesystem(30, 10, 20, 9, 4)
    volumes = (
        VolumeFiles("scratch", DiskUse(7, 3), Filesystem(100, 60, 40, 10, 7)),
        VolumeFiles("data", None, quota, "claim", is_abnormal=False),
    )
    files = {"u1": PodFiles(containers, volumes, DiskUse(18, 6))}
    measured = Measured(measurement(16), measurement(1))
    shown = summary("n1", "then", measured, only_cpu_and_memory=False, files=files)
    (pod,) = shown["pods"]
    (container,) = pod["containers"]
    assert (container["rootfs"]["usedBytes"], container["rootfs"]["capacityBytes"]) == (5, 200)
    assert (container["logs"]["usedBytes"], container["logs"]["capacityBytes"]) == (6, 100)
    scratch, data = pod["volume"]
    assert (scratch["name"], scratch["usedBytes"], scratch["inodesUsed"]) == ("scratch", 7, 3)
    assert "pvcRef" not in scratch
    assert "volumeHealthStats" not in scratch
    assert data["volumeHealthStats"] == {"abnormal": False}
    assert data["pvcRef"] == {"name": "claim", "namespace": "a"}
    assert (data["capacityBytes"], data["availableBytes"], data["usedBytes"]) == (30, 10, 20)
    assert pod["ephemeral-storage"]["usedBytes"] == 18
    short = summary("n1", "then", measured, only_cpu_and_memory=True, files=files)
    assert "volume" not in short["pods"][0]
    assert "rootfs" not in short["pods"][0]["containers"][0]


def test_the_volumes_of_claims_are_metrics_once_each() -> None:
    disk = Filesystem(100, 60, 40, 10, 4)
    own = VolumeFiles("data", None, disk, "claim", False)
    other = VolumeFiles("data", DiskUse(7, 3), disk, 'a"b')
    files = {
        "p1": PodFiles(volumes=(own, VolumeFiles("empty", None, disk))),
        "p2": PodFiles(volumes=(own, other)),
        "gone": PodFiles(volumes=(VolumeFiles("data", None, disk, "late"),)),
    }
    text = volume_metrics(files, {"p1": "default", "p2": "default"})
    claim = '{namespace="default",persistentvolumeclaim="claim"}'
    ends = (" 100", " 60", " 6")
    assert [line for line in text.splitlines() if claim in line and line.endswith(ends)] == [
        f"kubelet_volume_stats_capacity_bytes{claim} 100",
        f"kubelet_volume_stats_available_bytes{claim} 60",
        f"kubelet_volume_stats_inodes_used{claim} 6",
    ]
    assert text.count(f"kubelet_volume_stats_health_status_abnormal{claim} 0") == 1
    assert text.count("health_status_abnormal{") == 1
    assert 'inodes_used{namespace="default",persistentvolumeclaim="a\\"b"} 3' in text
    assert "late" not in text
    assert volume_metrics({}, {}) == ""
