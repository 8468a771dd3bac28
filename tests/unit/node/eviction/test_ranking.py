"""The order in which pods are evicted."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.eviction.observations import ContainerFootprint, DiskUse, PodFootprint
from kubelite.node.eviction.ranking import ranked


def pod(name: str, priority: int = 0, **requests: str) -> Pod:
    container: dict[str, Any] = {"name": "c", "image": "i", "resources": {"requests": requests}}
    body = {
        "metadata": {"name": name, "uid": name},
        "spec": {"priority": priority, "containers": [container]},
    }
    return msgspec.convert(body, Pod)


def memory(used: int) -> PodFootprint:
    return PodFootprint(memory_bytes=used)


def files(root: int = 0, logs: int = 0, volume: int = 0) -> PodFootprint:
    container = ContainerFootprint("c", root=DiskUse(root, root), logs=DiskUse(logs, logs))
    return PodFootprint(containers=(container,), volumes={"v": DiskUse(volume, volume)})


def order(signal: str, pods: list[Pod], uses: dict[str, PodFootprint], **how: bool) -> str:
    dedicated = how.get("dedicated", False)
    found = ranked(signal, pods, uses, dedicated_image_fs=dedicated)
    return " ".join(one.metadata.name for one in found)


@pytest.mark.parametrize("signal", ["memory.available", "allocatableMemory.available"])
def test_memory(signal: str) -> None:
    pods = [
        pod("within", memory="100"),
        pod("important", 10, memory="1"),
        pod("little", memory="10"),
        pod("much", memory="10"),
        pod("unknown"),
    ]
    uses = {
        "within": memory(100),
        "important": memory(1000),
        "little": memory(11),
        "much": memory(50),
    }
    assert order(signal, pods, uses) == "unknown much little important within"


def test_within_their_requests_pods_of_lower_priority_go_first() -> None:
    pods = [pod("high", 5, memory="100"), pod("low", 1, memory="100"), pod("near", 1, memory="20")]
    uses = {"high": memory(1), "low": memory(10), "near": memory(19)}
    assert order("memory.available", pods, uses) == "near low high"


def test_processes_go_by_priority_and_number() -> None:
    pods = [pod("few"), pod("many"), pod("important", 1), pod("unknown")]
    uses = {
        "few": PodFootprint(processes=1),
        "many": PodFootprint(processes=9),
        "important": PodFootprint(processes=99),
    }
    assert order("pid.available", pods, uses) == "unknown many few important"


USES = {
    "layer": files(root=100),
    "log": files(logs=50),
    "volume": files(volume=70),
    "asked": files(root=10, logs=10, volume=10),
}
ASKED: Any = {"ephemeral-storage": "1000"}
PODS = [pod("layer"), pod("log"), pod("volume"), pod("asked", **ASKED)]


@pytest.mark.parametrize(
    ("signal", "dedicated", "expected"),
    [
        ("nodefs.available", False, "layer volume log asked"),
        ("imagefs.available", False, "layer volume log asked"),
        ("nodefs.available", True, "volume log layer asked"),
        ("imagefs.available", True, "layer log volume asked"),
        ("nodefs.inodesFree", False, "layer volume log asked"),
        ("nodefs.inodesFree", True, "volume log asked layer"),
        ("imagefs.inodesFree", True, "layer asked log volume"),
    ],
)
def test_disk(signal: str, dedicated: bool, expected: str) -> None:
    assert order(signal, PODS, USES, dedicated=dedicated) == expected
