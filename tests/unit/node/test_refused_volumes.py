"""Volumes of types that the node does not have: the pod waits, and is told so."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.server import Server, StandingClock

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import Volume, VolumeProjection
from kubelite.node.environment import ConfigUnavailable, Surroundings
from kubelite.node.name_resolution import DNSSettings
from kubelite.node.volumes.host import HostVolumes
from kubelite.randomness import SeededRandomness

KNOWN = {
    "configMap",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "hostPath",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
KNOWN_PROJECTIONS = {"configMap", "downwardAPI", "secret", "serviceAccountToken"}


async def set_up(volume: dict[str, Any], folder: Path) -> None:
    pod = msgspec.convert(
        {
            "metadata": {"name": "p", "namespace": "default", "uid": "u"},
            "spec": {"volumes": [{"name": "v", **volume}]},
        },
        Pod,
    )
    volumes = HostVolumes(
        folder,
        Server().client,
        StandingClock(),
        SeededRandomness(1),
        DNSSettings(),
        may_mount=False,
    )
    await volumes.set_up(pod, Surroundings())


@pytest.mark.parametrize("field", sorted({*Volume.__struct_fields__} - KNOWN - {"name"}))
async def test_a_volume_of_a_type_that_the_node_does_not_have_holds_the_pod(
    field: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigUnavailable, match="no volume plugin matched"):
        await set_up({field: {}}, tmp_path)


@pytest.mark.parametrize("field", sorted({*VolumeProjection.__struct_fields__} - KNOWN_PROJECTIONS))
async def test_a_projection_of_a_type_that_the_node_does_not_have_holds_the_pod(
    field: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigUnavailable, match="source of this type is not supported by the node"):
        await set_up({"projected": {"sources": [{field: {}}]}}, tmp_path)
