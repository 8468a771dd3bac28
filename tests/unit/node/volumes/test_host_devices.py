"""Block volumes of a pod, from claim to device."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.server import Server
from testbed.loops import needs_loop_devices

from kubelite.api.client.events import EventRecorder
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.local_storage import LocalStorage
from kubelite.node.name_resolution import DNSSettings
from kubelite.node.runtime import HostDevice
from kubelite.node.volumes.host import HostVolumes
from kubelite.node.volumes.local_folders import LocalFolders
from kubelite.node.volumes.loop_devices import attached
from kubelite.randomness import SeededRandomness
from unit.node.volumes.test_host import AROUND

pytestmark = needs_loop_devices


def pod_of(*, read_only: bool = False, **container: Any) -> Pod:
    claim = {"claimName": "data", "readOnly": read_only}
    body = {
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {
            "volumes": [{"name": "disk", "persistentVolumeClaim": claim}],
            "containers": [{"name": "app", "image": "a:1", **container}],
        },
    }
    return msgspec.convert(body, Pod)


DEVICES: dict[str, Any] = {"volumeDevices": [{"name": "disk", "devicePath": "/dev/xvda"}]}
MOUNTS: dict[str, Any] = {"volumeMounts": [{"name": "disk", "mountPath": "/disk"}]}


class Place:
    """A node with one bound claim."""

    def __init__(self, folder: Path) -> None:
        self.server = Server()
        self.folder = folder / "node"
        self.folder.mkdir()
        self.disk = folder / "disk.img"
        with self.disk.open("wb") as file:
            file.truncate(1 << 20)
        client = self.server.client
        self.events = EventRecorder(
            client, self.server.clock, SeededRandomness(2), component="kubelet"
        )
        local = LocalStorage("one", client, LocalFolders(folder / "storage"), self.events)
        self.volumes = HostVolumes(
            self.folder,
            client,
            self.server.clock,
            SeededRandomness(1),
            DNSSettings(("10.43.0.10",)),
            local=local,
        )

    async def bind(self, mode: str = "Block", **source: Any) -> None:
        client = self.server.client
        await client.create(Namespace(metadata=ObjectMeta(name="default")))
        common = {"accessModes": ["ReadWriteOnce"], "volumeMode": mode}
        wanted = {"resources": {"requests": {"storage": "1Mi"}}, "volumeName": "pv"}
        claim = {
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {**common, **wanted, "storageClassName": ""},
        }
        made = await client.create(msgspec.convert(claim, PersistentVolumeClaim))
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["one"]}
        affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
        owner = {"namespace": "default", "name": "data", "uid": made.metadata.uid}
        spec = {
            **common,
            "capacity": {"storage": "1Mi"},
            "claimRef": owner,
            "nodeAffinity": affinity,
            **(source or {"local": {"path": str(self.disk)}}),
        }
        volume = {"metadata": {"name": "pv"}, "spec": spec}
        await client.create(msgspec.convert(volume, PersistentVolume))
        bound = {"status": {"phase": "Bound"}}
        await client.patch(PersistentVolumeClaim, "data", bound, "default", subresource="status")

    async def devices(self, pod: Pod) -> tuple[HostDevice, ...]:
        return await self.volumes.devices(pod, pod.spec.containers[0])

    def is_attached(self) -> bool:
        state = self.disk.stat()
        return any(one.file == (state.st_dev, state.st_ino) for one in attached())


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    await made.volumes.tear_down("u")
    await made.events.close()


@pytest.mark.parametrize(("read_only", "permissions"), [(False, "rwm"), (True, "r")])
async def test_a_container_gets_the_device_of_its_claim_until_the_pod_ends(
    place: Place, read_only: bool, permissions: str
) -> None:
    await place.bind()
    pod = pod_of(read_only=read_only, **DEVICES)
    assert await place.devices(pod) == ()  # not there before the volumes are set up
    await place.volumes.set_up(pod, AROUND)
    (device,) = await place.devices(pod)
    assert (device.target, device.permissions) == ("/dev/xvda", permissions)
    assert Path(device.source).is_block_device()
    top = "plugins/kubernetes.io/local-volume/volumeDevices/pv/u"
    assert Path(device.source) == place.folder / top
    assert place.is_attached()
    await place.volumes.tear_down("u")
    assert not place.is_attached()
    assert await place.volumes.leftovers() == []


@pytest.mark.parametrize(
    ("mode", "uses", "message"),
    [
        ("Block", MOUNTS, "volume disk has volumeMode Block, but is specified in volumeMounts"),
        (
            "Filesystem",
            DEVICES,
            "volume disk has volumeMode Filesystem, but is specified in volumeDevices",
        ),
    ],
)
async def test_a_volume_is_used_only_as_its_mode_allows(
    place: Place, mode: str, uses: dict[str, Any], message: str
) -> None:
    await place.bind(mode)
    with pytest.raises(ConfigUnavailable, match=message):
        await place.volumes.set_up(pod_of(**uses), AROUND)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"hostPath": {"path": "/dev/loop0"}}, "no volume plugin matched"),
        ({"local": {"path": "/nowhere/disk"}}, 'path "/nowhere/disk" does not exist'),
        ({"local": {"path": "/dev/null"}}, 'path "/dev/null" is neither a block device nor a file'),
    ],
)
async def test_what_cannot_be_a_device_keeps_the_pod_waiting(
    place: Place, source: dict[str, Any], message: str
) -> None:
    await place.bind(**source)
    expected = f'MapVolume.SetUpDevice failed for volume "disk" : {message}'
    with pytest.raises(ConfigUnavailable) as failure:
        await place.volumes.set_up(pod_of(**DEVICES), AROUND)
    assert str(failure.value) == expected
