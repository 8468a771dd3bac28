"""Volumes in folders of this machine, without mounts."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.server import Server

from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.node.environment import ConfigUnavailable, Surroundings
from kubelite.node.name_resolution import DNSSettings
from kubelite.node.volumes.host import HostVolumes
from kubelite.randomness import SeededRandomness

AROUND = Surroundings(("10.42.0.2",), ("192.0.2.1",), {})


def pod_of(volumes: list[dict[str, Any]], mounts: list[dict[str, Any]], **spec: Any) -> Pod:
    containers = [{"name": "app", "image": "a:1", "volumeMounts": mounts}]
    metadata = {"name": "p", "namespace": "default", "uid": "u"}
    body = {"metadata": metadata, "spec": {"volumes": volumes, "containers": containers, **spec}}
    return msgspec.convert(body, Pod)


class Place:
    """A node's folder and an API."""

    def __init__(self, folder: Path) -> None:
        self.server = Server()
        self.folder = folder
        self.volumes = HostVolumes(
            folder,
            self.server.client,
            self.server.clock,
            SeededRandomness(1),
            DNSSettings(("10.43.0.10",)),
            may_mount=False,
        )

    async def mounts(self, pod: Pod, **environment: str) -> dict[str, Path]:
        container = pod.spec.containers[0]
        found = await self.volumes.mounts(pod, container, 0, AROUND, environment)
        return {mount.target: Path(mount.source) for mount in found}


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    await made.server.client.create(Namespace(metadata=ObjectMeta(name="default")))
    return made


async def test_every_container_gets_hosts_resolver_and_termination_log(place: Place) -> None:
    pod = pod_of([], [])
    await place.volumes.set_up(pod, AROUND)
    mounts = await place.mounts(pod)
    assert "10.42.0.2\tp\n" in mounts["/etc/hosts"].read_text()
    assert "nameserver 10.43.0.10" in mounts["/etc/resolv.conf"].read_text()
    mounts["/dev/termination-log"].write_text("last words")
    assert await place.volumes.termination_message("u", "app", 0) == "last words"
    assert await place.volumes.leftovers() == ["u"]
    await place.volumes.tear_down("u")
    assert await place.volumes.leftovers() == []
    assert await place.volumes.termination_message("u", "app", 0) == ""


async def test_a_config_map_is_followed(place: Place) -> None:
    client = place.server.client
    meta = ObjectMeta(name="c", namespace="default")
    await client.create(ConfigMap(metadata=meta, data={"key": "old", "other": "x"}))
    volume = {"name": "v", "configMap": {"name": "c", "items": [{"key": "key", "path": "d/file"}]}}
    pod = pod_of([volume], [{"name": "v", "mountPath": "/v"}])
    await place.volumes.set_up(pod, AROUND)
    file = (await place.mounts(pod))["/v"] / "d/file"
    assert file.read_text() == "old"
    await client.patch(ConfigMap, "c", {"data": {"key": "new"}}, "default")
    await place.volumes.set_up(pod, AROUND)
    assert file.read_text() == "new"


async def test_what_is_missing_is_named(place: Place) -> None:
    pod = pod_of([{"name": "v", "configMap": {"name": "none"}}], [])
    with pytest.raises(ConfigUnavailable) as failure:
        await place.volumes.set_up(pod, AROUND)
    assert str(failure.value) == (
        'MountVolume.SetUp failed for volume "v" : configmap "none" not found'
    )
    optional = pod_of([{"name": "v", "configMap": {"name": "none", "optional": True}}], [])
    await place.volumes.set_up(optional, AROUND)


async def test_sub_paths_are_made_and_stay_inside(place: Place, tmp_path: Path) -> None:
    mounts = [{"name": "v", "mountPath": "/v", "subPathExpr": "$(NAME)/x"}]
    pod = pod_of([{"name": "v", "emptyDir": {}}], mounts)
    await place.volumes.set_up(pod, AROUND)
    source = (await place.mounts(pod, NAME="n"))["/v"]
    assert source.is_dir()
    assert source.parts[-2:] == ("n", "x")
    volume = source.parents[1]
    (volume / "link").symlink_to(tmp_path.parent)
    for path in ("link", "../x", "/etc"):
        escaping = pod_of(
            [{"name": "v", "emptyDir": {}}], [{"name": "v", "mountPath": "/v", "subPath": path}]
        )
        with pytest.raises(ConfigUnavailable):
            await place.mounts(escaping)


@pytest.mark.parametrize(
    ("kind", "exists", "works"),
    [
        ("", False, True),
        ("Directory", False, False),
        ("Directory", True, True),
        ("DirectoryOrCreate", False, True),
        ("FileOrCreate", False, True),
        ("File", True, False),
        ("Socket", True, False),
    ],
)
async def test_host_paths_are_checked(
    place: Place, tmp_path: Path, kind: str, exists: bool, works: bool
) -> None:
    path = tmp_path / "shared"
    if exists:
        path.mkdir()
    pod = pod_of([{"name": "v", "hostPath": {"path": str(path), "type": kind}}], [])
    if works:
        await place.volumes.set_up(pod, AROUND)
    else:
        with pytest.raises(ConfigUnavailable, match="hostPath type check failed"):
            await place.volumes.set_up(pod, AROUND)


async def test_groups_own_what_they_share(place: Place) -> None:
    pod = pod_of([{"name": "v", "emptyDir": {}}], [{"name": "v", "mountPath": "/v"}])
    await place.volumes.set_up(pod, AROUND)
    source = (await place.mounts(pod))["/v"]
    assert source.stat().st_mode & 0o7777 == 0o777
