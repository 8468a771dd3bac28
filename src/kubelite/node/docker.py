"""Runs containers on a Docker engine through its API.

Only containers of this node's data folder are ever listed, stopped or removed (see `container_owner`). Nothing is
kept here but the connection: after a restart of this process or of the engine everything is read again from the
containers' labels.
"""

import asyncio
import io
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from kubelite.backoff import backoff_seconds
from kubelite.limits import ENGINE_LINE, ENGINE_REFUSALS, PULL_SILENCE
from kubelite.node import docker_wire as wire
from kubelite.node import engine_host, pause_image
from kubelite.node.capabilities import bounding_set, full_privileges, host_limits
from kubelite.node.cgroups import limit_container, remove_parents
from kubelite.node.container_owner import NODE_LABEL, ContainerOwner
from kubelite.node.devices.cdi import read_specs, with_edits
from kubelite.node.docker_dialect import Dialect, adapted, dialect_of
from kubelite.node.docker_logs import read_log
from kubelite.node.docker_stream import EngineStream, open_stream
from kubelite.node.image_files import open_archive
from kubelite.node.image_mounts import image_layers, show_image
from kubelite.node.log_policy import LOGS_BY_DEFAULT, LogPolicy
from kubelite.node.process_signals import signal_number, signal_process
from kubelite.node.process_tree import kill_session
from kubelite.node.profiles import LoadedProfiles, Profiles, ProfileUnavailable
from kubelite.node.runtime import (
    ContainerLimits,
    ContainerNotFound,
    ContainerRecord,
    ContainerSpec,
    Credentials,
    EngineUnavailable,
    Handler,
    Image,
    ImageInUse,
    ImagePullFailed,
    InvalidImageName,
    LogEntry,
    LogQuery,
    Mount,
    RegistryUnavailable,
    Resynced,
    RuntimeEvent,
    RuntimeFailure,
    SandboxSpec,
    Session,
    StartRefused,
    StreamName,
    Usage,
    Version,
)
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    import aiohttp

    from kubelite.clock import Clock

log = logging.getLogger(__name__)

CONNECTION_ERROR = 900  # aiodocker's number for "cannot connect"
NOT_FOUND, NOT_MODIFIED, CONFLICT = 404, 304, 409
CALL_SECONDS = 120.0
REFUSAL_CHARACTERS = 1024
NAME_TAKEN = "is already in use by "
EXIT_CODE_TRIES = 40
EXIT_CODE_PAUSE_SECONDS = 0.025
KILL_TRIES = 20
KILL_FIRST_SECONDS, KILL_MAX_SECONDS = 0.05, 5.0


class _Conflict(RuntimeFailure):
    """The state of something does not admit the operation."""


class DockerRuntime:
    """A Docker engine behind a UNIX socket; `close` it at the end."""

    def __init__(
        self,
        socket: Path,
        owner: ContainerOwner,
        architecture: str,
        clock: "Clock",
        profiles: Profiles | None = None,
        logs: LogPolicy = LOGS_BY_DEFAULT,
    ) -> None:
        """Containers can name the profiles of `profiles`, none without it; `logs` says how much output is kept."""
        import aiohttp
        from aiodocker import Docker

        # The engine's calls that wait (events, logs, exec) each hold a connection: no limit on their number.
        self._socket = socket
        self._streams: set[EngineStream] = set()  # of execs and attaches that are not over
        self._tasks = TaskSet()
        self._connector = aiohttp.UnixConnector(str(socket), limit=0)
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        self._docker: Docker = Docker(
            url="unix://localhost", connector=self._connector, timeout=timeout
        )
        self._owner = owner
        self._architecture = architecture
        self._clock = clock
        self._profiles = profiles
        self._log_policy = logs
        bounding = bounding_set()
        self._may_protect = "CAP_SYS_RESOURCE" in bounding
        self._privileges = full_privileges(bounding)
        self._has_ipv6 = Path("/proc/sys/net/ipv6").exists()
        self._uses_systemd: bool | None = None
        self._dialect: Dialect | None = None  # of the engine that last answered
        self._refusals: dict[
            str, str
        ] = {}  # why starts were refused, for a dialect that forgets it
        self._image_folder: Path | None = None
        self._started: set[str] = (
            set()
        )  # containers whose start event is redundant, since `start` has reported them

    async def close(self) -> None:
        """Let go of the engine's connection; containers go on."""
        await self._tasks.stop()
        for stream in tuple(self._streams):
            stream.abort()
        self._streams.clear()
        await self._docker.close()
        await self._connector.close()

    # Asking

    @asynccontextmanager
    async def _query(
        self, path: str, method: str = "GET", **options: Any
    ) -> "AsyncIterator[aiohttp.ClientResponse]":
        """Send a request; errors become those of `kubelite.node.runtime`."""
        import aiohttp
        from aiodocker import DockerError

        try:
            asked = self._docker._query(path, method, **options)  # noqa: SLF001 - the library's way to calls it lacks
            # The library leaves the response to its caller. One that is not read to its end would keep its connection,
            # and the engine would go on writing to it, until the collector found it.
            async with asked as response, response:
                yield response
        except DockerError as error:
            raise _translated(error.status, error.message) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineUnavailable(f"cannot talk to the Docker engine: {error}") from error

    async def _json(self, path: str, method: str = "GET", **options: Any) -> Any:
        if "data" in options:
            options["data"] = msgspec.json.encode(options["data"])
        async with self._query(path, method, **options) as response:
            body = await response.read()
        return msgspec.json.decode(body) if body else None

    async def version(self) -> Version:
        """Return the engine's version. Raises EngineUnavailable."""
        found = await self._json("version")
        self._dialect = dialect_of(found)
        return Version(self._dialect.name, found["Version"])

    async def _speaks(self) -> Dialect:
        if self._dialect is None:
            await self.version()
        assert self._dialect is not None
        return self._dialect

    async def handlers(self) -> tuple[Handler, ...]:
        """Return the handlers that the engine is configured with, the default one first."""
        return wire.handlers_of(await self._json("info"))

    # Images

    async def image_folder(self) -> Path | None:
        """Return the folder that holds images and writable layers; None if this host does not have it."""
        if self._image_folder is None:
            root = (await self._json("info")).get("DockerRootDir")
            self._image_folder = Path(root) if root else None
        return self._image_folder

    async def images(self) -> list[Image]:
        """Return the images on the node."""
        return [wire.image_of(found) for found in await self._json("images/json")]

    async def image(self, reference: str) -> Image | None:
        """Return an image that is on the node by name, digest or id; raises InvalidImageName."""
        if not wire.is_reference(reference):
            raise _invalid_name(reference)
        try:
            return wire.image_of(await self._json(f"images/{wire.with_tag(reference)}/json"))
        except ContainerNotFound:
            return None

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        """Fetch an image; raises ImagePullFailed, RegistryUnavailable or InvalidImageName."""
        from aiodocker.utils import compose_auth_header

        if not wire.is_reference(reference):
            raise _invalid_name(reference)
        headers: dict[str, str] = {}
        if credentials is not None:
            login: dict[str, Any] = {
                "username": credentials.username,
                "password": credentials.password,
                "serveraddress": credentials.server,
            }
            if credentials.identity_token:
                login = {"identitytoken": credentials.identity_token}
            headers["X-Registry-Auth"] = compose_auth_header(login, credentials.server)
        options = {"params": {"fromImage": wire.with_tag(reference)}, "headers": headers}
        loop = asyncio.get_running_loop()
        try:
            async with (
                asyncio.timeout(PULL_SILENCE.value) as silence,
                self._query("images/create", "POST", timeout=None, **options) as response,
            ):
                async for line in _lines(response):
                    silence.reschedule(loop.time() + PULL_SILENCE.value)
                    if "error" in (progress := msgspec.json.decode(line)):
                        raise _pull_failure(reference, progress["error"])
        except TimeoutError as error:
            PULL_SILENCE.reached()
            message = f"no progress of the pull of {reference} within {PULL_SILENCE.value} s"
            raise ImagePullFailed(message) from error
        except (EngineUnavailable, ImagePullFailed):
            raise
        except RuntimeFailure as error:
            raise _pull_failure(reference, str(error)) from error
        image = await self.image(reference)
        if image is None:
            raise ImagePullFailed(f"image {reference} is not there after it was pulled")
        return image

    async def load(self, archive: Path) -> None:
        """Bring in the images of a `docker save` archive, a regular file that is never held whole; raises OSError."""
        # The client library reads it piece by piece, in threads, and closes it.
        await self._load(await asyncio.to_thread(open_archive, archive))

    async def _load(self, archive: BinaryIO) -> None:
        options: dict[str, Any] = {
            "data": archive,
            "headers": {"Content-Type": "application/x-tar"},
            "timeout": None,  # a large archive takes as long as the disk needs
        }
        async with self._query("images/load", "POST", **options) as response:
            async for line in _lines(response):
                if "error" in (progress := msgspec.json.decode(line)):
                    raise RuntimeFailure(f"cannot load image: {progress['error']}")

    async def tag(self, image_id: str, name: str) -> None:
        """Give an image that is on the node another name, with a tag; the image that had the name loses it."""
        repository, _, tag = name.rpartition(":")
        await self._json(f"images/{image_id}/tag", "POST", params={"repo": repository, "tag": tag})

    async def remove_image(self, image_id: str) -> None:
        """Delete an image with all its names; harmless if there is none. Raises ImageInUse."""
        try:
            found = await self._json(f"images/{image_id}/json")
            # By its id alone the engine refuses to delete an image that has names in several repositories.
            for name in (*(found.get("RepoTags") or ()), image_id):
                with suppress(ContainerNotFound):  # it went with its last name
                    await self._json(f"images/{name}", "DELETE")
        except ContainerNotFound:
            return
        except _Conflict as error:
            raise ImageInUse(str(error)) from error

    # Containers

    async def run_sandbox(self, spec: SandboxSpec) -> ContainerRecord:
        """Create and start a sandbox; a RuntimeFailure, such as StartRefused, leaves nothing behind."""
        sandbox_id = await self._create_sandbox(spec)
        try:
            return await self.start(sandbox_id)
        except RuntimeFailure:
            try:
                await self.remove(sandbox_id)
            except (RuntimeFailure, EngineUnavailable) as error:
                # The next call finds it by its name; the refusal says more than this.
                log.warning("cannot remove a sandbox: %s", error, extra={"sandbox": sandbox_id})
            raise

    async def _create_sandbox(self, spec: SandboxSpec) -> str:
        spec = msgspec.structs.replace(spec, cgroup_parent=await self._parent(spec.cgroup_parent))
        body = wire.sandbox_body(
            spec,
            self._owner,
            pause_image.NAME,
            may_protect=self._may_protect,
            has_ipv6=self._has_ipv6,
            ulimits=await self._ulimits(),
        )
        try:
            return await self._create(wire.container_name(spec), body)
        except ContainerNotFound:
            await self._load(io.BytesIO(pause_image.pause_archive(self._architecture)))
            return await self._create(wire.container_name(spec), body)

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container that is not started yet; return its id."""
        if spec.cdi_devices and not (await self._json("info")).get("CDISpecDirs"):
            spec = with_edits(spec, await asyncio.to_thread(read_specs))
        spec = msgspec.structs.replace(
            spec,
            cgroup_parent=await self._parent(spec.cgroup_parent),
            mounts=tuple([await self._shown(mount) for mount in spec.mounts]),
        )
        body = wire.container_body(
            spec,
            self._owner,
            await self._load_profiles(spec),
            may_protect=self._may_protect,
            privileges=self._privileges,
            ulimits=await self._ulimits(),
            logs=self._log_policy,
        )
        return await self._create(wire.container_name(spec), body)

    async def _ulimits(self) -> dict[str, int]:
        """Return the limits to give each container; none where the engine chooses those that the host allows."""
        if self._may_protect or (await self._speaks()).caps_limits:
            return {}
        return await asyncio.to_thread(host_limits)

    async def _shown(self, mount: Mount) -> Mount:
        """Return a mount of a path on the host; the files of an image are mounted there."""
        if not mount.image:
            return mount
        layers = image_layers(await self._json(f"images/{mount.image}/json"))
        return await asyncio.to_thread(show_image, layers, mount)

    async def _load_profiles(self, spec: ContainerSpec) -> LoadedProfiles:
        if "Localhost" not in (spec.seccomp.type, spec.apparmor.type):
            return LoadedProfiles()
        if self._profiles is None:
            raise ProfileUnavailable("this node has no profiles of its own")
        return await asyncio.to_thread(self._profiles.load, spec)

    def reductions(self, spec: ContainerSpec) -> tuple[str, ...]:
        """Return a text for each privilege in a container's spec that this host withholds."""
        return engine_host.reductions(
            spec,
            has_all_capabilities="Privileged" in self._privileges,
            may_protect=self._may_protect,
        )

    async def _create(self, name: str, body: dict[str, Any]) -> str:
        try:
            return await self._create_once(name, body)
        except RuntimeFailure as error:
            if NAME_TAKEN not in str(error):
                raise
            # A container of an earlier try whose response was lost, or whose start failed: its id was never returned.
            found = await self.inspect(name)
            if found is None or found.is_running:
                raise
            await self.remove(found.id)
        return await self._create_once(name, body)

    async def _create_once(self, name: str, body: dict[str, Any]) -> str:
        body = adapted(body, await self._speaks())
        answer = await self._json("containers/create", "POST", params={"name": name}, data=body)
        return cast("str", answer["Id"])

    async def _parent(self, path: str) -> str:
        """Spell a control group as the engine's driver wants it."""
        if self._uses_systemd is None:
            info = await self._json("info")
            self._uses_systemd = info.get("CgroupDriver") == "systemd"
        if not self._uses_systemd:
            return path
        return engine_host.systemd_slice(path)

    async def start(self, container_id: str) -> ContainerRecord:
        """Start a container; raises StartRefused."""
        dialect = await self._speaks()
        if dialect.starts_dependencies:
            await self._check_dependencies(container_id)
        self._started.add(container_id)
        try:
            await self._json(f"containers/{container_id}/start", "POST")
            record = await self.inspect(container_id)
        except BaseException as error:
            # It may run nevertheless, which only its event shows.
            self._started.discard(container_id)
            if isinstance(error, RuntimeFailure) and not isinstance(error, ContainerNotFound):
                if not dialect.keeps_refusals:
                    self._note_refusal(container_id, str(error))
                raise StartRefused(str(error)) from error
            raise
        if record is None:
            raise ContainerNotFound(f"No such container: {container_id}")
        return record

    async def _check_dependencies(self, container_id: str) -> None:
        """Raise StartRefused if a container whose namespaces are shared does not run: the engine would start it."""
        host = (await self._json(f"containers/{container_id}/json"))["HostConfig"]
        modes = (host.get(mode, "") for mode in ("NetworkMode", "IpcMode", "PidMode"))
        for other in sorted(
            {m.removeprefix("container:") for m in modes if m.startswith("container:")}
        ):
            record = await self.inspect(other)
            if record is None or not record.is_running:
                raise StartRefused(
                    f"cannot join the namespaces of container {other}: it does not run"
                )

    def _note_refusal(self, container_id: str, reason: str) -> None:
        while len(self._refusals) >= ENGINE_REFUSALS.value:
            ENGINE_REFUSALS.reached()
            self._refusals.pop(next(iter(self._refusals)))
        self._refusals[container_id] = reason[:REFUSAL_CHARACTERS]

    async def signal(self, container_id: str, signal: str) -> None:
        """Send a signal to the main process, the container's own stop signal when empty."""
        if not (await self._speaks()).has_signal:
            await self._signal_directly(container_id, signal)
            return
        try:
            if not signal:
                found = await self._json(f"containers/{container_id}/json")
                signal = found["Config"].get("StopSignal") or "SIGTERM"
            await self._json(f"containers/{container_id}/kill", "POST", params={"signal": signal})
        except ContainerNotFound:
            return
        except RuntimeFailure as error:
            if "is not running" not in str(error):
                raise

    async def _signal_directly(self, container_id: str, signal: str) -> None:
        async def state() -> Any:
            return await self._json(f"containers/{container_id}/json")

        try:
            found = await state()
            pid = found["State"]["Pid"]
            if not pid:
                return
            number = signal_number(signal or found["Config"].get("StopSignal") or "SIGTERM")

            async def is_current() -> bool:
                return bool((await state())["State"]["Pid"] == pid)

            await signal_process(pid, number, is_current)
        except ContainerNotFound:
            return
        except (ValueError, OSError) as error:
            raise RuntimeFailure(str(error)) from error

    async def remove(self, container_id: str) -> None:
        """Kill and remove a container; harmless if there is none."""
        record = await self.inspect(container_id)
        if record is None:
            return
        with suppress(ContainerNotFound):
            path = f"containers/{container_id}"
            await self._json(path, "DELETE", params={"force": "true", "v": "true"})
        if record.is_sandbox:
            await asyncio.to_thread(remove_parents, record.pod_uid)

    async def update(self, container_id: str, limits: ContainerLimits) -> None:
        """Change a running container's resources in place."""
        if (await self._speaks()).has_update:
            body = wire.limits_body(limits)
            await self._json(f"containers/{container_id}/update", "POST", data=body)
            return
        record = await self.inspect(container_id)
        if record is None or not record.pid:
            raise RuntimeFailure(f"container {container_id} does not run")
        try:
            await asyncio.to_thread(limit_container, record.pid, container_id, limits)
        except OSError as error:
            what = f"{error.filename}: {error.strerror}"
            raise RuntimeFailure(f"cannot set the control group of a container: {what}") from error

    async def limit_pod(
        self, sandbox: ContainerRecord, limits: ContainerLimits, class_shares: int
    ) -> None:
        """Limit all containers of a running sandbox together, and weigh its QoS class; 0 leaves that as it is."""
        await engine_host.limit_sandbox(sandbox, limits, class_shares)

    async def records(self) -> list[ContainerRecord]:
        """Return all containers and sandboxes that this node made, under whatever name."""
        params = {"all": "true", "filters": _filters({"label": [NODE_LABEL]})}
        listed = await self._json("containers/json", params=params)
        owned = [one["Id"] for one in listed if self._owner.owns(one["Labels"])]
        found = [await self.inspect(container_id) for container_id in owned]
        return [record for record in found if record is not None]

    async def inspect(self, container_id: str) -> ContainerRecord | None:
        """Return a container's record; None if there is none, or it is another owner's."""
        try:
            found = await self._json(f"containers/{container_id}/json")
        except ContainerNotFound:
            return None
        refusal = self._refusals.get(found["Id"], "")
        record = wire.record_of(found, (await self._speaks()).name, refusal)
        return record if record is not None and self._owner.owns(record.labels) else None

    async def events(self) -> AsyncGenerator[RuntimeEvent | Resynced, None]:
        """Yield `Resynced` first and then every change. Raises EngineUnavailable when the connection ends."""
        self._dialect = None  # another engine may answer on the socket than before
        dialect = await self._speaks()
        filters = {"type": ["container"]}
        if dialect.filters_events:
            filters |= {"label": [NODE_LABEL], "event": dialect.events}
        params = {"filters": _filters(filters)}
        async with self._query("events", params=params, timeout=None) as response:
            # Subscribed before the list is read, so a change in between comes twice rather than not at all.
            yield Resynced(tuple(await self.records()))
            async for line in _lines(response):
                event = msgspec.json.decode(line)
                container_id, labels = event["Actor"]["ID"], event["Actor"]["Attributes"]
                if event["Action"] not in dialect.events or NODE_LABEL not in labels:
                    continue
                if event["Action"] == dialect.removal:
                    self._started.discard(container_id)
                    self._refusals.pop(container_id, None)
                    yield RuntimeEvent(container_id, None)
                elif not self._owner.owns(labels):
                    continue
                elif event["Action"] != "start" or container_id not in self._started:
                    yield RuntimeEvent(container_id, await self.inspect(container_id))
        raise EngineUnavailable("the Docker engine closed its event stream")

    # Streams

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Session:
        """Start a process inside a running container."""
        body = {
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": tty,
            "Cmd": list(command),
        }
        answer = await self._json(f"containers/{container_id}/exec", "POST", data=body)
        exec_id = cast("str", answer["Id"])
        try:
            stream = await self._open(
                f"/exec/{exec_id}/start", {"Detach": False, "Tty": tty}, tty=tty
            )
        except asyncio.CancelledError:
            # The engine may start the process all the same, and nothing else would ever end it.
            self.end_execution(container_id, exec_id)
            raise
        return DockerSession(self, stream, container_id, exec_id)

    async def attach(self, container_id: str, *, tty: bool, stdin: bool) -> Session:
        """Join the streams of a container's main process; raises RuntimeFailure for one that has ended."""
        del tty  # the engine knows it
        found = await self._json(f"containers/{container_id}/json")
        parameters = f"stream=1&stdout=1&stderr=1&stdin={int(stdin)}"
        path = f"/containers/{container_id}/attach?{parameters}"
        stream = await self._open(path, {}, tty=bool(found["Config"]["Tty"]))
        # The engine also attaches to a container that has ended, and says neither so nor ever anything else. It joins
        # the streams before it answers, and it closes those that are joined before it says that a container does not
        # run: so one that runs now will close this stream. Of one that does not nothing was lost: its log has it all.
        try:
            record = await self.inspect(container_id)
        except BaseException:
            stream.abort()
            raise
        if record is None or not record.is_running:
            stream.abort()
            raise RuntimeFailure("container is in CONTAINER_EXITED state")
        return DockerSession(self, stream, container_id)

    async def _open(self, path: str, body: object, *, tty: bool) -> EngineStream:
        stream = await open_stream(self._socket, path, body, tty=tty)
        self._streams.add(stream)
        return stream

    async def execution_code(self, exec_id: str) -> int:
        """Return the exit code of an exec whose streams have ended."""
        # The streams may end a moment before the engine has noted the code, and no event can be waited for
        # that has not possibly passed already.
        for _ in range(EXIT_CODE_TRIES):
            found = await self._json(f"exec/{exec_id}/json")
            if found["ExitCode"] is not None and not found["Running"]:
                return cast("int", found["ExitCode"])
            await asyncio.sleep(EXIT_CODE_PAUSE_SECONDS)
        raise RuntimeFailure("the exec's exit code did not become known")

    def end_execution(self, container_id: str, exec_id: str) -> None:
        """Kill, in the background, the process of an exec with all it started."""
        work = self._kill_execution(container_id, exec_id)
        self._tasks.start(work, name=f"end of exec {exec_id[:12]}")

    async def _kill_execution(self, container_id: str, exec_id: str) -> None:
        """Kill an exec's processes once the engine says which they are; it has no call of its own for that."""
        try:
            for failures in range(KILL_TRIES):
                found = await self._json(f"exec/{exec_id}/json")
                pid, is_running = found["Pid"], bool(found["Running"])
                if pid:
                    # Also when the process itself has ended: its children may still run.
                    await asyncio.to_thread(kill_session, container_id, pid, is_running=is_running)
                if found["ExitCode"] is not None and not is_running:
                    return
                await asyncio.sleep(backoff_seconds(failures, KILL_FIRST_SECONDS, KILL_MAX_SECONDS))
        except ContainerNotFound:
            return  # all processes have ended with the container
        except (EngineUnavailable, RuntimeFailure) as error:
            log.warning("cannot end exec: %s", error, extra={"container": container_id})
            return
        log.warning("exec does not end", extra={"container": container_id})

    def let_go(self, stream: EngineStream) -> None:
        """Close the streams of an exec or attach; its process keeps running."""
        self._streams.discard(stream)
        stream.close()

    async def resize(self, path: str, width: int, height: int) -> None:
        """Change the size of a terminal; one that has ended is ignored."""
        with suppress(RuntimeFailure):
            await self._json(f"{path}/resize", "POST", params={"w": width, "h": height})

    async def logs(self, container_id: str, query: LogQuery) -> AsyncGenerator[LogEntry, None]:
        """Yield a container's output in order; ends when it does, or at once unless following."""
        found = await self._json(f"containers/{container_id}/json")
        params: dict[str, Any] = {
            "stdout": "true",
            "stderr": "true",
            "timestamps": "true",
            "follow": "true" if query.follow else "false",
            "tail": "all" if query.tail_lines is None else str(query.tail_lines),
        }
        if query.since is not None:
            params["since"] = f"{query.since.timestamp():.9f}"
        path = f"containers/{container_id}/logs"
        async with self._query(path, params=params, timeout=None) as response:
            pieces = response.content.iter_any()
            async for entry in read_log(pieces, tty=bool(found["Config"]["Tty"])):
                yield entry

    async def rotate_log(self, container_id: str) -> None:
        """Do nothing: the engine rotates its files."""
        del container_id

    async def usage(self, record: ContainerRecord) -> Usage | None:
        """Return the usage of a running container; None if it cannot be read, as when the container has just ended."""
        return await engine_host.usage_of(record, self._clock)


class DockerSession:
    """The streams of one exec or attach; `exec_id` is empty for an attach."""

    def __init__(
        self, runtime: DockerRuntime, stream: EngineStream, container_id: str, exec_id: str = ""
    ) -> None:
        self._runtime = runtime
        self._stream = stream
        self._container_id = container_id
        self._exec_id = exec_id

    async def read(self) -> tuple[StreamName, bytes] | None:
        """Return the next output, or None at the end; with a terminal all is stdout."""
        return await self._stream.read()

    async def write(self, data: bytes) -> None:
        """Send input; waits while the process does not read."""
        await self._stream.write(data)

    async def close_stdin(self) -> None:
        """Send end-of-file to the process's standard input."""
        self._stream.close_input()

    async def resize(self, width: int, height: int) -> None:
        """Change the terminal's size, in characters."""
        path = f"exec/{self._exec_id}" if self._exec_id else f"containers/{self._container_id}"
        await self._runtime.resize(path, width, height)

    async def exit_code(self) -> int:
        """Return the exit code once `read` has returned None; 0 for an attach."""
        return await self._runtime.execution_code(self._exec_id) if self._exec_id else 0

    async def close(self) -> None:
        """Close the streams; the process keeps running."""
        self._runtime.let_go(self._stream)

    def kill(self) -> None:
        """Kill the process of an exec with all it started; does nothing for an attach."""
        if self._exec_id:
            self._runtime.end_execution(self._container_id, self._exec_id)


async def _lines(response: "aiohttp.ClientResponse") -> AsyncIterator[bytes]:
    """Split a stream of JSON lines; aiohttp's own reader refuses long ones."""
    async for line in lines_of(response.content.iter_any()):
        yield line


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines that are not blank; each byte is searched once. Raises RuntimeFailure on too long a line."""
    rest = bytearray()
    async for piece in pieces:
        *lines, last = piece.split(b"\n")
        for line in lines:
            rest += line
            if whole := bytes(rest).strip():
                yield whole
            rest.clear()
        rest += last
        if len(rest) > ENGINE_LINE.value:
            ENGINE_LINE.reached()
            raise RuntimeFailure("the engine sent too long a line")
    if whole := bytes(rest).strip():
        yield whole


def _filters(filters: dict[str, list[str]]) -> str:
    return msgspec.json.encode(filters).decode()


def _translated(status: int, message: str) -> Exception:
    if status == CONNECTION_ERROR:
        return EngineUnavailable(message)
    if status == NOT_FOUND:
        return ContainerNotFound(message)
    if status == CONFLICT:
        return _Conflict(message)
    return RuntimeFailure(message)


def _invalid_name(reference: str) -> InvalidImageName:
    return InvalidImageName(
        f'Failed to apply default image tag "{reference}": couldn\'t parse image name '
        f'"{reference}": invalid reference format'
    )


def _pull_failure(reference: str, message: str) -> ImagePullFailed:
    if "invalid reference format" in message:
        return _invalid_name(reference)
    unreachable = ("connection refused", "no such host", "i/o timeout", "network is unreachable")
    if any(sign in message for sign in unreachable):
        return RegistryUnavailable(message)
    return ImagePullFailed(message)
