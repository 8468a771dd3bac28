"""The volumes and folders of pods on this host.

All files of a pod are below ``pods/<uid>`` in the node's folder, in upstream's layout. Teardown removes that folder and
the mounts in it, and nothing else.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from kubelite.api.client.protocol import Client
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import EmptyDirVolumeSource, HostPathVolumeSource, Volume
from kubelite.api.machinery.pod_claims import claim_name, foreign_claim
from kubelite.clock import Clock
from kubelite.limits import HOST_HOSTS_FILE, TERMINATION_MESSAGE
from kubelite.node.environment import ConfigUnavailable, Surroundings, expand
from kubelite.node.local_storage import LocalStorage
from kubelite.node.name_resolution import (
    DNSSettings,
    host_network_hosts_file,
    hosts_file,
    read_resolv_conf,
    resolv_conf,
)
from kubelite.node.pod_files import ClaimedFolder, VolumeFiles
from kubelite.node.pods import AnyContainer, all_containers, is_recursively_read_only
from kubelite.node.runtime import HostDevice, Mount
from kubelite.node.trusted_text import one_line, path_name
from kubelite.node.untrusted_files import (
    UnsafePath,
    create_file,
    opened_folder,
    overwrite_file,
    read_file,
    remove,
    remove_path,
)
from kubelite.node.volumes.atomic_writer import File, write_atomically
from kubelite.node.volumes.block_devices import LocalDevices, pinned_device
from kubelite.node.volumes.empty_dir import make_empty_dir, memory_size
from kubelite.node.volumes.followed import FollowedObjects
from kubelite.node.volumes.ownership_walks import OwnershipWalks, shared_group_message
from kubelite.node.volumes.plugins import PluginVolumes
from kubelite.node.volumes.recursive import is_supported, pin_read_only
from kubelite.node.volumes.sources import FileBudget, VolumeContent
from kubelite.node.volumes.sub_path import open_inside, pin
from kubelite.node.volumes.tmpfs import mount_tmpfs, unmount_below
from kubelite.randomness import Randomness

log = logging.getLogger(__name__)

TERMINATION_PATH = "/dev/termination-log"
HOSTS, RESOLVER = "etc-hosts", "resolv.conf"
# Volumes that show API objects or images: no container writes to them (CVE-2017-1002102).
READ_ONLY = frozenset({"configmap", "secret", "downward-api", "projected", "image"})
PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}
UNFOLLOWED_REFRESH = timedelta(minutes=1)  # for pods with more objects than can be watched
SERVICE_ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


class _MounterFailed(ConfigUnavailable):
    """A volume cannot be mounted at all, which upstream notices before it sets one up."""


class _MapFailed(ConfigUnavailable):
    """A block volume cannot be made a device of its pod."""


class PodVolumes(Protocol):
    """Sets up the volumes of pods; blocking work runs in threads."""

    changed: Callable[
        [str], None
    ]  # called with the uid of a pod after an object in its volumes changed

    async def set_up(self, pod: Pod, around: Surroundings) -> datetime | None:
        """Create or refresh a pod's folders and volumes. Raises ConfigUnavailable and APIError.

        Returns when to refresh even without a change, such as to renew a token; None: never.
        """
        ...

    async def mounts(
        self,
        pod: Pod,
        container: AnyContainer,
        attempt: int,
        around: Surroundings,
        environment: Mapping[str, str],
    ) -> tuple[Mount, ...]:
        """Return the mounts for one attempt to run a container. Raises ConfigUnavailable and APIError."""
        ...

    async def devices(self, pod: Pod, container: AnyContainer) -> tuple[HostDevice, ...]:
        """Return the devices of a container's block volumes. Raises ConfigUnavailable and APIError."""
        ...

    async def termination_message(self, pod_uid: str, name: str, attempt: int) -> str:
        """Return the termination message of a container's attempt, "" without one."""
        ...

    def rest(self, pod_uid: str) -> None:
        """Stop watching the objects of a terminated pod; its volumes stay."""
        ...

    async def tear_down(self, pod_uid: str) -> None:
        """Unmount and remove a pod's volumes and folders. Raises VolumeBusy and OSError."""
        ...

    async def leftovers(self) -> list[str]:
        """Return the uids of the pods that have folders on this host, sorted."""
        ...


class HostVolumes:
    """Volumes as folders, files and mounts of this host."""

    def __init__(
        self,
        root: Path,
        client: Client,
        clock: Clock,
        randomness: Randomness,
        dns: DNSSettings,
        *,
        host_resolver: Callable[[], str] = str,
        may_mount: bool = True,
        local: LocalStorage | None = None,
    ) -> None:
        """`host_resolver` returns the text of the host's resolv.conf; it blocks and is called for each container.

        Without `may_mount` volumes are plain folders: no tmpfs and no pinned subPath. Without `local` this node keeps
        no provisioned volumes.
        """
        self._local = local
        self._plugins: PluginVolumes | None = None
        self._recursive_read_only = may_mount and is_supported()
        self._host_resolver = host_resolver
        self._root = root
        self._pods = root / "pods"
        self._devices = LocalDevices(root)
        self._clock = clock
        self._content = VolumeContent(client, clock)
        self.changed: Callable[[str], None] = lambda _: None
        self._followed = FollowedObjects(client, self._object_changed)
        self._randomness = randomness
        self._dns = dns
        self._may_mount = may_mount
        self.walks = OwnershipWalks()  # all changes of files to fsGroups on this node
        self._claims: dict[str, dict[str, ClaimedFolder]] = {}  # by pod uid and volume

    @property
    def content(self) -> VolumeContent:
        """What volumes show, and the tokens and objects of pods."""
        return self._content

    def use(self, plugins: PluginVolumes) -> None:
        """Mount the volumes of CSI drivers with these; call it before any pod is set up."""
        self._plugins = plugins

    def _object_changed(self, pod_uid: str) -> None:
        self.changed(pod_uid)  # read late, since the agent sets it after construction

    async def set_up(self, pod: Pod, around: Surroundings) -> datetime | None:
        """Create or refresh a pod's folders and volumes; return when to refresh. Raises ConfigUnavailable, APIError."""
        # The watches start before the objects are read, so that no change is missed.
        hears_of_all = self._followed.follow(pod)
        self._content.begin(pod.metadata.uid)
        await asyncio.to_thread(_make_home, self._home(pod.metadata.uid))
        budget = FileBudget()
        due: list[datetime] = []
        for volume in pod.spec.volumes:
            try:
                refresh_at = await self._set_up_one(pod, volume, around, budget)
            except _MapFailed as error:
                what = f'MapVolume.SetUpDevice failed for volume "{volume.name}"'
                raise ConfigUnavailable(f"{what} : {error}") from error
            except _MounterFailed as error:
                what = f'MountVolume.NewMounter initialization failed for volume "{volume.name}"'
                raise ConfigUnavailable(f"{what} : {error}") from error
            except (ConfigUnavailable, UnsafePath) as error:
                message = f'MountVolume.SetUp failed for volume "{volume.name}" : {error}'
                raise ConfigUnavailable(message) from error
            except OSError as error:
                message = f'MountVolume.SetUp failed for volume "{volume.name}" : {error.strerror}'
                raise ConfigUnavailable(message) from error
            if refresh_at is not None:
                due.append(refresh_at)
        if (renew_at := self._content.renew_at(pod.metadata.uid)) is not None:
            due.append(renew_at)
        if not hears_of_all:
            due.append(self._clock.now() + UNFOLLOWED_REFRESH)
        return min(due, default=None)

    async def _set_up_one(
        self, pod: Pod, volume: Volume, around: Surroundings, budget: FileBudget
    ) -> datetime | None:
        """Create or refresh one volume; return when to refresh it, beside the renewal of its tokens."""
        files = await self._content.files(pod, volume, around, budget)
        folder = self._folder(pod, volume)
        context = pod.spec.securityContext
        group = context.fsGroup if context is not None else None
        if files is not None:
            in_memory = self._may_mount and (
                volume.secret is not None or volume.projected is not None
            )
            version = self._randomness.token_bytes(8).hex()
            await asyncio.to_thread(_write_files, folder, files, version, group, in_memory)
        elif volume.emptyDir is not None:
            source, size = volume.emptyDir, memory_size(volume.emptyDir, pod, around.allocatable)
            if not self._may_mount:
                source = EmptyDirVolumeSource()
            await asyncio.to_thread(make_empty_dir, folder, source, pod, size)
        elif volume.hostPath is not None:
            await asyncio.to_thread(_check_host_path, volume.hostPath)
        elif volume.image is not None:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        elif volume.csi is not None and self._plugins is not None:
            return await self._plugins.set_up(pod, volume, None, None)
        elif not (name := claim_name(pod, volume)):
            raise ConfigUnavailable("no volume plugin matched")
        elif self._local is not None or self._plugins is not None:
            is_own = volume.ephemeral is not None
            claim, claimed = await self._claimed(pod, name, is_ephemeral=is_own)
            check_mode(pod, volume.name, claimed)
            if claimed.spec.volumeMode == "Block":
                return await self._set_up_device(pod, volume, claim, claimed)
            if self._plugins is not None and claimed.spec.csi is not None:
                return await self._plugins.set_up(pod, volume, claim, claimed)
            await self._set_up_local(pod, volume, claimed, group)
        return None

    async def _set_up_device(
        self, pod: Pod, volume: Volume, claim: PersistentVolumeClaim, claimed: PersistentVolume
    ) -> datetime | None:
        """Make a block volume a device of its pod; return when to refresh it. Raises _MapFailed and APIError."""
        try:
            if self._plugins is not None and claimed.spec.csi is not None:
                return await self._plugins.set_up(pod, volume, claim, claimed)
            if claimed.spec.local is None or not self._may_mount:
                raise ConfigUnavailable("no volume plugin matched")
            path = claimed.spec.local.path
            if reason := await asyncio.to_thread(_absence, path):
                raise ConfigUnavailable(reason)
            uid, name = pod.metadata.uid, claimed.metadata.name
            await asyncio.to_thread(self._devices.set_up, uid, name, path)
        except ConfigUnavailable as error:
            raise _MapFailed(str(error)) from error
        except OSError as error:
            raise _MapFailed(error.strerror) from error
        return None

    async def devices(self, pod: Pod, container: AnyContainer) -> tuple[HostDevice, ...]:
        """Return the devices of a container's block volumes; one that is not there is left out.

        Raises ConfigUnavailable and APIError.
        """
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        found = []
        for device in container.volumeDevices:
            volume = volumes.get(device.name)
            source = await self._device(pod, volume) if volume is not None else None
            if volume is None or source is None:
                continue
            claim = volume.persistentVolumeClaim
            permissions = "r" if claim is not None and claim.readOnly else "rwm"
            target = one_line(device.devicePath, "devicePath")
            found.append(HostDevice(str(source), target, permissions))
        return tuple(found)

    async def _device(self, pod: Pod, volume: Volume) -> Path | None:
        """Return the path of a block volume's device; None for another volume. Raises ConfigUnavailable."""
        if not (name := claim_name(pod, volume)):
            return None
        _, claimed = await self._claimed(pod, name, is_ephemeral=volume.ephemeral is not None)
        check_mode(pod, volume.name, claimed)
        if self._plugins is not None and claimed.spec.csi is not None:
            return await self._plugins.device(pod.metadata.uid, volume, claimed)
        source = self._devices.pinned(pod.metadata.uid, claimed.metadata.name)
        there = await asyncio.to_thread(pinned_device, self._root, source)
        return None if there is None else source

    async def _set_up_local(
        self, pod: Pod, volume: Volume, claimed: PersistentVolume, group: int | None
    ) -> None:
        if self._local is not None and self._local.keeps(claimed):
            await self._local.prepare(claimed)
        if claimed.spec.local is None:
            return
        await asyncio.to_thread(_check_local, claimed.spec.local.path)
        folders = self._claims.setdefault(pod.metadata.uid, {})
        place = Path(claimed.spec.local.path)
        folders[volume.name] = ClaimedFolder(claim_name(pod, volume), place)
        claim = volume.persistentVolumeClaim
        if group is not None and not (claim is not None and claim.readOnly):
            await self._give(pod, claimed, group)

    async def _give(self, pod: Pod, volume: PersistentVolume, group: int) -> None:
        """Give a local volume's files to a pod's fsGroup, once for the pod, unless another pod uses the volume."""
        context, local = pod.spec.securityContext, volume.spec.local
        assert context is not None
        assert local is not None
        policy, source = context.fsGroupChangePolicy or "Always", Path(local.path)
        mark = self._mark(pod.metadata.uid, volume.metadata.name)
        others = await asyncio.to_thread(_users, self._pods, mark)
        if others is None:
            return
        if others:
            owner = await asyncio.to_thread(lambda: source.stat().st_gid)
            if owner != group:
                self._tell(pod, "AlreadyMountedVolume", shared_group_message(volume, group, owner))
        else:
            await self.walks.give(pod, source, group, policy, self._tell)
        await asyncio.to_thread(mark.mkdir, parents=True, exist_ok=True)

    def _mark(self, pod_uid: str, volume: str) -> Path:
        """Return the folder that says that a pod uses a local volume, where upstream mounts it."""
        name = path_name(volume, "name of the persistent volume")
        return self._home(pod_uid) / "volumes" / "kubernetes.io~local-volume" / name

    def _tell(self, pod: Pod, reason: str, message: str) -> None:
        if self._local is not None:
            self._local.tell(pod, reason, message)

    def claims_of(self, pod_uid: str) -> Mapping[str, ClaimedFolder]:
        """Return the folders that claims of a pod are bound to, by volume."""
        return self._claims.get(pod_uid, {})

    async def statistics(self, pod_uid: str) -> tuple[VolumeFiles, ...]:
        """Return how full those volumes of a pod are of which only their drivers know it."""
        return () if self._plugins is None else await self._plugins.statistics(pod_uid)

    def _home(self, pod_uid: str) -> Path:
        """Return a pod's folder. Containers can write neither to it nor to its parents."""
        return self._pods / path_name(pod_uid, "uid of the pod")

    def _folder(self, pod: Pod, volume: Volume) -> Path:
        name = path_name(volume.name, "name of the volume")
        home = self._home(pod.metadata.uid)
        return home / "volumes" / f"kubernetes.io~{_plugin(volume)}" / name

    async def _source(self, pod: Pod, volume: Volume) -> Path:
        """Return the path of a volume on the host. Raises ConfigUnavailable."""
        if volume.hostPath is not None:
            return Path(volume.hostPath.path)
        if volume.csi is not None and self._plugins is not None:
            return self._plugins.path(pod.metadata.uid, volume, None)
        name = claim_name(pod, volume)
        if not name:
            return self._folder(pod, volume)
        _, claimed = await self._claimed(pod, name, is_ephemeral=volume.ephemeral is not None)
        if self._plugins is not None and claimed.spec.csi is not None:
            return self._plugins.path(pod.metadata.uid, volume, claimed)
        if claimed.spec.hostPath is not None:
            await asyncio.to_thread(_check_host_path, claimed.spec.hostPath)
            return Path(claimed.spec.hostPath.path)
        if claimed.spec.local is not None:
            return Path(claimed.spec.local.path)
        raise ConfigUnavailable(
            f'no volume plugin matched for persistent volume "{claimed.metadata.name}"'
        )

    async def _claimed(
        self, pod: Pod, name: str, *, is_ephemeral: bool
    ) -> tuple[PersistentVolumeClaim, PersistentVolume]:
        """Return a pod's claim, and the volume that it is bound to. Raises ConfigUnavailable."""
        namespace = pod.metadata.namespace
        try:
            claim = await self._content.reads.get(pod, PersistentVolumeClaim, name)
            if is_ephemeral and (refusal := foreign_claim(pod, claim)):
                raise ConfigUnavailable(refusal)
            if claim.status.phase != "Bound":
                raise ConfigUnavailable(f'PVC "{namespace}/{name}" is not bound')
            name_of_volume = claim.spec.volumeName
            found = await self._content.reads.get(
                pod, PersistentVolume, name_of_volume, namespace=""
            )
        except NotFound as error:
            raise ConfigUnavailable(f'persistentvolumeclaim "{name}" not found') from error
        return claim, found

    async def mounts(
        self,
        pod: Pod,
        container: AnyContainer,
        attempt: int,
        around: Surroundings,
        environment: Mapping[str, str],
    ) -> tuple[Mount, ...]:
        """Return the mounts of a container: its volumes, hosts, resolv.conf and termination log.

        Raises ConfigUnavailable, also if a source is absent: some engines would make an empty folder in its place.
        """
        found: list[Mount] = []
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        for position, mount in enumerate(container.volumeMounts):
            if (volume := volumes.get(mount.name)) is None:
                raise ConfigUnavailable(f'volume "{mount.name}" not found')
            source = await self._source(pod, volume)
            seen_at = one_line(mount.mountPath, "mountPath")
            inner = expand(mount.subPathExpr, environment) if mount.subPathExpr else mount.subPath
            if volume.image is not None:
                image = around.volume_images[volume.name]
                found.append(
                    Mount(str(source), seen_at, read_only=True, image=image, sub_path=inner)
                )
                continue
            if inner:
                home = self._home(pod.metadata.uid) / "volume-subpaths" / mount.name
                target = home / _name(container) / str(position)
                source = await asyncio.to_thread(self._sub_path, source, inner, target)
            if self._recursive_read_only and is_recursively_read_only(mount):
                home = self._home(pod.metadata.uid) / "volume-read-only" / mount.name
                target = home / _name(container) / str(position)
                await asyncio.to_thread(_pin_read_only, source, target)
                source = target
            propagation = PROPAGATION.get(mount.mountPropagation or "", "")
            if propagation:
                source = await asyncio.to_thread(_without_links, source)
            is_read_only = mount.readOnly or _plugin(volume) in READ_ONLY
            found.append(Mount(str(source), seen_at, is_read_only, propagation))
        taken = {mount.target.rstrip("/") for mount in found}
        try:
            own = await asyncio.to_thread(self._own_files, pod, container, attempt, around)
        except OSError as error:
            raise ConfigUnavailable(
                f"cannot write the files of container {container.name}: {error}"
            ) from error
        made = (*found, *(mount for mount in own if mount.target not in taken))
        await asyncio.to_thread(check_sources, made)
        return made

    def _sub_path(self, source: Path, inner: str, target: Path) -> Path:
        """Return the path of a subPath for the engine, pinned at `target`. Raises ConfigUnavailable."""
        place = open_inside(source, inner)
        try:
            if not self._may_mount:
                return Path(f"/proc/self/fd/{place}").readlink()
            pin(place, target)
        except OSError as error:
            raise ConfigUnavailable(
                f'failed to prepare subPath for volumeMount: "{inner}": {error.strerror}'
            ) from error
        finally:
            os.close(place)
        return target

    def _own_files(
        self, pod: Pod, container: AnyContainer, attempt: int, around: Surroundings
    ) -> list[Mount]:
        home = self._home(pod.metadata.uid)
        if pod.spec.hostNetwork:
            hosts = host_network_hosts_file(pod, _host_hosts_file())
        else:
            hosts = hosts_file(pod, around.pod_ips, self._dns.cluster_domain)
        resolver = resolv_conf(pod, read_resolv_conf(self._host_resolver(), self._dns))
        folder, message = self._message_place(pod.metadata.uid, container, attempt)
        folder.mkdir(parents=True, exist_ok=True)
        with opened_folder(home) as opened, opened_folder(folder) as messages:
            overwrite_file(HOSTS, opened, hosts.encode("utf-8", "surrogateescape"), 0o644)
            overwrite_file(RESOLVER, opened, resolver.encode(), 0o644)
            remove(message, messages)
            create_file(message, messages, b"", 0o666)
        path = container.terminationMessagePath or TERMINATION_PATH
        return [
            Mount(str(home / HOSTS), "/etc/hosts"),
            Mount(str(home / RESOLVER), "/etc/resolv.conf"),
            Mount(str(folder / message), one_line(path, "terminationMessagePath")),
        ]

    def _message_place(
        self, pod_uid: str, container: AnyContainer, attempt: int
    ) -> tuple[Path, str]:
        return self._home(pod_uid) / "containers" / _name(container), str(attempt)

    async def termination_message(self, pod_uid: str, name: str, attempt: int) -> str:
        """Return the termination message of a container's attempt, cut to TERMINATION_MESSAGE bytes."""

        def read() -> str:
            try:
                folder = self._home(pod_uid) / "containers" / path_name(name, "container")
                with opened_folder(folder) as opened:
                    data = read_file(str(attempt), opened, TERMINATION_MESSAGE.value + 1)
            except FileNotFoundError:
                return ""
            except (ConfigUnavailable, OSError) as error:
                log.warning("cannot read a termination message: %s", error)
                return ""
            if len(data) > TERMINATION_MESSAGE.value:
                TERMINATION_MESSAGE.reached()
            return data[: TERMINATION_MESSAGE.value].decode("utf-8", "replace")

        return await asyncio.to_thread(read)

    def rest(self, pod_uid: str) -> None:
        """Stop watching the objects of a terminated pod; its volumes stay."""
        self._followed.forget(pod_uid)

    def close(self) -> None:
        """Stop all watches; the volumes stay."""
        self._followed.close()

    async def tear_down(self, pod_uid: str) -> None:
        """Unmount and remove a pod's volumes and folders. Raises VolumeBusy, and OSError if a mount stays."""
        assert pod_uid, "an empty uid would name the folder of all pods"
        self._followed.forget(pod_uid)
        if self._plugins is not None:
            # What is pinned of a volume has to go before the volume.
            for pins in ("volume-subpaths", "volume-read-only"):
                await asyncio.to_thread(unmount_below, self._home(pod_uid) / pins)
            await self._plugins.tear_down(pod_uid)
        self._content.forget(pod_uid)
        self._claims.pop(pod_uid, None)
        await asyncio.to_thread(self._devices.tear_down, pod_uid)
        await asyncio.to_thread(_remove_home, self._home(pod_uid))

    async def leftovers(self) -> list[str]:
        """Return the uids of the pods that have folders on this host, sorted."""

        def names() -> list[str]:
            return sorted(p.name for p in self._pods.iterdir()) if self._pods.is_dir() else []

        return await asyncio.to_thread(names)


def check_mode(pod: Pod, name: str, volume: PersistentVolume) -> None:
    """Raise ConfigUnavailable if a container uses a volume in another way than its mode allows, in upstream's words."""
    mode = volume.spec.volumeMode or "Filesystem"
    for container in all_containers(pod):
        for uses, field, wanted in (
            (container.volumeMounts, "volumeMounts", "Filesystem"),
            (container.volumeDevices, "volumeDevices", "Block"),
        ):
            if mode != wanted and any(use.name == name for use in uses):
                text = f"volume {name} has volumeMode {mode}, but is specified in {field}"
                raise ConfigUnavailable(text)


def _without_links(path: Path) -> Path:
    """Return a path without links: containerd finds out by its text which mount it is on, and whether that is shared.

    The kubelet's folder is reached by a link, and drivers mount folders below it.
    """
    return path.resolve()


def _plugin(volume: Volume) -> str:
    for field, name in (
        ("configMap", "configmap"),
        ("secret", "secret"),
        ("downwardAPI", "downward-api"),
        ("projected", "projected"),
        ("emptyDir", "empty-dir"),
        ("image", "image"),
    ):
        if getattr(volume, field) is not None:
            return name
    return "other"


def _users(pods: Path, mark: Path) -> list[Path] | None:
    """Return the marks of the other pods that use a volume; None if the pod has its own already."""
    if mark.is_dir():
        return None
    return sorted(pods.glob(f"*/volumes/{mark.parent.name}/{mark.name}"))


def _make_home(home: Path) -> None:
    for folder in (home, home / "volumes", home / "containers"):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)


def _write_files(
    folder: Path, files: Mapping[str, File], version: str, group: int | None, in_memory: bool
) -> None:
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if in_memory and not folder.is_mount():
        mount_tmpfs(folder, mode=0o755)
    with opened_folder(folder) as opened:
        os.fchmod(opened, 0o755)
    write_atomically(folder, files, version, group)


def _check_host_path(source: HostPathVolumeSource) -> None:
    path = Path(source.path)
    kind = source.type or ""
    if kind == "DirectoryOrCreate" or (not kind and not path.exists()):
        # Without a type nothing is checked, and a missing path becomes a folder, as in container engines.
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    checks = {
        "Directory": (path.is_dir, "directory"),
        "DirectoryOrCreate": (path.is_dir, "directory"),
        "File": (path.is_file, "file"),
        "FileOrCreate": (path.is_file, "file"),
        "Socket": (path.is_socket, "socket"),
        "CharDevice": (path.is_char_device, "character device"),
        "BlockDevice": (path.is_block_device, "block device"),
    }
    if kind in checks:
        check, name = checks[kind]
        if not check():
            raise ConfigUnavailable(f"hostPath type check failed: {source.path} is not a {name}")


def _check_local(path: str) -> None:
    if reason := _absence(path):
        raise _MounterFailed(reason)


def check_sources(mounts: Sequence[Mount]) -> None:
    """Raise ConfigUnavailable for a source that is gone; that of an image is made by the runtime."""
    for mount in mounts:
        if not mount.image and (reason := _absence(mount.source)):
            raise ConfigUnavailable(reason)


def _absence(path: str) -> str:
    """Return why a path cannot be mounted, in upstream's words; empty if it can be."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return f'path "{path}" does not exist'
    except OSError as error:
        return f'failed to stat "{path}": {error.strerror}'
    return ""


def _pin_read_only(source: Path, target: Path) -> None:
    """Pin a copy of `source` that is read-only with all below it. Raises ConfigUnavailable."""
    if reason := _absence(str(source)):
        raise ConfigUnavailable(reason)
    try:
        pin_read_only(source, target)
    except OSError as error:
        raise ConfigUnavailable(
            f"failed to prepare recursive read-only mount of {source}: {error.strerror}"
        ) from error


def _host_hosts_file() -> str:
    with opened_folder("/etc") as folder:
        try:
            data = read_file("hosts", folder, HOST_HOSTS_FILE.value + 1)
        except OSError:
            data = b""
    if len(data) > HOST_HOSTS_FILE.value:
        HOST_HOSTS_FILE.reached()
        data = data[: HOST_HOSTS_FILE.value].rpartition(b"\n")[0] + b"\n"
    return data.decode("utf-8", "surrogateescape")


def _name(container: AnyContainer) -> str:
    return path_name(container.name, "name of the container")


def _remove_home(home: Path) -> None:
    # The content of a mount is not the pod's to delete, so a mount that stays is an error.
    unmount_below(home)
    if home.is_dir():
        remove_path(home)
