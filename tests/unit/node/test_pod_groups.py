"""The control groups of pods: what is written, where, in which order, and what happens when that fails."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.cgroups import legacy_settings, limit_pod, unified_settings, weight_of
from kubelite.node.resources import class_shares, group_limits, oom_score_adj
from kubelite.node.runtime import ContainerLimits, ContainerRecord, RuntimeFailure
from unit.node.cluster import Cluster, container, is_ready, run_virtually

UID = "0b-1"
LIMITS = ContainerLimits(cpu_shares=512, cpu_quota_us=50_000, memory_bytes=64 << 20)
UNLIMITED = ContainerLimits(cpu_shares=2)


def pod_of(*resources: dict[str, Any], **spec: Any) -> Pod:
    containers = [container(f"c{i}", resources=given) for i, given in enumerate(resources)]
    body = {"metadata": {"name": "p", "uid": UID}, "spec": {"containers": containers, **spec}}
    return msgspec.convert(body, Pod)


def requests(cpu: str = "0", memory: str = "0") -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}}


# What a pod's group is given


@pytest.mark.parametrize(
    ("pod", "limits"),
    [
        (pod_of({}), UNLIMITED),
        (pod_of(requests("250m"), requests("500m")), ContainerLimits(cpu_shares=768)),
        # Limits of containers are enforced by container.
        (pod_of({"limits": {"cpu": "1", "memory": "1Gi"}, **requests("1")}), ContainerLimits(cpu_shares=1024)),
        (
            pod_of({}, requests("1"), resources={"limits": {"cpu": "500m", "memory": "64Mi"}, **requests("500m")}),
            LIMITS,
        ),
    ],
)  # fmt: skip
def test_limits_of_a_group(pod: Pod, limits: ContainerLimits) -> None:
    assert group_limits(pod) == limits


def test_the_weight_of_a_class() -> None:
    guaranteed = {"limits": {"cpu": "1", "memory": "1Gi"}, **requests("1", "1Gi")}
    pods = [pod_of(requests("1")), pod_of(requests("500m")), pod_of({}), pod_of(guaranteed)]
    assert [class_shares(pod, pods) for pod in pods] == [1536, 1536, 2, 0]


def test_memory_that_no_container_asked_for_protects_all_alike() -> None:
    pod = pod_of(requests(memory="128Mi"), {}, resources=requests(memory="512Mi"))
    scores = [oom_score_adj(pod, one, 1 << 30) for one in pod.spec.containers]
    assert scores == [688, 813]  # 320 and 192 MiB of 1 GiB


# What is written


def test_settings() -> None:
    assert legacy_settings(LIMITS) == (
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("memory", "memory.limit_in_bytes", "67108864"),
    )
    assert [value for _, _, value in legacy_settings(UNLIMITED)] == ["2", "100000", "-1", "-1"]
    assert unified_settings(LIMITS) == (
        ("", "cpu.weight", "20"),
        ("", "cpu.max", "50000 100000"),
        ("", "memory.max", "67108864"),
    )
    assert [value for _, _, value in unified_settings(UNLIMITED)] == ["1", "max 100000", "max"]


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262_144, 10_000)])
def test_weights(shares: int, weight: int) -> None:
    assert weight_of(shares) == weight


class Host:
    """A host's files for process 5, whose group is that of a pod's sandbox."""

    def __init__(self, folder: Path, group: str, *, unified: bool) -> None:
        self.proc, self.root = folder / "proc", folder / "cgroup"
        (self.proc / "5").mkdir(parents=True)
        self.pod = group.rpartition("/")[0]
        if unified:
            lines = f"0::{group}\n"
            files: dict[str, tuple[str, ...]] = {"": ("cpu.weight", "cpu.max", "memory.max")}
            self.root.mkdir(parents=True)
            (self.root / "cgroup.controllers").touch()
        else:
            lines = f"3:cpu,cpuacct:{group}\n2:memory:{group}\n0::/\n"
            files = {
                "cpu": ("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"),
                "memory": ("memory.limit_in_bytes",),
            }
        (self.proc / "5" / "cgroup").write_text(lines)
        for controller, names in files.items():
            for place in (group, self.pod, self.pod.rpartition("/")[0]):
                made = self.root / controller / place.lstrip("/")
                made.mkdir(parents=True, exist_ok=True)
                for name in names:
                    (made / name).write_text("?")

    def limit(self, limits: ContainerLimits, weight: int = 0, uid: str = UID) -> None:
        limit_pod(5, uid, limits, weight, self.proc, self.root)

    def written(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in self.root.rglob("*.*")
            if path.is_file() and path.read_text() not in ("", "?")
        }


def test_the_pods_own_group_and_its_class_are_set_and_nothing_else(tmp_path: Path) -> None:
    host = Host(tmp_path, f"/kubelite/burstable/pod{UID}/f00", unified=False)
    host.limit(LIMITS, 1536)
    place = f"kubelite/burstable/pod{UID}"
    assert host.written() == {
        "cpu/kubelite/burstable/cpu.shares": "1536",
        f"cpu/{place}/cpu.shares": "512",
        f"cpu/{place}/cpu.cfs_period_us": "100000",
        f"cpu/{place}/cpu.cfs_quota_us": "50000",
        f"memory/{place}/memory.limit_in_bytes": "67108864",
    }


@pytest.mark.parametrize(
    ("group", "uid"),
    [
        (f"/kubelite/burstable/pod{UID}/f00", UID),
        ("/kubelite.slice/kubelite-burstable.slice/kubelite-burstable-pod0b_1.slice/docker-f00.scope", UID),
    ],
)  # fmt: skip
def test_the_unified_hierarchy_and_both_drivers(tmp_path: Path, group: str, uid: str) -> None:
    host = Host(tmp_path, group, unified=True)
    host.limit(LIMITS, 1536, uid)
    place = host.pod.lstrip("/")
    assert host.written() == {
        f"{Path(place).parent}/cpu.weight": "59",
        f"{place}/cpu.weight": "20",
        f"{place}/cpu.max": "50000 100000",
        f"{place}/memory.max": "67108864",
    }


@pytest.mark.parametrize("group", ["/kubelite/podother/f00", "/", "/system.slice/x.service", ""])
def test_a_group_that_is_not_the_pods_is_left_alone(tmp_path: Path, group: str) -> None:
    host = Host(tmp_path, group, unified=False)
    with pytest.raises(OSError, match="control group of pod 0b-1"):
        host.limit(LIMITS, 1536)
    assert host.written() == {}


def test_a_controller_that_the_kernel_lacks_matters_only_for_a_limit(tmp_path: Path) -> None:
    host = Host(tmp_path, f"/kubelite/pod{UID}/f00", unified=False)
    (host.root / "memory" / f"kubelite/pod{UID}" / "memory.limit_in_bytes").unlink()
    host.limit(UNLIMITED)
    with pytest.raises(FileNotFoundError):
        host.limit(LIMITS)


# What the kubelet does with it


class Engine:
    """Notes what pods' groups were given, beside the containers that were there by then."""

    def __init__(self, cluster: Cluster) -> None:
        self.given: list[tuple[ContainerLimits, int, int]] = []
        self.refuses = 0
        self._runtime = cluster.node.runtime
        self._runtime.limit_pod = self.limit_pod  # type: ignore[method-assign]  # to see what it is asked

    async def limit_pod(
        self, sandbox: ContainerRecord, limits: ContainerLimits, class_shares: int
    ) -> None:
        if self.refuses:
            self.refuses -= 1
            raise RuntimeFailure("cannot set the control group of the pod: read-only")
        records = self._runtime.all_records()
        others = [one for one in records if one.pod_uid == sandbox.pod_uid and not one.is_sandbox]
        self.given.append((limits, class_shares, len(others)))


SHARED = {
    "containers": [container(), container("other")],
    "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "500m"}},
}


def test_a_group_has_its_limits_before_anything_runs_in_it() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            engine = Engine(cluster)
            await cluster.create(SHARED)
            pod = await cluster.until(is_ready)
            expected = ContainerLimits(cpu_shares=512, memory_bytes=64 << 20)
            assert engine.given == [(expected, 512, 0)]
            assert pod.status.resources == pod.spec.resources
            assert pod.status.allocatedResources["cpu"] == "500m"
            await cluster.node.stop()  # what it had before is not known after a restart
            await cluster.node.start()
            await asyncio.sleep(5)
            assert [limits for limits, _, _ in engine.given] == [expected, expected]

    run_virtually(main())


def test_a_limit_that_cannot_be_set_keeps_every_container_from_running() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            engine = Engine(cluster)
            engine.refuses = 4
            await cluster.create(SHARED)
            await asyncio.sleep(5)
            assert all(one.is_sandbox for one in cluster.node.runtime.all_records())
            events = await cluster.client.list(Event, "default")
            failed = [one for one in events if one.reason == "FailedCreatePodSandBox"]
            assert {one.message for one in failed} == {
                "Failed to create pod sandbox: cannot set the control group of the pod: read-only"
            }
            await cluster.until(is_ready)  # as soon as it can be set

    run_virtually(main())


def test_a_weight_that_cannot_be_set_holds_no_pod_up() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            Engine(cluster).refuses = 1000
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)

    run_virtually(main())


def test_no_pod_swaps(tmp_path: Path) -> None:
    host = Host(tmp_path, f"/kubelite/burstable/pod{UID}/f00", unified=True)
    swap = host.root / host.pod.lstrip("/") / "memory.swap.max"
    host.limit(LIMITS)  # a kernel without swap lacks the file
    swap.write_text("?")
    host.limit(UNLIMITED)
    assert swap.read_text() == "0"
