"""The device plugins of a node (the Kubernetes concept "Device Plugins", API `deviceplugin/v1beta1`).

A plugin registers on the socket `kubelet.sock` of its folder, and the node then follows its devices. When the node
starts it makes that socket anew, which plugins watch for in order to register again; until then the resources of the
checkpoint have no capacity, and containers that have devices keep them. A plugin that goes away leaves its devices
unhealthy, and after a grace period its resource is one of none.
"""

import asyncio
import logging
import stat
from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from kubelite.api.kinds.core.container_status import ResourceStatus
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.extended_resources import is_extended
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.grpc.server import GrpcServer
from kubelite.grpc.status import Code, GrpcError
from kubelite.limits import DEVICE_PLUGINS
from kubelite.node.devices.checkpoint import NAME, encode_table, read_checkpoint
from kubelite.node.devices.durable_file import DurableFile
from kubelite.node.devices.injection import injection_of
from kubelite.node.devices.messages import REGISTER, VERSION, Empty, RegisterRequest
from kubelite.node.devices.plugin import Connect, Plugin
from kubelite.node.devices.protocol import AllocationFailed, Injection
from kubelite.node.devices.table import DeviceTable, capacity_texts
from kubelite.node.pods import AnyContainer, is_sidecar
from kubelite.node.untrusted_files import is_name
from kubelite.node.volumes.host import check_sources
from kubelite.tasks import TaskSet
from kubelite.text_formats import qualified_name

log = logging.getLogger(__name__)

SOCKET: Final = "kubelet.sock"
AWAY_SECONDS: Final = 300.0  # upstream's grace period of an endpoint that stopped


class DeviceManager:
    """Allocates the devices of plugins to containers."""

    def __init__(
        self,
        folder: Path,
        connect: Connect,
        *,
        away_seconds: float = AWAY_SECONDS,
    ) -> None:
        self._folder = folder
        self._connect = connect
        self._away_seconds = away_seconds
        self._table = DeviceTable()
        self._plugins: dict[str, Plugin] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}  # of plugins, and of their absence
        self._locks: dict[str, asyncio.Lock] = {}  # held while devices of a resource are chosen
        self._tasks = TaskSet()
        self._file = DurableFile(folder / NAME, self._tasks)
        self._gone: set[str] = set()  # resources that are one of none now
        self._server = GrpcServer(folder / SOCKET, {REGISTER: self.register})
        # Returns the uids of the pods that may have devices; all others lose theirs.
        self.active: Callable[[], Collection[str]] = self._holders
        self.on_capacity: Callable[[], None] = lambda: None
        self.on_health: Callable[[str], None] = lambda _uid: None

    async def restore(self) -> None:
        """Read the allocations that were made before the start."""
        self._table = await asyncio.to_thread(read_checkpoint, self._folder)
        for resource in self._table.resources:
            self._expect(resource)

    async def run(self) -> None:
        """Serve registrations until cancelled."""
        await asyncio.to_thread(_remove_sockets, self._folder)
        try:
            await self._server.start()
            await asyncio.get_running_loop().create_future()
        finally:
            await self._server.stop()
            await self._tasks.stop()
            for plugin in self._plugins.values():
                await plugin.close()
            self._plugins.clear()
            self._watches.clear()

    @property
    def capacity(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return what the Node's capacity and allocatable have of plugins, 0 of those that stayed away."""
        return capacity_texts({**dict.fromkeys(self._gone, (0, 0)), **self._table.capacity()})

    def _holders(self) -> Collection[str]:
        return self._table.pods.keys()

    # Plugins

    async def register(self, request: RegisterRequest) -> Empty:
        """Answer a plugin that registers, and follow its devices. Raises GrpcError."""
        resource = request.resource_name
        if request.version != VERSION:
            text = f'requested API version "{request.version}" is not supported by kubelet. '
            raise GrpcError(Code.UNKNOWN, f'{text}Supported version is ["{VERSION}"]')
        if not _is_resource(resource):
            raise GrpcError(Code.UNKNOWN, f'the ResourceName "{resource[:316]}" is invalid')
        if not is_name(request.endpoint):
            raise GrpcError(Code.UNKNOWN, f'the endpoint "{request.endpoint[:100]}" is invalid')
        if resource not in self._table.resources and self._is_full():
            DEVICE_PLUGINS.reached()
            raise GrpcError(Code.RESOURCE_EXHAUSTED, "too many device plugins")
        plugin = Plugin(resource, self._connect(self._folder / request.endpoint))
        try:
            await plugin.introduce()
        except BaseException as error:
            await plugin.close()
            if isinstance(error, GrpcError):
                text = f"failed to get device plugin options: {error}"
                raise GrpcError(Code.UNKNOWN, text) from error
            raise
        await self._take(plugin)
        return Empty()

    def _is_full(self) -> bool:
        return len(self._table.resources) >= DEVICE_PLUGINS.value

    async def _take(self, plugin: Plugin) -> None:
        """Follow a plugin, in place of the one that the resource had."""
        before = self._plugins.get(plugin.resource)
        self._plugins[plugin.resource] = plugin
        watch = self._watches.pop(plugin.resource, None)
        self._watches[plugin.resource] = self._tasks.start(
            self._follow(plugin), name=f"devices {plugin.resource}"
        )
        if watch is not None:
            watch.cancel()
        if before is not None:
            await before.close()
        log.info("device plugin registered", extra={"resource": plugin.resource})

    async def _follow(self, plugin: Plugin) -> None:
        resource = plugin.resource
        reason = "it ended its list"
        try:
            async with aclosing(plugin.lists()) as lists:
                async for listed in lists:
                    self._gone.discard(resource)
                    self._tell(self._table.offer(resource, listed.devices))
                    await self._save()
        except GrpcError as error:
            reason = str(error)
        except OSError as error:
            log.warning("cannot save devices: %s", error, extra={"resource": resource})
        log.warning("device plugin is away: %s", reason, extra={"resource": resource})
        await plugin.close()
        self._tell(self._table.leave(resource))
        self._expect(resource)

    def _expect(self, resource: str) -> None:
        """Wait for a plugin to register, and give its resource up after a time."""
        self._watches[resource] = self._tasks.start(
            self._give_up(resource), name=f"absence of {resource}"
        )

    async def _give_up(self, resource: str) -> None:
        await asyncio.sleep(self._away_seconds)
        self._watches.pop(resource, None)
        self._plugins.pop(resource, None)
        self._table.drop(resource)
        self._gone.add(resource)
        self.on_capacity()
        await self._save_or_log()

    def _tell(self, uids: Collection[str]) -> None:
        self.on_capacity()
        for uid in uids:
            self.on_health(uid)

    # Pods

    async def allocate(self, pod: Pod) -> None:
        """Allocate the devices of all containers of a pod, on disk too. Raises AllocationFailed."""
        uid = pod.metadata.uid
        reusable: dict[str, set[str]] = {}
        try:
            for container in pod.spec.initContainers:
                await self._allocate(pod, container, reusable)
                self._hand_on(uid, container, reusable, adds=not is_sidecar(container))
            for container in pod.spec.containers:
                await self._allocate(pod, container, reusable)
                self._hand_on(uid, container, reusable, adds=False)
        except BaseException:
            self._table.release(uid)
            raise

    async def injection(self, pod: Pod, container: AnyContainer) -> Injection:
        """Return what puts its devices into a container, and tell plugins of its start.

        Raises AllocationFailed, and ConfigUnavailable if the source of a mount is absent.
        A container without devices is allocated some, as the pod was admitted before the plugin was known, or the
        checkpoint is lost.
        """
        uid = pod.metadata.uid
        asked = self._asked(pod, container)
        if any(self._table.allocated(uid, container.name, name) is None for name in asked):
            await self._allocate(pod, container, {})
        responses = []
        for resource in asked:
            allocated = self._table.allocated(uid, container.name, resource)
            if allocated is None:
                continue
            responses.append(allocated.response)
            # Without a plugin, after a restart, containers start again all the same with what they have.
            if (plugin := self._plugins.get(resource)) is not None:
                await plugin.pre_start(allocated.devices)
        found = injection_of(responses)
        if found.mounts:
            await asyncio.to_thread(check_sources, found.mounts)
        return found

    def statuses(self, pod: Pod) -> Mapping[str, list[ResourceStatus]]:
        """Return the health of a pod's devices by container."""
        return self._table.statuses(pod.metadata.uid)

    def held(self, pod_uid: str, container: str) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
        """Return the devices of a container by resource, each with its NUMA nodes."""
        held = self._table.pods.get(pod_uid, {}).get(container, {})
        return {name: allocated.nodes for name, allocated in held.items()}

    def allocatable(self) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
        """Return the healthy devices by resource, each with its NUMA nodes."""
        return {name: self._table.healthy_nodes(name) for name in sorted(self._table.resources)}

    async def release(self, pod_uid: str) -> None:
        """Free the devices of a pod."""
        if self._table.release(pod_uid):
            await self._save_or_log()

    def _asked(self, pod: Pod, container: AnyContainer) -> dict[str, int]:
        """Return how many devices of which resources of plugins a container asks for."""
        amounts = {
            name: parse_quantity(text).value()
            for name, text in sorted(container.resources.limits.items())
            if is_extended(name)
        }
        return {
            name: amount
            for name, amount in amounts.items()
            if amount > 0 and self._table.is_known(name) and not _is_claimed(pod, container, name)
        }

    async def _allocate(
        self, pod: Pod, container: AnyContainer, reusable: Mapping[str, Collection[str]]
    ) -> None:
        for resource, amount in self._asked(pod, container).items():
            async with self._locks.setdefault(resource, asyncio.Lock()):
                self._table.retain({*self.active(), pod.metadata.uid})
                await self._allocate_one(
                    pod.metadata.uid, container.name, resource, amount, reusable.get(resource, ())
                )

    async def _allocate_one(
        self, uid: str, container: str, resource: str, amount: int, reusable: Collection[str]
    ) -> None:
        """Choose devices and have the plugin allocate them; the resource's lock is held."""
        needed = self._table.lacking(uid, container, resource, amount)
        if not needed:
            return
        plugin = self._plugins.get(resource)
        if plugin is None:
            raise AllocationFailed(f"unknown Device Plugin {resource}")
        candidates = self._table.candidates(resource, reusable, needed)
        preferred: tuple[str, ...] = ()
        if candidates.missing:
            available = candidates.free.union(candidates.reused)
            preferred = await plugin.preferred(available, candidates.reused, amount)
        devices = candidates.chosen(preferred)
        response = await plugin.allocate(devices)
        self._table.allocate(uid, container, resource, devices, response)
        try:
            await self._save()
        except OSError as error:
            self._table.forget(uid, container, resource)
            text = f'failed to write checkpoint file "{NAME}": {error.strerror}'
            raise AllocationFailed(text) from error

    def _hand_on(
        self, uid: str, container: AnyContainer, reusable: dict[str, set[str]], *, adds: bool
    ) -> None:
        """Let later containers have a container's devices, or no longer, as it goes on while they run."""
        for resource in container.resources.limits:
            allocated = self._table.allocated(uid, container.name, resource)
            if allocated is None:
                continue
            devices = reusable.setdefault(resource, set())
            if adds:
                devices |= allocated.devices
            else:
                devices -= allocated.devices

    # Disk

    async def _save(self) -> None:
        """Write the checkpoint if it changed. Raises OSError."""
        await self._file.save(lambda: encode_table(self._table))

    async def _save_or_log(self) -> None:
        """Write the checkpoint; where that fails the next start frees what is too much, by the pods there are."""
        try:
            await self._save()
        except OSError as error:
            log.warning("cannot save allocations of devices: %s", error)


def _is_resource(name: str) -> bool:
    """Return whether a name can be that of an extended resource."""
    is_own = name.startswith("requests.") or not is_extended(name)
    return not is_own and not qualified_name(f"requests.{name}")


def _is_claimed(pod: Pod, container: AnyContainer, resource: str) -> bool:
    """Return whether a claim of dynamic resource allocation serves an extended resource of a container."""
    status = pod.status.extendedResourceClaimStatus
    return status is not None and any(
        (one.containerName, one.resourceName) == (container.name, resource)
        for one in status.requestMappings
    )


def _remove_sockets(folder: Path) -> None:
    """Remove the sockets that plugins have left; those that live make theirs anew when they register."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for path in folder.iterdir():
        with suppress(OSError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
