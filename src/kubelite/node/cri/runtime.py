"""Runs containers through the Container Runtime Interface, version 1: containerd, CRI-O.

Source of what engines do: runtime/v1/api.proto, and containerd 1.6, on which all of it was tried.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from kubelite.inotify import Inotify
from kubelite.node import engine_host
from kubelite.node.capabilities import NAMES, bounding_set
from kubelite.node.cgroups import limit_processes, remove_parents
from kubelite.node.container_owner import NODE_LABEL, UID_LABEL, ContainerOwner
from kubelite.node.cri import messages as cri
from kubelite.node.cri import wire
from kubelite.node.cri.calls import EngineCalls, Unsupported
from kubelite.node.cri.changes import Change, changes
from kubelite.node.cri.crio import CRIO, read_config, with_folders
from kubelite.node.cri.executions import Executions
from kubelite.node.cri.images import EngineImages
from kubelite.node.cri.layers import Layers
from kubelite.node.cri.log_files import read_log
from kubelite.node.cri.streams import CRISession, open_session
from kubelite.node.devices.cdi import read_specs, with_edits
from kubelite.node.docker_wire import ATTEMPT_LABEL
from kubelite.node.process_signals import signal_number, signal_process
from kubelite.node.profiles import Profiles, ProfileUnavailable, apparmor_enabled
from kubelite.node.runtime import (
    ContainerLimits,
    ContainerNotFound,
    ContainerRecord,
    ContainerSpec,
    Credentials,
    EngineUnavailable,
    Handler,
    Image,
    LogEntry,
    LogQuery,
    Resynced,
    RuntimeEvent,
    RuntimeFailure,
    SandboxSpec,
    Session,
    StartRefused,
    Usage,
    Version,
)
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    from kubelite.clock import Clock
    from kubelite.offload import Offload

log = logging.getLogger(__name__)

SANDBOX_SECONDS: Final = 240.0  # to make one, as the kubelet
STATUSES_AT_ONCE: Final = 16
# The status follows the event of an end by some 50 ms; an engine that never follows is not waited for longer.
ENDED_TRIES, ENDED_PAUSE_SECONDS = 200, 0.015
RESERVED: Final = ("is reserved for", "name is reserved")  # in the words of containerd and CRI-O
IMAGE_MOUNTS_SINCE: Final = (2, 1)  # containerd


class CriRuntime:
    """An engine behind a Unix socket; `close` it at the end."""

    def __init__(
        self,
        socket: Path,
        owner: ContainerOwner,
        clock: "Clock",
        profiles: Profiles | None = None,
        *,
        logs: Path = Path("/var/log"),
        offload: "Offload | None" = None,
    ) -> None:
        """Containers can name the profiles of `profiles`, none without it. `logs` is the host's folder for logs."""
        self._socket = socket
        self._calls = EngineCalls(socket, offload)
        self._images = EngineImages(self._calls, socket, self._engine_name, clock)
        self._owner = owner
        self._clock = clock
        self._profiles = profiles
        self._logs = str(logs / "pods")
        self._tasks = TaskSet()
        self._executions = Executions(self._tasks)
        self._layers = Layers()
        self._notices = Inotify()
        self._sessions: dict[CRISession, str] = {}  # by session, the container of an attach
        self._configs: dict[str, cri.SandboxConfig] = {}  # by the id of the sandbox
        self._started: set[str] = set()  # whose start event tells nothing, since `start` has
        bounding = bounding_set()
        self._may_protect = "CAP_SYS_RESOURCE" in bounding
        self._has_all_capabilities = len(bounding) >= len(NAMES)
        self._has_apparmor = apparmor_enabled()
        self._has_ipv6 = Path("/proc/sys/net/ipv6").exists()
        self._uses_systemd: bool | None = None
        self._version: Version | None = None

    async def close(self) -> None:
        """Let go of the engine's connection; containers go on."""
        for session in tuple(self._sessions):
            await session.close()
        await self._tasks.stop()
        self._notices.close()
        await self._calls.close()

    async def version(self) -> Version:
        """Return name and version of the engine. Raises EngineUnavailable."""
        found = await self._calls(cri.VERSION, cri.Nothing())
        self._version = Version(found.runtime_name, found.runtime_version)
        return self._version

    async def handlers(self) -> tuple[Handler, ...]:
        """Return the handlers that the engine is configured with, the default one first."""
        return wire.handlers_of(await self._status())

    async def status_info(self) -> Mapping[str, str]:
        """Return the details of the engine's status, each a document in JSON. Raises UnknownConfig."""
        info = (await self._status()).info
        if await self._engine_name() != CRIO:
            return info
        return with_folders(info, await asyncio.to_thread(read_config, self._socket))

    async def _status(self) -> cri.StatusResponse:
        return await self._calls(cri.STATUS, cri.StatusRequest(verbose=True))

    # Images

    async def images(self) -> list[Image]:
        """Return the images on the node."""
        return await self._images.all()

    async def image(self, reference: str) -> Image | None:
        """Return an image that is on the node by name, digest or id; raises InvalidImageName."""
        return await self._images.find(reference)

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        """Fetch an image; raises ImagePullFailed, RegistryUnavailable or InvalidImageName."""
        return await self._images.pull(reference, credentials)

    async def load(self, archive: Path) -> None:
        """Bring in the images of an archive, a regular file that is never held whole; raises OSError."""
        await self._images.load(archive)

    async def tag(self, image_id: str, name: str) -> None:
        """Give an image that is on the node another name, with a tag; the image that had the name loses it."""
        await self._images.tag(image_id, name)

    async def remove_image(self, image_id: str) -> None:
        """Delete an image with all its names; harmless if there is none."""
        await self._images.remove(image_id)

    async def image_folder(self) -> Path | None:
        """Return the folder that holds images and writable layers; None if this host does not have it."""
        return await self._images.folder()

    # Sandboxes and containers

    async def run_sandbox(self, spec: SandboxSpec) -> ContainerRecord:
        """Create and start a sandbox; a RuntimeFailure, such as StartRefused, leaves nothing behind."""
        config = await self._sandbox_config(spec)
        request = cri.RunSandboxRequest(config, spec.handler)
        try:
            sandbox_id = await self._run_sandbox(request, spec)
        except EngineUnavailable:
            raise
        except RuntimeFailure as error:
            await self._remove_leftovers(spec)
            raise StartRefused(str(error)) from error
        self._started.add(sandbox_id)
        self._configs[sandbox_id] = config
        record = await self._sandbox(sandbox_id)
        if record is None:
            raise ContainerNotFound(f"No such sandbox: {sandbox_id}")
        return record

    async def _run_sandbox(self, request: cri.RunSandboxRequest, spec: SandboxSpec) -> str:
        if await self._engine_name() == CRIO:
            await self._refuse_second(spec)
            await self._remove_leftovers(spec)
        try:
            made = await self._calls(cri.RUN_SANDBOX, request, SANDBOX_SECONDS)
        except RuntimeFailure as error:
            if not is_reserved(error):
                raise
            if not await self._remove_leftovers(spec):
                raise
            made = await self._calls(cri.RUN_SANDBOX, request, SANDBOX_SECONDS)
        return made.pod_sandbox_id

    async def _refuse_second(self, spec: SandboxSpec) -> None:
        """Raise RuntimeFailure if the sandbox of a pod's attempt runs: CRI-O returns it as if it were new."""
        for one in await self._sandboxes_of(spec):
            if one.state == cri.SANDBOX_READY:
                raise RuntimeFailure(f"the sandbox of this attempt runs: it is {one.id}")

    async def _sandboxes_of(self, spec: SandboxSpec) -> list[cri.Sandbox]:
        wanted = {UID_LABEL: spec.pod_uid, ATTEMPT_LABEL: str(spec.attempt)}
        request = cri.ListSandboxesRequest(cri.SandboxFilter(wanted))
        return (await self._calls(cri.LIST_SANDBOXES, request)).items

    async def _sandbox_config(self, spec: SandboxSpec) -> cri.SandboxConfig:
        parent = await self._parent(spec.cgroup_parent)
        return wire.sandbox_config(
            msgspec.structs.replace(spec, cgroup_parent=parent),
            self._owner,
            self._logs,
            may_protect=self._may_protect,
            has_ipv6=self._has_ipv6,
            is_crio=await self._engine_name() == CRIO,
        )

    async def _remove_leftovers(self, spec: SandboxSpec) -> bool:
        """Remove the sandboxes of a pod's attempt that do not run; return whether there was one."""
        try:
            found = await self._sandboxes_of(spec)
            ended = [one.id for one in found if one.state != cri.SANDBOX_READY]
            for sandbox_id in ended:
                await self._remove_sandbox(sandbox_id)
        except (RuntimeFailure, EngineUnavailable) as error:
            # The next call finds it by its name; what the caller reports says more than this.
            log.warning("cannot remove a sandbox: %s", error, extra={"pod": spec.pod_uid})
            return False
        return bool(ended)

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container that is not started yet; return its id."""
        spec = await self._with_images(spec)
        if spec.cdi_devices:  # an engine that knows them has to be told so in its settings
            spec = with_edits(spec, await asyncio.to_thread(read_specs))
        seccomp, apparmor = await asyncio.to_thread(self._load_profiles, spec)
        config = wire.container_config(
            spec,
            self._owner,
            seccomp,
            apparmor,
            may_protect=self._may_protect,
            has_apparmor=self._has_apparmor,
            is_crio=await self._engine_name() == CRIO,
        )
        sandbox_config = await self._config_of(spec.sandbox_id)
        await asyncio.to_thread(_make_log_folder, sandbox_config, config)
        request = cri.CreateContainerRequest(spec.sandbox_id, config, sandbox_config)
        if (
            await self._engine_name() == CRIO
        ):  # which would return the former one as if it were made anew
            await self._remove_former(spec)
        try:
            made = await self._calls(cri.CREATE_CONTAINER, request)
        except RuntimeFailure as error:
            if not is_reserved(error) or not await self._remove_former(spec):
                raise
            made = await self._calls(cri.CREATE_CONTAINER, request)
        return made.container_id

    async def _with_images(self, spec: ContainerSpec) -> ContainerSpec:
        """Return a spec whose images are mounted on the host, unless the engine mounts them itself."""
        if not any(mount.image for mount in spec.mounts):
            return spec
        engine = self._version or await self.version()
        parts = engine.version.lstrip("v").split(".")
        number = tuple(int(part) for part in parts[:2] if part.isdecimal())
        if engine.name == CRIO:  # which looks for the image's name in its policy of signatures
            mounts = [
                await self._images.named(mount) if mount.image else mount for mount in spec.mounts
            ]
            return msgspec.structs.replace(spec, mounts=tuple(mounts))
        if engine.name != "containerd" or number >= IMAGE_MOUNTS_SINCE:
            return spec
        snapshotter = wire.snapshotter_of(await self._status())
        mounts = [
            await self._images.show(mount, snapshotter) if mount.image else mount
            for mount in spec.mounts
        ]
        return msgspec.structs.replace(spec, mounts=tuple(mounts))

    def _load_profiles(self, spec: ContainerSpec) -> tuple[str, str]:
        """Return the file of a container's seccomp profile and the name of its AppArmor profile. Blocks."""
        if "Localhost" not in (spec.seccomp.type, spec.apparmor.type):
            return "", ""
        if self._profiles is None:
            raise ProfileUnavailable("this node has no profiles of its own")
        self._profiles.load(spec)  # raises for what may not be used
        file = ""
        if spec.seccomp.type == "Localhost":
            file = str(self._profiles.seccomp_file(spec.seccomp.name))
        return file, spec.apparmor.name

    async def _config_of(self, sandbox_id: str) -> cri.SandboxConfig:
        """Return the settings that a sandbox was made with; they are noted in the sandbox itself."""
        config = self._configs.get(sandbox_id)
        if config is None:
            found = await self._calls(cri.SANDBOX_STATUS, cri.SandboxStatusRequest(sandbox_id))
            spec = wire.spec_of(found.status.annotations) if found.status is not None else None
            if spec is None:
                raise RuntimeFailure(f"sandbox {sandbox_id} does not say how it was made")
            config = self._configs[sandbox_id] = await self._sandbox_config(spec)
        return config

    async def _remove_former(self, spec: ContainerSpec) -> bool:
        """Remove the containers that an earlier call for the same attempt left; return whether there was one.

        Raises RuntimeFailure if one runs.
        """
        wanted = {
            UID_LABEL: spec.pod_uid,
            "io.kubernetes.container.name": spec.name,
            ATTEMPT_LABEL: str(spec.attempt),
        }
        request = cri.ListContainersRequest(cri.ContainerFilter(wanted))
        found = (await self._calls(cri.LIST_CONTAINERS, request)).containers
        if running := [one.id for one in found if one.state == cri.RUNNING]:
            raise RuntimeFailure(f"the container of this attempt runs: it is {running[0]}")
        former = [one.id for one in found]
        for container_id in former:
            await self._remove_container(container_id)
        return bool(former)

    def reductions(self, spec: ContainerSpec) -> tuple[str, ...]:
        """Return a text for each privilege in a container's spec that this host withholds."""
        return engine_host.reductions(
            spec, has_all_capabilities=self._has_all_capabilities, may_protect=self._may_protect
        )

    async def _parent(self, path: str) -> str:
        """Spell a control group as the engine's driver wants it."""
        if self._uses_systemd is None:
            self._uses_systemd = await self._has_systemd_driver()
        if not self._uses_systemd or not path or path.endswith(".slice"):
            return path
        return engine_host.systemd_slice(path)

    async def _has_systemd_driver(self) -> bool:
        try:
            linux = (await self._calls(cri.RUNTIME_CONFIG, cri.Nothing())).linux
        except Unsupported:  # by containerd before 2
            linux = None
        if linux is not None:
            return linux.cgroup_driver == cri.SYSTEMD_DRIVER
        return wire.uses_systemd(await self._status())

    async def start(self, container_id: str) -> ContainerRecord:
        """Start a container that was created; raises StartRefused, and then its record tells why it ended."""
        self._started.add(container_id)
        try:
            await self._calls(cri.START_CONTAINER, cri.ContainerId(container_id))
            record = await self.inspect(container_id)
            if record is not None and record.pid:
                await self._limit_processes(record)
        except BaseException as error:
            # It may run nevertheless, which only its event shows.
            self._started.discard(container_id)
            if isinstance(error, RuntimeFailure) and not isinstance(error, ContainerNotFound):
                raise StartRefused(str(error)) from error
            raise
        if record is None:
            raise ContainerNotFound(f"No such container: {container_id}")
        return record

    async def _limit_processes(self, record: ContainerRecord) -> None:
        found = await self._calls(cri.CONTAINER_STATUS, cri.ContainerStatusRequest(record.id))
        pids = wire.pids_of(found.status.annotations) if found.status is not None else 0
        if pids:
            with suppress(ProcessLookupError, FileNotFoundError):  # it has ended already
                await asyncio.to_thread(limit_processes, record.pid, record.id, pids)

    async def signal(self, container_id: str, signal: str) -> None:
        """Send a signal to the main process, the container's own stop signal when empty."""
        record = await self.inspect(container_id)
        if record is None or not record.pid:
            return
        try:
            number = signal_number(signal or await self._stop_signal(container_id))
        except ValueError as error:
            raise RuntimeFailure(str(error)) from error

        async def is_current() -> bool:
            now = await self.inspect(container_id)
            return now is not None and now.pid == record.pid

        await signal_process(record.pid, number, is_current)

    async def _stop_signal(self, container_id: str) -> str:
        found = await self._calls(cri.CONTAINER_STATUS, cri.ContainerStatusRequest(container_id))
        if found.status is None:
            return "SIGTERM"
        own = found.status.annotations.get(wire.STOP_SIGNAL_ANNOTATION, "")
        if own or not found.status.image_ref:
            return own or "SIGTERM"
        image = await self._images.details(found.status.image_ref)
        return wire.stop_signal_of(image.info) or "SIGTERM"

    async def remove(self, container_id: str) -> None:
        """Kill and remove a container; harmless if there is none."""
        record = await self.inspect(container_id)
        if record is None:
            return
        if record.is_sandbox:
            await self._remove_sandbox(container_id)
            await asyncio.to_thread(remove_parents, record.pod_uid)
        else:
            await self._remove_container(container_id)

    async def _remove_sandbox(self, sandbox_id: str) -> None:
        with suppress(ContainerNotFound):
            await self._calls(cri.STOP_SANDBOX, cri.SandboxId(sandbox_id))
        with suppress(ContainerNotFound):
            await self._calls(cri.REMOVE_SANDBOX, cri.SandboxId(sandbox_id))
        self._configs.pop(sandbox_id, None)

    async def _remove_container(self, container_id: str) -> None:
        for session, attached_to in tuple(self._sessions.items()):
            # The engine takes a container for running until all its output is with the attached clients.
            if attached_to == container_id and session.is_held:
                await session.close()
        with suppress(ContainerNotFound):
            await self._calls(cri.STOP_CONTAINER, cri.StopContainerRequest(container_id, 0))
        with suppress(ContainerNotFound):
            await self._calls(cri.REMOVE_CONTAINER, cri.ContainerId(container_id))

    async def update(self, container_id: str, limits: ContainerLimits) -> None:
        """Change a running container's resources in place."""
        resources = wire.resources_of(limits, may_protect=self._may_protect)
        await self._calls(cri.UPDATE_RESOURCES, cri.UpdateResourcesRequest(container_id, resources))

    async def limit_pod(
        self, sandbox: ContainerRecord, limits: ContainerLimits, class_shares: int
    ) -> None:
        """Limit all containers of a running sandbox together, and weigh its QoS class; 0 leaves that as it is."""
        await engine_host.limit_sandbox(sandbox, limits, class_shares)

    # What there is

    async def records(self) -> list[ContainerRecord]:
        """Return all containers and sandboxes that this node made, under whatever name."""
        sandboxes = await self._calls(cri.LIST_SANDBOXES, cri.ListSandboxesRequest())
        containers = await self._calls(cri.LIST_CONTAINERS, cri.ListContainersRequest())
        places = asyncio.Semaphore(STATUSES_AT_ONCE)
        reads = [self._sandbox(one.id, places) for one in sandboxes.items if self._owns(one.labels)]
        reads += [
            self._container(one.id, places)
            for one in containers.containers
            if self._owns(one.labels)
        ]
        return [record for record in await asyncio.gather(*reads) if record is not None]

    def _owns(self, labels: Mapping[str, str]) -> bool:
        return NODE_LABEL in labels and self._owner.owns(labels)

    async def inspect(self, container_id: str) -> ContainerRecord | None:
        """Return a container's record; None if there is none, or it is another owner's."""
        looks = [self._container, self._sandbox]
        if container_id in self._configs:
            looks.reverse()
        for look in looks:
            record = await look(container_id)
            if record is not None:
                return record
        return None

    async def _sandbox(
        self, sandbox_id: str, places: asyncio.Semaphore | None = None
    ) -> ContainerRecord | None:
        request = cri.SandboxStatusRequest(sandbox_id, verbose=True)
        async with places or asyncio.Semaphore():
            try:
                found = await self._calls(cri.SANDBOX_STATUS, request)
            except ContainerNotFound:
                return None
        if found.status is None:
            return None
        record = wire.sandbox_record(found.status, found.info, self._owner)
        return None if record is None else await self._named(record)

    async def _container(
        self, container_id: str, places: asyncio.Semaphore | None = None
    ) -> ContainerRecord | None:
        request = cri.ContainerStatusRequest(container_id, verbose=True)
        async with places or asyncio.Semaphore():
            try:
                found = await self._calls(cri.CONTAINER_STATUS, request)
            except ContainerNotFound:
                return None
        if found.status is None:
            return None
        record = wire.container_record(found.status, found.info, self._owner)
        if record is None:
            return None
        layer = await self._layers.of(
            record.id, wire.detail(found.info), is_running=record.is_running
        )
        return await self._named(msgspec.structs.replace(record, layer_path=layer))

    async def _named(self, record: ContainerRecord) -> ContainerRecord:
        return msgspec.structs.replace(record, engine=await self._engine_name())

    async def _engine_name(self) -> str:
        return (self._version or await self.version()).name

    async def events(self) -> AsyncGenerator[RuntimeEvent | Resynced, None]:
        """Yield `Resynced` first and then every change. Raises EngineUnavailable when the connection ends."""
        async with aclosing(changes(self._calls, self._states)) as told:
            async for change in told:
                if change is None:
                    # Subscribed before the list is read, so a change in between comes twice rather than not at all.
                    records = await self.records()
                    yield Resynced(tuple(records))
                    for record in records:
                        # Its end was told before the subscription, and its status does not show it yet.
                        if record.is_running and not await asyncio.to_thread(_is_alive, record):
                            ended = await self._ended(record.id)
                            yield RuntimeEvent(record.id, ended)
                elif (event := await self._event(change)) is not None:
                    yield event
        raise EngineUnavailable("the container engine closed its event stream")

    async def _states(self) -> Mapping[str, int]:
        sandboxes = await self._calls(cri.LIST_SANDBOXES, cri.ListSandboxesRequest())
        containers = await self._calls(cri.LIST_CONTAINERS, cri.ListContainersRequest())
        found = {one.id: one.state for one in sandboxes.items if self._owns(one.labels)}
        return found | {
            one.id: one.state for one in containers.containers if self._owns(one.labels)
        }

    async def _event(self, change: Change) -> RuntimeEvent | None:
        container_id = change.container_id
        if change.kind == "removed":
            self._layers.forget(container_id)
            self._started.discard(container_id)
            self._configs.pop(container_id, None)
            return RuntimeEvent(container_id, None)
        if change.kind == "started" and container_id in self._started:
            return None
        if change.kind == "ended":
            record = await self._ended(container_id)
        else:
            record = await self.inspect(container_id)
        return None if record is None else RuntimeEvent(container_id, record)

    async def _ended(self, container_id: str) -> ContainerRecord | None:
        """Return the record of a container that has ended: its status shows that a little later."""
        tries = 0
        while True:
            record = await self.inspect(container_id)
            tries += 1
            if record is None or not record.is_running or tries == ENDED_TRIES:
                return record
            await asyncio.sleep(ENDED_PAUSE_SECONDS)

    # Streams

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Session:
        """Start a process inside a running container."""
        record = await self._running(container_id)
        execution = self._executions.begin(container_id, record.pid, command)

        def kill() -> None:
            self._executions.kill(execution)

        request = cri.ExecRequest(
            container_id, list(command), tty=tty, stdin=stdin, stdout=True, stderr=not tty
        )
        url = (await self._calls(cri.EXEC, request)).url
        try:
            session = await open_session(url, tty=tty, stdin=stdin, kill=kill)
        except asyncio.CancelledError:
            # The engine may start the process all the same, and nothing else would ever end it.
            kill()
            raise
        return self._kept(session, "")

    async def attach(self, container_id: str, *, tty: bool, stdin: bool) -> Session:
        """Join the streams of a container's main process; raises RuntimeFailure for one that has ended."""
        await self._running(container_id)
        request = cri.AttachRequest(container_id, stdin=stdin, tty=tty, stdout=True, stderr=not tty)
        url = (await self._calls(cri.ATTACH, request)).url
        return self._kept(await open_session(url, tty=tty, stdin=stdin), container_id)

    async def _running(self, container_id: str) -> ContainerRecord:
        record = await self.inspect(container_id)
        if record is None:
            raise ContainerNotFound(f"No such container: {container_id}")
        if not record.is_running:
            raise RuntimeFailure("container is in CONTAINER_EXITED state")
        return record

    def _kept(self, session: CRISession, attached_to: str) -> Session:
        self._sessions = {one: where for one, where in self._sessions.items() if not one.is_closed}
        self._sessions[session] = attached_to
        return session

    async def logs(self, container_id: str, query: LogQuery) -> AsyncGenerator[LogEntry, None]:
        """Yield a container's output in order; ends when it does, or at once unless following."""
        record = await self.inspect(container_id)
        if record is None:
            raise ContainerNotFound(f"No such container: {container_id}")
        entries = read_log(record.log_path, query, self._until_ended(container_id), self._notices)
        async with aclosing(entries):
            async for entry in entries:
                yield entry

    async def _until_ended(self, container_id: str) -> None:
        while True:
            record = await self.inspect(container_id)
            if record is None or not record.is_running:
                return
            if record.pid:
                await _process_ended(record.pid)
            await asyncio.sleep(ENDED_PAUSE_SECONDS)

    async def rotate_log(self, container_id: str) -> None:
        """Go on with a running container's output in a new file at its `log_path`."""
        try:
            await self._calls(cri.REOPEN_LOG, cri.ContainerId(container_id))
        except Unsupported:
            raise
        except RuntimeFailure:
            record = await self.inspect(container_id)
            if record is not None and record.is_running:
                raise

    async def usage(self, record: ContainerRecord) -> Usage | None:
        """Return the usage of a running container; None if it cannot be read, as when the container has just ended."""
        return await engine_host.usage_of(record, self._clock)


def is_reserved(error: RuntimeFailure) -> bool:
    """Return whether a name is refused because a container or sandbox has it."""
    return any(words in str(error) for words in RESERVED)


def _make_log_folder(sandbox: cri.SandboxConfig, container: cri.ContainerConfig) -> None:
    """Make the folder of a container's output, as the kubelet does: not every engine makes it. Blocking."""
    folder = Path(sandbox.log_directory, container.log_path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeFailure(f"cannot make the folder {folder}: {error.strerror}") from error


def _is_alive(record: ContainerRecord) -> bool:
    return not record.pid or Path(f"/proc/{record.pid}").exists()


async def _process_ended(pid: int) -> None:
    """Wait until a process, which need not be a child, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
