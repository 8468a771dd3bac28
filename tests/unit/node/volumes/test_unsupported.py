from typing import Any

import pytest

from kubelite.node.environment import ConfigUnavailable
from unit.node.volumes.test_host import AROUND, Place, place, pod_of  # noqa: F401 - a fixture


@pytest.mark.parametrize(
    "source",
    [
        {"gitRepo": {"repository": "/proc/self/root", "directory": ".git/hooks"}},
        {"azureFile": {"secretName": "s", "shareName": "x"}},
        {"rbd": {"monitors": ["m"], "image": "i", "secretRef": {"name": "s"}}},
        {"csi": {"driver": "d"}},
    ],
)
async def test_a_volume_that_the_node_does_not_know_keeps_the_pod_waiting(
    place: Place,  # noqa: F811 - a fixture
    source: dict[str, Any],
) -> None:
    with pytest.raises(ConfigUnavailable, match="no volume plugin matched"):
        await place.volumes.set_up(pod_of([{"name": "v", **source}], []), AROUND)
