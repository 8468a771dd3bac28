"""What is left of each resource."""

from kubelite.node.eviction.observations import (
    ContainerFootprint,
    DiskUse,
    NodeReadings,
    Observation,
    PodFootprint,
    observations_of,
)
from kubelite.node.usage_files import Filesystem

NODE_FS = Filesystem(1000, 300, 700, 50, 20)
IMAGE_FS = Filesystem(5000, 100, 4900, 90, 10)


def test_everything() -> None:
    readings = NodeReadings(
        memory_bytes=100,
        working_set_bytes=30,
        allocatable_bytes=80,
        pods_working_set_bytes=90,
        node_fs=NODE_FS,
        image_fs=IMAGE_FS,
        processes_limit=1000,
        processes=10,
    )
    assert observations_of(readings) == {
        "memory.available": Observation(70, 100),
        "allocatableMemory.available": Observation(0, 80),
        "nodefs.available": Observation(300, 1000),
        "nodefs.inodesFree": Observation(20, 50, is_bytes=False),
        "imagefs.available": Observation(100, 5000),
        "imagefs.inodesFree": Observation(10, 90, is_bytes=False),
        "pid.available": Observation(990, 1000, is_bytes=False),
    }


def test_images_on_the_nodes_filesystem_have_its_room() -> None:
    found = observations_of(NodeReadings(node_fs=NODE_FS))
    assert found["imagefs.available"] == found["nodefs.available"]


def test_what_cannot_be_read_is_not_observed() -> None:
    assert observations_of(NodeReadings()) == {}
    without_inodes = Filesystem(1000, 300, 700, 0, 0)
    assert "nodefs.inodesFree" not in observations_of(NodeReadings(node_fs=without_inodes))


def test_the_files_of_a_pod_together() -> None:
    containers = (
        ContainerFootprint("a", root=DiskUse(1, 1), logs=DiskUse(2, 1)),
        ContainerFootprint("b"),
    )
    footprint = PodFootprint(containers=containers, volumes={"v": DiskUse(4, 7)})
    assert footprint.disk == DiskUse(7, 9)
