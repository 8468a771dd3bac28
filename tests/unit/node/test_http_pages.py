"""What the node's port tells of the node itself: its health, its configuration, what runs on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from kubelite.api.errors import Forbidden
from kubelite.clock import SystemClock
from kubelite.image_config import ImageConfig
from kubelite.limits import NODE_CONNECTIONS
from kubelite.node.configuration import ShownSettings, kubelet_configuration
from kubelite.node.http import NodeAPI, NodeRequest
from kubelite.node.pod_memory import PodMemory
from kubelite.node.runtime import SANDBOX, ContainerRecord
from kubelite.node.shutdown.periods import Period
from kubelite.node.usage import HostMeasure
from kubelite.serving.table import ConnectionTable
from unit.node.test_http import answer, get

GOOD = "Authorization: Bearer good"
SETTINGS = ShownSettings(
    address="127.0.0.1",
    port=10250,
    static_pod_path="/manifests",
    cluster_domain="cluster.local",
    cluster_dns=("10.43.0.10",),
    allowed_unsafe_sysctls=("net.*",),
    shutdown_periods=(Period(5, 7),),
    shutdown_grace_period="0s",
    shutdown_grace_period_critical_pods="0s",
    pod_log_dir="/var/log/",
    policies={"cpu": "none", "memory": "None", "topology": "none", "swap": "NoSwap"},
    flags=ImageConfig(
        image_maximum_gc_age="36h",
        max_pods=50,
        eviction_soft=("memory.available<1Gi,nodefs.available<10%",),
        eviction_soft_grace_period=("memory.available=30s", "nodefs.available=1m"),
        eviction_pressure_transition_period="1h",
        system_reserved=("cpu=500m,memory=1Gi",),
    ),
)


@asynccontextmanager
async def serving(
    rights: set[str], memories: dict[str, PodMemory] | None = None, error: str = ""
) -> AsyncIterator[NodeAPI]:
    async def authorize(asked: NodeRequest) -> None:
        if asked.bearer_token != "good" or asked.subresource not in rights:
            raise Forbidden("no")

    kubelet = cast(Any, SimpleNamespace(memories=memories or {}, engine_error=error))
    table = ConnectionTable(NODE_CONNECTIONS, 100, kept=0)
    measure = HostMeasure(SystemClock(), Path("/"), 1 << 30)
    shown = kubelet_configuration(SETTINGS)
    api = NodeAPI(
        "n1",
        kubelet,
        cast(Any, None),
        SystemClock(),
        authorize,
        measure,
        table,
        configuration=shown,
    )
    await api.start("127.0.0.1", 0, None)
    try:
        yield api
    finally:
        await api.stop()


def body_of(answered: bytes) -> Any:
    return msgspec.json.decode(answered.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/configz", "configz"),
        ("/healthz/syncloop", "healthz"),
        ("/runningpods/", "pods"),
        ("/pods/", "pods"),
    ],
)
async def test_each_page_takes_its_own_right_or_that_to_all(path: str, right: str) -> None:
    for rights, status in (({right}, b"200"), ({"proxy"}, b"200"), ({"stats"}, b"403")):
        async with serving(rights) as api:
            assert (await answer(api, get(path, GOOD))).split()[1] == status
            assert (await answer(api, get(path))).split()[1] == b"403"


async def test_the_sync_loop_needs_an_engine() -> None:
    async with serving({"healthz"}, error="docker is away") as api:
        answered = await answer(api, get("/healthz/syncloop", GOOD))
        assert answered.split()[1] == b"500"
        assert b"sync loop healthcheck failed: docker is away" in answered
        assert b"200 OK" in await answer(api, get("/healthz"))
        assert b"200 OK" in await answer(api, get("/healthz/ping"))


async def test_the_configuration_is_that_of_the_node() -> None:
    async with serving({"configz"}) as api:
        shown = body_of(await answer(api, get("/configz", GOOD)))["kubeletconfig"]
    assert shown["kind"] == "KubeletConfiguration"
    assert shown["staticPodPath"] == "/manifests"
    assert shown["clusterDNS"] == ["10.43.0.10"]
    assert shown["podLogsDir"] == "/var/log/pods"
    assert shown["nodeStatusReportFrequency"] == "5m0s"
    assert shown["shutdownGracePeriodByPodPriority"] == [
        {"priority": 5, "shutdownGracePeriodSeconds": 7}
    ]
    assert shown["maxPods"] == 50
    assert shown["evictionHard"]["memory.available"] == "100Mi"
    assert shown["evictionSoft"] == {"memory.available": "1Gi", "nodefs.available": "10%"}
    assert shown["evictionSoftGracePeriod"] == {"memory.available": "30s", "nodefs.available": "1m"}
    assert shown["evictionPressureTransitionPeriod"] == "1h0m0s"
    assert shown["systemReserved"] == {"cpu": "500m", "memory": "1Gi"}
    assert shown["enforceNodeAllocatable"] == ["pods"]
    assert "kubeReserved" not in shown
    assert shown["imageGCHighThresholdPercent"] == 85
    assert shown["imageMaximumGCAge"] == "36h0m0s"
    assert (shown["serializeImagePulls"], shown["maxParallelImagePulls"]) == (False, 4)
    assert shown["imagePullCredentialsVerificationPolicy"] == "NeverVerifyPreloadedImages"


async def test_running_pods_are_what_the_engine_runs() -> None:
    def memory(uid: str, *records: tuple[str, str]) -> PodMemory:
        made = PodMemory(uid)
        for number, (name, phase) in enumerate(records):
            made.update_container(
                ContainerRecord(
                    f"{uid}-{number}",
                    uid,
                    f"pod-{uid}",
                    "ns",
                    name,
                    0,
                    cast(Any, phase),
                    datetime(2026, 1, 1, tzinfo=UTC),
                    image="app:1",
                )
            )
        return made

    memories = {
        "a": memory("a", (SANDBOX, "running"), ("app", "running"), ("old", "exited")),
        "b": memory("b", (SANDBOX, "exited"), ("app", "exited")),
        "c": memory("c"),
    }
    async with serving({"proxy"}, memories) as api:
        listed = body_of(await answer(api, get("/runningpods/", GOOD)))
    assert listed["kind"] == "PodList"
    (pod,) = listed["items"]
    assert pod["metadata"] == {"name": "pod-a", "namespace": "ns", "uid": "a"}
    assert [one["name"] for one in pod["spec"]["containers"]] == ["app"]
