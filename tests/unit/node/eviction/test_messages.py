"""The words of evictions."""

from typing import Any

import msgspec

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.eviction.messages import (
    container_storage_message,
    empty_dir_message,
    eviction_message,
    node_condition_message,
    pod_storage_message,
)
from kubelite.node.eviction.observations import (
    ContainerFootprint,
    DiskUse,
    Observation,
    PodFootprint,
)
from kubelite.node.eviction.thresholds import Amount, Threshold

MIB = 1 << 20
LOW = Threshold("memory.available", Amount("100Mi"))
FULL = Threshold("nodefs.available", Amount(percent=10.0))
SEEN = {
    "memory.available": Observation(6 * MIB, 1000 * MIB),
    "nodefs.available": Observation(MIB, 1000 * MIB),
}


def pod(*containers: dict[str, Any], **spec: Any) -> Pod:
    body = {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": containers, **spec}}
    return msgspec.convert(body, Pod)


def container(name: str, **requests: str) -> dict[str, Any]:
    return {"name": name, "image": "i", "resources": {"requests": requests}}


def test_memory() -> None:
    about = pod(
        container("big", memory="10Mi"), container("small", memory="10Mi"), container("new")
    )
    use = PodFootprint(
        30 * MIB,
        containers=(
            ContainerFootprint("big", 20 * MIB),
            ContainerFootprint("small", 10 * MIB),
            ContainerFootprint("new", 512),
            ContainerFootprint("debugger", 99 * MIB),  # ephemeral: has no requests
        ),
    )
    message, annotations = eviction_message("memory", about, use, [LOW], SEEN)
    assert message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 6Mi. "
        "Container big was using 20Mi, request is 10Mi, has larger consumption of memory. "
        "Container new was using 512, request is 0, has larger consumption of memory. "
    )
    assert annotations == {
        "offending_containers": "big,new",
        "offending_containers_usage": "20Mi,512",
        "starved_resource": "memory",
    }


def test_memory_of_a_pod_with_resources_of_its_own() -> None:
    about = pod(container("c", memory="1Gi"), resources={"requests": {"memory": "16Mi"}})
    message, annotations = eviction_message("memory", about, PodFootprint(30 * MIB), [LOW], SEEN)
    assert "Pod p was using 30Mi, request is 16Mi, has larger consumption of memory. " in message
    assert annotations["offending_pod"] == "p"
    assert annotations["offending_pod_usage"] == "30Mi"


def test_disk() -> None:
    about = pod(container("c", **{"ephemeral-storage": "1Mi"}), container("unknown"))
    use = PodFootprint(
        containers=(
            ContainerFootprint("c", root=DiskUse(MIB, 1), logs=DiskUse(MIB, 1)),
            ContainerFootprint("unknown", root=DiskUse(MIB, 1)),
        )
    )
    message, annotations = eviction_message("ephemeral-storage", about, use, [LOW, FULL], SEEN)
    assert message == (
        "The node was low on resource: ephemeral-storage. "
        "Threshold quantity: 100Mi, available: 1Mi. "
        "Container c was using 2Mi, request is 1Mi, has larger consumption of ephemeral-storage. "
    )
    assert annotations["starved_resource"] == "ephemeral-storage"


def test_a_pod_without_figures() -> None:
    message, annotations = eviction_message("inodes", pod(), None, [], {})
    assert (message, annotations) == ("The node was low on resource: inodes. ", {})


def test_inodes_and_processes_are_counted_by_the_thousand() -> None:
    assert Observation(12000, 1, is_bytes=False).shown() == "12k"
    assert Observation(12000, 1).shown() == "12000"


def test_limits() -> None:
    assert empty_dir_message("v", "1Mi") == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert pod_storage_message("2Mi") == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "
    )
    assert container_storage_message("c", "1Mi") == (
        'Container c exceeded its local ephemeral storage limit "1Mi". '
    )


def test_conditions() -> None:
    assert node_condition_message(["DiskPressure", "MemoryPressure"]) == (
        "The node had condition: [DiskPressure MemoryPressure]. "
    )
