"""Volumes in folders of this machine, without mounts."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.server import Server
from msgspec.structs import replace

from kubelite.api.client.events import EventRecorder
from kubelite.api.errors import APIError, Forbidden, ServiceUnavailable
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.persistent_volumes import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
)
from kubelite.api.kinds.core.pods import Pod, PodSecurityContext
from kubelite.api.kinds.core.volumes import (
    HostPathVolumeSource,
    PersistentVolumeClaimSpec,
    VolumeResourceRequirements,
)
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.machinery.local_volumes import NODE_LABEL, PROVISIONED_BY, PROVISIONER_NAME
from kubelite.api.machinery.times import format_time
from kubelite.limits import POD_FILES, POD_FOLLOWED_OBJECTS, TERMINATION_MESSAGE
from kubelite.node.environment import ConfigUnavailable, Surroundings
from kubelite.node.local_storage import LocalStorage
from kubelite.node.name_resolution import DNSSettings
from kubelite.node.pod_files import ClaimedFolder
from kubelite.node.volumes.host import HostVolumes
from kubelite.node.volumes.local_folders import LocalFolders
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

    async def read_only(self, pod: Pod) -> dict[str, bool]:
        container = pod.spec.containers[0]
        found = await self.volumes.mounts(pod, container, 0, AROUND, {})
        return {mount.target: mount.read_only for mount in found}

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


@pytest.mark.parametrize("owner", ["", "other", "u"])
async def test_an_ephemeral_volume_uses_only_the_claim_made_for_its_pod(
    place: Place, tmp_path: Path, owner: str
) -> None:
    """Whoever may create claims could else put a volume of their own under the pod's."""
    client = place.server.client
    references = [OwnerReference(apiVersion="v1", kind="Pod", name="p", uid=owner, controller=True)]
    volume = PersistentVolume(
        metadata=ObjectMeta(name="pv"),
        spec=PersistentVolumeSpec(
            capacity={"storage": "1Gi"},
            accessModes=["ReadWriteOnce"],
            hostPath=HostPathVolumeSource(path=str(tmp_path)),
        ),
    )
    claim = PersistentVolumeClaim(
        metadata=ObjectMeta(
            name="p-v", namespace="default", ownerReferences=references if owner else []
        ),
        spec=PersistentVolumeClaimSpec(
            accessModes=["ReadWriteOnce"],
            volumeName="pv",
            resources=VolumeResourceRequirements(requests={"storage": "1Gi"}),
        ),
    )
    await client.create(volume)
    await client.create(claim)
    await client.patch(
        PersistentVolumeClaim,
        "p-v",
        {"status": {"phase": "Bound"}},
        "default",
        subresource="status",
    )
    template = {"spec": {"accessModes": ["ReadWriteOnce"]}}
    pod = pod_of(
        [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}],
        [{"name": "v", "mountPath": "/data"}],
    )
    await place.volumes.set_up(pod, AROUND)
    if owner == "u":
        assert (await place.mounts(pod))["/data"] == tmp_path
        return
    wording = "PVC default/p-v was not created for pod default/p \\(pod is not owner\\)"
    with pytest.raises(ConfigUnavailable, match=wording):
        await place.mounts(pod)


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


@pytest.mark.parametrize(
    ("propagation", "shown"),
    [("", "link"), ("None", "link"), ("HostToContainer", "real"), ("Bidirectional", "real")],
)
async def test_a_mount_that_propagates_is_named_by_the_path_that_it_really_has(
    place: Place, tmp_path: Path, propagation: str, shown: str
) -> None:
    """containerd asks by the text of the path whether it is on a shared mount, and drivers use the kubelet's link."""
    (tmp_path / "real" / "pods").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    volume = {"name": "v", "hostPath": {"path": str(tmp_path / "link" / "pods")}}
    mount = {"name": "v", "mountPath": "/v", "mountPropagation": propagation}
    pod = pod_of([volume], [mount])
    await place.volumes.set_up(pod, AROUND)
    assert (await place.mounts(pod))["/v"] == tmp_path / shown / "pods"


async def test_groups_own_what_they_share(place: Place) -> None:
    pod = pod_of([{"name": "v", "emptyDir": {}}], [{"name": "v", "mountPath": "/v"}])
    await place.volumes.set_up(pod, AROUND)
    source = (await place.mounts(pod))["/v"]
    assert source.stat().st_mode & 0o7777 == 0o777


async def test_what_shows_the_api_is_mounted_read_only_whatever_the_pod_asks(place: Place) -> None:
    """A container that can write there can turn the links that the node's next update goes by (CVE-2017-1002102)."""
    client = place.server.client
    await client.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="default")))
    await client.create(Secret(metadata=ObjectMeta(name="s", namespace="default")))
    kinds: dict[str, dict[str, Any]] = {
        "configMap": {"name": "c"},
        "secret": {"secretName": "s"},
        "downwardAPI": {"items": []},
        "projected": {"sources": [{"configMap": {"name": "c"}}]},
        "emptyDir": {},
        "hostPath": {"path": str(place.folder)},
    }
    volumes = [{"name": kind.lower(), kind: source} for kind, source in kinds.items()]
    mounts = [{"name": kind.lower(), "mountPath": f"/{kind}", "readOnly": False} for kind in kinds]
    mounts.append({"name": "configmap", "mountPath": "/sub", "subPath": "x"})
    pod = pod_of(volumes, mounts)
    await place.volumes.set_up(pod, AROUND)
    found = await place.read_only(pod)
    assert {target for target, is_read_only in found.items() if is_read_only} == {
        "/configMap",
        "/secret",
        "/downwardAPI",
        "/projected",
        "/sub",
    }


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 5000, b""])
async def test_what_a_container_wrote_into_its_own_files_is_overwritten(
    place: Place, content: bytes
) -> None:
    pod = pod_of([], [])
    await place.volumes.set_up(pod, AROUND)
    mounts = await place.mounts(pod)
    before = {target: path.read_bytes() for target, path in mounts.items()}
    for path in mounts.values():
        path.write_bytes(content)
    assert {t: path.read_bytes() for t, path in (await place.mounts(pod)).items()} == before


async def test_own_files_are_not_read_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = pod_of([], [], hostNetwork=True)
    await place.volumes.set_up(pod, AROUND)
    for path in (await place.mounts(pod)).values():
        with path.open("r+b") as file:
            file.truncate(3 << 30)
    sizes: list[int] = []
    real = os.read

    def counted(descriptor: int, size: int) -> bytes:
        data = real(descriptor, size)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(os, "read", counted)
    mounts = await place.mounts(pod)
    assert sum(sizes) < 2 << 20
    assert mounts["/etc/hosts"].stat().st_size < 2 << 20


async def test_a_termination_message_is_cut(place: Place) -> None:
    pod = pod_of([], [])
    await place.volumes.set_up(pod, AROUND)
    path = (await place.mounts(pod))["/dev/termination-log"]
    with path.open("wb") as file:
        file.write(b"a" * 5000)
        file.truncate(3 << 30)
    reached = TERMINATION_MESSAGE.times_reached
    assert await place.volumes.termination_message("u", "app", 0) == "a" * 4096
    assert TERMINATION_MESSAGE.times_reached == reached + 1


@pytest.mark.parametrize("kind", ["link", "fifo"])
async def test_a_termination_message_that_is_no_file_is_not_read(place: Place, kind: str) -> None:
    pod = pod_of([], [])
    await place.volumes.set_up(pod, AROUND)
    path = (await place.mounts(pod))["/dev/termination-log"]
    path.unlink()
    if kind == "link":
        path.symlink_to("/etc/hostname")
    else:
        os.mkfifo(path)
    assert await place.volumes.termination_message("u", "app", 0) == ""


async def test_a_pod_whose_volumes_hold_too_much_waits(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(POD_FILES, "value", 10_000)
    client = place.server.client
    meta = ObjectMeta(name="c", namespace="default")
    await client.create(ConfigMap(metadata=meta, data={"key": "x" * 1000}))
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "key", "path": f"p{number}"}]}}
        for number in range(11)
    ]
    items = [{"key": "key", "path": f"p{number}"} for number in range(11)]
    for volume in (
        {"name": "v", "projected": {"sources": sources}},
        {"name": "v", "configMap": {"name": "c", "items": items}},
    ):
        with pytest.raises(ConfigUnavailable, match="more than 10000 bytes"):
            await place.volumes.set_up(pod_of([volume], []), AROUND)
    half = {"name": "v", "projected": {"sources": sources[:6]}}
    await place.volumes.set_up(pod_of([half], []), AROUND)
    with pytest.raises(ConfigUnavailable, match="more than 10000 bytes"):
        await place.volumes.set_up(pod_of([half, {**half, "name": "w"}], []), AROUND)


async def test_a_tree_of_any_depth_goes_with_its_pod(place: Place) -> None:
    pod = pod_of([{"name": "v", "emptyDir": {}}], [{"name": "v", "mountPath": "/v"}])
    await place.volumes.set_up(pod, AROUND)
    folder = os.open((await place.mounts(pod))["/v"], os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=folder)
        following = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = following
    os.close(folder)
    await place.volumes.tear_down("u")
    assert await place.volumes.leftovers() == []


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "a\nb"])
async def test_names_that_are_no_step_of_a_path_are_refused(place: Place, name: str) -> None:
    pod = pod_of([{"name": name, "emptyDir": {}}], [])
    with pytest.raises(ConfigUnavailable):
        await place.volumes.set_up(pod, AROUND)
    if name:
        with pytest.raises(ConfigUnavailable):
            await place.volumes.tear_down(name)


async def test_a_changed_object_is_told_until_the_pod_has_ended(place: Place) -> None:
    told: list[str] = []
    place.volumes.changed = told.append
    client = place.server.client
    watching = place.server.hub.watching
    pod = pod_of([{"name": "v", "configMap": {"name": "c", "optional": True}}], [])
    assert await place.volumes.set_up(pod, AROUND) is None
    meta = ObjectMeta(name="c", namespace="default")
    await client.create(ConfigMap(metadata=meta, data={"k": "v"}))
    assert told == ["u"]
    place.volumes.rest("u")
    await client.delete(ConfigMap, "c", "default")
    assert told == ["u"]
    await place.volumes.set_up(pod, AROUND)
    await place.volumes.tear_down("u")
    await place.volumes.set_up(pod, AROUND)
    place.volumes.close()
    assert place.server.hub.watching == watching


async def test_volumes_that_show_more_than_is_followed_are_read_once_a_minute(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(POD_FOLLOWED_OBJECTS, "value", 0)
    pod = pod_of([{"name": "v", "configMap": {"name": "c", "optional": True}}], [])
    due = await place.volumes.set_up(pod, AROUND)
    assert due == place.server.clock.now() + timedelta(minutes=1)


TOKEN = [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]


class Tokens:
    """Answers for tokens, in place of the API."""

    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.error: APIError | None = None
        self._clock = place.server.clock
        monkeypatch.setattr(place.server.client, "post", self.post)

    async def post(self, *_: object) -> dict[str, Any]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        expires = format_time(self._clock.now() + timedelta(hours=1))
        return {"status": {"token": f"token {self.asked}", "expirationTimestamp": expires}}


async def test_a_token_is_renewed_at_its_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, clock = Tokens(place, monkeypatch), place.server.clock
    pod, start = pod_of(TOKEN, [{"name": "v", "mountPath": "/t"}]), clock.now()
    due = await place.volumes.set_up(pod, AROUND)
    assert due == start + timedelta(minutes=48)  # 80 % of an hour
    file = (await place.mounts(pod))["/t"] / "token"
    clock.advance(47 * 60)
    assert await place.volumes.set_up(pod, AROUND) == due
    assert tokens.asked == 1
    clock.advance(60)
    assert await place.volumes.set_up(pod, AROUND) == start + timedelta(minutes=96)
    assert file.read_text() == "token 2"


async def test_a_token_that_cannot_be_renewed_serves_until_it_expires(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, clock = Tokens(place, monkeypatch), place.server.clock
    pod = pod_of(TOKEN, [{"name": "v", "mountPath": "/t"}])
    await place.volumes.set_up(pod, AROUND)
    tokens.error = ServiceUnavailable("down")
    clock.advance(50 * 60)
    due = await place.volumes.set_up(pod, AROUND)
    assert due is not None
    assert timedelta(seconds=10) <= due - clock.now() <= timedelta(seconds=20)
    assert ((await place.mounts(pod))["/t"] / "token").read_text() == "token 1"
    tokens.error = Forbidden("the account is gone")
    clock.advance(10 * 60)
    with pytest.raises(Forbidden):
        await place.volumes.set_up(pod, AROUND)


async def test_a_token_that_expires_while_the_server_is_away_stays_and_is_renewed_afterwards(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, clock = Tokens(place, monkeypatch), place.server.clock
    pod = pod_of(TOKEN, [{"name": "v", "mountPath": "/t"}])
    await place.volumes.set_up(pod, AROUND)
    file = (await place.mounts(pod))["/t"] / "token"
    tokens.error = ServiceUnavailable("away")
    for _ in range(6):
        clock.advance(3600)
        due = await place.volumes.set_up(pod, AROUND)
        assert due is not None
        assert clock.now() < due <= clock.now() + timedelta(seconds=20)
        assert file.read_text() == "token 1"  # a container that starts again has its volume
    tokens.error = None
    clock.advance(20)
    await place.volumes.set_up(pod, AROUND)
    assert file.read_text() == f"token {tokens.asked}"


async def test_what_volumes_show_is_kept_for_when_the_server_is_away(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = place.server.client
    metadata = ObjectMeta(name="settings", namespace="default")
    await client.create(ConfigMap(metadata=metadata, data={"key": "text"}))
    config = [{"name": "v", "configMap": {"name": "settings"}}]
    pod = pod_of(config, [{"name": "v", "mountPath": "/c"}])
    await place.volumes.set_up(pod, AROUND)
    reads = place.volumes._content.reads
    assert reads.size_bytes > 0

    async def away(*_: object) -> Any:
        raise ServiceUnavailable("away")

    monkeypatch.setattr(client, "get", away)
    await place.volumes.set_up(pod, AROUND)
    assert ((await place.mounts(pod))["/c"] / "key").read_text() == "text"
    await place.volumes.tear_down(pod.metadata.uid)
    assert reads.size_bytes == 0
    with pytest.raises(ServiceUnavailable):
        await place.volumes.set_up(pod, AROUND)


async def test_the_hosts_resolvers_are_read_anew_for_each_container(tmp_path: Path) -> None:
    server, lines = Server(), ["nameserver 192.0.2.53\n"]
    volumes = HostVolumes(
        tmp_path,
        server.client,
        server.clock,
        SeededRandomness(1),
        DNSSettings(("10.43.0.10",)),
        host_resolver=lambda: lines[0],
        may_mount=False,
    )
    pod = pod_of([], [], dnsPolicy="Default")
    await volumes.set_up(pod, AROUND)

    async def resolver(attempt: int) -> str:
        found = await volumes.mounts(pod, pod.spec.containers[0], attempt, AROUND, {})
        [source] = [mount.source for mount in found if mount.target == "/etc/resolv.conf"]
        return Path(source).read_text()

    assert "nameserver 192.0.2.53" in await resolver(0)
    lines[0] = "nameserver 198.51.100.53\n"
    assert "nameserver 198.51.100.53" in await resolver(1)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another group")
@pytest.mark.parametrize("keeper", ["one", "two"])
async def test_the_folder_of_a_provisioned_volume_is_made_before_a_container_mounts_it(
    tmp_path: Path, keeper: str
) -> None:
    place = Place(tmp_path / "node")
    client = place.server.client
    await client.create(Namespace(metadata=ObjectMeta(name="default")))
    events = EventRecorder(client, place.server.clock, SeededRandomness(1), component="kubelet")
    place.volumes._local = LocalStorage("one", client, LocalFolders(tmp_path / "storage"), events)
    folder = tmp_path / "storage" / "pvc-1_default_data"
    anywhere = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    size = {"storage": "1Gi"}
    volume = {
        "metadata": {
            "name": "pvc-1",
            "labels": {NODE_LABEL: keeper},
            "annotations": {PROVISIONED_BY: PROVISIONER_NAME},
        },
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "default", "name": "data"},
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [anywhere]}},
        },
    }
    claim = {
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeName": "pvc-1",
            "resources": {"requests": size},
        },
    }
    await client.create(msgspec.convert(volume, PersistentVolume))
    made = await client.create(msgspec.convert(claim, PersistentVolumeClaim))
    await client.update(replace(made, status=replace(made.status, phase="Bound")), "status")
    pod = pod_of(
        [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        [{"name": "v", "mountPath": "/v"}],
        securityContext={"fsGroup": 77},
    )
    if keeper == "one":
        await place.volumes.set_up(pod, AROUND)
        assert (await place.mounts(pod))["/v"] == folder
        assert place.volumes.claims_of("u") == {"v": ClaimedFolder("data", folder)}
        assert (folder.stat().st_gid, folder.stat().st_mode & 0o7777) == (77, 0o2777)
        (folder / "file").touch()
        await place.volumes.set_up(pod, AROUND)  # a refresh, which gives nothing again
        assert (folder / "file").stat().st_gid == 77  # by the folder's setgid bit
        other = msgspec.convert(
            {
                **msgspec.to_builtins(pod),
                "metadata": {"name": "q", "namespace": "default", "uid": "u2"},
            },
            Pod,
        )
        shared = replace(other.spec.securityContext or PodSecurityContext(), fsGroup=88)
        other = replace(other, spec=replace(other.spec, securityContext=shared))
        await place.volumes.set_up(other, AROUND)
        assert folder.stat().st_gid == 77
        await events.close()
        told = [(event.reason, event.message) for event in await client.list(Event, "default")]
        assert told == [
            (
                "AlreadyMountedVolume",
                "The requested fsGroup is 88, but the volume pvc-1 has GID 77. The volume may not be shareable.",
            )
        ]
        await place.volumes.tear_down("u")
        assert place.volumes.claims_of("u") == {}
        await place.volumes.tear_down("u2")
        assert folder.is_dir()
        await place.volumes.set_up(other, AROUND)
        assert (folder.stat().st_gid, (folder / "file").stat().st_gid) == (88, 88)
        return
    with pytest.raises(ConfigUnavailable) as failure:
        await place.volumes.set_up(pod, AROUND)
    assert str(failure.value) == (
        'MountVolume.NewMounter initialization failed for volume "v" : '
        f'path "{folder}" does not exist'
    )
    assert not folder.exists()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("gone", 'path "{}" does not exist'),
        ("file/below", 'path "{}" does not exist'),
        ("dangling", 'path "{}" does not exist'),
        ("x" * 300, 'failed to stat "{}": File name too long'),
    ],
)
async def test_a_source_that_is_gone_when_a_container_starts_is_not_made_anew(
    place: Place, source: str, reason: str
) -> None:
    (place.folder / "file").write_text("")
    (place.folder / "dangling").symlink_to(place.folder / "nowhere")
    path = place.folder / source
    pod = pod_of(
        [{"name": "v", "hostPath": {"path": str(path)}}], [{"name": "v", "mountPath": "/v"}]
    )
    await place.volumes.set_up(pod_of([], []), AROUND)
    with pytest.raises(ConfigUnavailable) as failure:
        await place.mounts(pod)
    assert str(failure.value) == reason.format(path)
    assert not (place.folder / "gone").exists()
    assert not (place.folder / "nowhere").exists()


async def test_the_folder_of_an_image_is_left_to_the_runtime(place: Place) -> None:
    pod = pod_of([{"name": "v", "image": {"reference": "a:1"}}], [{"name": "v", "mountPath": "/v"}])
    await place.volumes.set_up(pod_of([], []), AROUND)
    around = replace(AROUND, volume_images={"v": "sha256:0"})
    found = await place.volumes.mounts(pod, pod.spec.containers[0], 0, around, {})
    [mount] = [mount for mount in found if mount.target == "/v"]
    assert mount.image == "sha256:0"
    assert not Path(mount.source).exists()
