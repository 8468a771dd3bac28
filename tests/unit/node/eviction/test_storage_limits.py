"""Which pods have more on disk than they may."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.eviction.observations import ContainerFootprint, DiskUse, PodFootprint
from kubelite.node.eviction.storage_limits import excess_of, has_storage_limit

MIB = 1 << 20


def pod(limit: str = "", size: str = "", **spec: Any) -> Pod:
    limits = {"ephemeral-storage": limit} if limit else {}
    source = {"sizeLimit": size} if size else {}
    body = {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {
            "containers": [{"name": "c", "image": "i", "resources": {"limits": limits}}],
            "volumes": [{"name": "v", "emptyDir": source}],
            **spec,
        },
    }
    return msgspec.convert(body, Pod)


def use(root: int = 0, logs: int = 0, volume: int = 0) -> PodFootprint:
    container = ContainerFootprint("c", root=DiskUse(root * MIB, 1), logs=DiskUse(logs * MIB, 1))
    return PodFootprint(containers=(container,), volumes={"v": DiskUse(volume * MIB, 1)})


@pytest.mark.parametrize(
    ("of", "used", "dedicated", "signal"),
    [
        (pod(), use(999, 999, 999), False, ""),
        (pod(size="2Mi"), use(volume=2), False, ""),
        (pod(size="2Mi"), use(volume=3), False, "emptydirfs.limit"),
        (pod(size="0"), use(volume=3), False, ""),
        (pod(size="2Mi"), PodFootprint(), False, ""),
        (pod(limit="4Mi"), use(2, 2, 0), False, ""),
        (pod(limit="4Mi"), use(2, 1, 2), False, "ephemeralpodfs.limit"),
        (pod(limit="4Mi"), use(2, 2, 1), False, "ephemeralpodfs.limit"),
        (pod(limit="4Mi", size="1Mi"), use(9, 9, 9), False, "emptydirfs.limit"),
        (pod(limit="4Mi"), use(5, 0, 0), True, "ephemeralpodfs.limit"),
    ],
)
def test_limits(of: Pod, used: PodFootprint, dedicated: bool, signal: str) -> None:
    found = excess_of(of, used, dedicated_image_fs=dedicated)
    assert (found.signal if found else "") == signal


def test_a_container_has_a_limit_of_its_own() -> None:
    two = pod(
        containers=[
            {"name": "c", "image": "i", "resources": {"limits": {"ephemeral-storage": "1Mi"}}},
            {"name": "d", "image": "i", "resources": {"limits": {"ephemeral-storage": "9Mi"}}},
        ]
    )
    found = excess_of(two, use(1, 1), dedicated_image_fs=False)
    assert found is not None
    assert found.signal == "ephemeralcontainerfs.limit"
    assert found.message == 'Container c exceeded its local ephemeral storage limit "1Mi". '
    # On a filesystem of the images' own the writable layer does not count for it.
    assert excess_of(two, use(1, 1), dedicated_image_fs=True) is None


def test_which_pods_are_measured() -> None:
    assert not has_storage_limit(pod())
    assert has_storage_limit(pod(limit="1Mi"))
    assert has_storage_limit(pod(size="1Mi"))
    sidecar = {
        "name": "s",
        "image": "i",
        "restartPolicy": "Always",
        "resources": {"limits": {"ephemeral-storage": "1Mi"}},
    }
    assert has_storage_limit(pod(initContainers=[sidecar]))
