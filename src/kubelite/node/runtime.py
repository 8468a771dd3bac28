"""The interface of a container engine, which `docker` and `simulated_runtime` implement.

A pod is a sandbox container that holds the namespaces, and app containers that join them. What runs is recovered from
the labels of the containers, so a `ContainerRecord` says all the node needs to know about one after a restart.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

SANDBOX = "POD"  # the container name of a sandbox, as in upstream's Docker names

Phase = Literal["created", "running", "exited"]
StreamName = Literal["stdout", "stderr"]


class EngineUnavailable(Exception):
    """The container engine does not answer; the operation may be tried again later."""


class RuntimeFailure(Exception):
    """The engine refused an operation; `str()` is its own message."""


class ContainerNotFound(RuntimeFailure):
    """There is no such container."""


class ImagePullFailed(RuntimeFailure):
    """The image could not be pulled."""


class RegistryUnavailable(ImagePullFailed):
    """The image's registry could not be reached."""


class InvalidImageName(ImagePullFailed):
    """The image reference does not parse."""


class ImageInUse(RuntimeFailure):
    """The image cannot be removed because a container, perhaps another owner's, uses it."""


class StartRefused(RuntimeFailure):
    """The container was created but its process could not be started."""


class Version(Struct, frozen=True):
    """Name and version of an engine."""

    name: str  # docker
    version: str


class Image(Struct, frozen=True):
    """An image on the node."""

    id: str
    names: tuple[str, ...] = ()  # tags and digests
    digest: str = ""  # repository@sha256:..., when it came from a registry
    size_bytes: int = 0
    user: str = ""  # the image's USER: "", "name", "uid" or "uid:gid"
    pinned: bool = False  # the node needs it, as that of sandboxes; it is never removed
    volumes: tuple[str, ...] = ()


class Credentials(Struct, frozen=True):
    """A login for one registry."""

    server: str
    username: str = ""
    password: str = ""
    identity_token: str = ""


class Mount(Struct, frozen=True):
    """A host folder or file seen inside a container."""

    source: str
    target: str
    read_only: bool = False
    propagation: str = ""  # rprivate when empty; rslave, rshared
    image: str = ""  # id of the image whose files are shown; `source` is then a folder for the runtime to mount them in
    sub_path: str = ""  # below the image's root
    image_name: str = ""  # of `image`, for engines that ask for it


class HostDevice(Struct, frozen=True):
    """A device file of the host seen inside a container."""

    source: str
    target: str
    permissions: str = "rwm"  # of r(ead), w(rite) and m(ake)


class ContainerLimits(Struct, frozen=True):
    """Resource settings of one container, in the kernel's units."""

    cpu_shares: int = 2
    cpu_quota_us: int = 0  # 0: no limit
    cpu_period_us: int = 100_000
    memory_bytes: int = 0  # 0: no limit
    oom_score_adj: int = 0
    pids: int = 0  # 0: no limit


class Handler(Struct, frozen=True):
    """A way in which an engine runs pods; the one without a name is its default."""

    name: str = ""
    user_namespaces: bool = False


class Profile(Struct, frozen=True):
    """What confines a container: the engine's default profile, one that the node has, or nothing."""

    type: Literal["RuntimeDefault", "Localhost", "Unconfined"] = "RuntimeDefault"
    name: str = ""  # of type Localhost: seccomp: a path below the node's folder; AppArmor: the loaded profile


class IdRange(Struct, frozen=True):
    """The host's user and group ids that stand for those from 0 on in a user namespace."""

    host_id: int
    length: int


class SandboxSpec(Struct, frozen=True):
    """The properties of a pod's sandbox."""

    pod_uid: str
    pod_name: str
    namespace: str
    attempt: int
    hostname: str
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    privileged: bool = (
        False  # whether a container of the pod is; CRI admits none in another sandbox
    )
    sysctls: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    cgroup_parent: str = ""
    handler: str = ""  # one of the engine's handlers; empty: its default
    ids: IdRange | None = (
        None  # of a user namespace of its own, which the handler supports; None: the host's
    )


class ContainerSpec(Struct, frozen=True):
    """The properties of a container. `image` is the id of an image that is present on the node."""

    pod_uid: str
    pod_name: str
    namespace: str
    name: str
    attempt: int
    sandbox_id: str
    image: str
    image_name: str = ""  # as written in the pod
    image_digest: str = ""  # repository@sha256:..., when it came from a registry
    command: tuple[str, ...] = ()  # empty: the image's entry point
    args: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    devices: tuple[HostDevice, ...] = ()
    cdi_devices: tuple[str, ...] = ()  # by their names in the Container Device Interface
    annotations: Mapping[str, str] = {}  # for the engine; those that have none leave them out
    limits: ContainerLimits = ContainerLimits()
    user: str = ""  # empty: the image's user; "uid" or "uid:gid"
    groups: tuple[int, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    read_only_root: bool = False
    seccomp: Profile = Profile()
    apparmor: Profile = Profile()
    selinux: tuple[str, ...] = ()  # "user:U", "role:R", "type:T", "level:L"
    proc_unmasked: bool = False
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = ""
    shared_pid_with: str = ""  # container id whose PID namespace is joined
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    labels: Mapping[str, str] = {}
    cgroup_parent: str = ""
    handler: str = ""  # that of its sandbox
    ids: IdRange | None = None  # those of its sandbox; its mounts are mapped by them too


class ContainerRecord(Struct, frozen=True):
    """One container, or sandbox, as the engine knows it."""

    id: str
    pod_uid: str
    pod_name: str
    namespace: str
    name: str  # SANDBOX for the pod's sandbox
    attempt: int
    phase: Phase
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""  # the engine's reason why it did not start
    image: str = ""  # as written in the pod
    image_id: str = ""  # its digest when it came from a registry
    pid: int = 0  # 0 unless running
    log_path: str = ""  # the engine's file of its output; empty when there is none
    layer_path: str = ""  # the folder of its writable layer; empty when the engine does not tell
    labels: Mapping[str, str] = {}
    engine: str = "docker"  # name of the engine: what comes before :// in the ids of a pod's status

    @property
    def is_sandbox(self) -> bool:
        """Whether it holds a pod's namespaces."""
        return self.name == SANDBOX

    @property
    def is_running(self) -> bool:
        """Whether its process runs."""
        return self.phase == "running"

    @property
    def pod_key(self) -> str:
        """The pod as ``namespace/name``."""
        return f"{self.namespace}/{self.pod_name}"


class RuntimeEvent(Struct, frozen=True):
    """A change of a container; `record` is None when it was removed."""

    container_id: str
    record: ContainerRecord | None


class Resynced(Struct, frozen=True):
    """The event stream starts (again): these are all containers there are."""

    records: tuple[ContainerRecord, ...]


class LogEntry(Struct, frozen=True):
    """A piece of a container's output, up to and including the line's end."""

    timestamp: str  # RFC 3339 with nanoseconds
    stream: StreamName
    data: bytes


class LogQuery(Struct, frozen=True):
    """The part of a log to read."""

    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None


class Usage(Struct, frozen=True):
    """The usage of a container at `at`; counters are since its start."""

    at: datetime
    cpu_core_nanoseconds: int = 0
    memory_usage_bytes: int = 0
    memory_working_set_bytes: int = 0
    memory_rss_bytes: int = 0
    memory_page_faults: int = 0
    memory_major_page_faults: int = 0
    processes: int = 0
    memory_limit_bytes: int = 0  # 0: none
    swap_bytes: int = 0
    moment_seconds: float = 0.0  # when it was read, by a clock that never jumps


class Session(Protocol):
    """The streams of an exec or attach, already started."""

    async def read(self) -> tuple[StreamName, bytes] | None:
        """Return the next output, or None at the end; with a terminal all is stdout."""
        ...

    async def write(self, data: bytes) -> None:
        """Send input; waits while the process does not read."""
        ...

    async def close_stdin(self) -> None:
        """Send end-of-file to the process's standard input."""
        ...

    async def resize(self, width: int, height: int) -> None:
        """Change the terminal's size, in characters."""
        ...

    async def exit_code(self) -> int:
        """Return the exit code once `read` has returned None."""
        ...

    async def close(self) -> None:
        """Close the streams; the process keeps running."""
        ...

    def kill(self) -> None:
        """Kill the process of an exec with all it started, in the background; does nothing for an attach."""
        ...


class ContainerRuntime(Protocol):
    """A container engine. Every call may raise EngineUnavailable, and RuntimeFailure with the engine's words."""

    async def version(self) -> Version:
        """Return name and version of the engine. Raises EngineUnavailable."""
        ...

    async def handlers(self) -> tuple[Handler, ...]:
        """Return the handlers that the engine is configured with, the default one first."""
        ...

    async def images(self) -> list[Image]:
        """Return the images on the node."""
        ...

    async def image(self, reference: str) -> Image | None:
        """Return an image that is on the node by name, digest or id."""
        ...

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        """Fetch an image; raises ImagePullFailed, RegistryUnavailable or InvalidImageName."""
        ...

    async def load(self, archive: Path) -> None:
        """Bring in the images of a `docker save` archive, a regular file that is never held whole; raises OSError."""
        ...

    async def tag(self, image_id: str, name: str) -> None:
        """Give an image that is on the node another name, with a tag; the image that had the name loses it."""
        ...

    async def remove_image(self, image_id: str) -> None:
        """Delete an image with all its names; harmless if there is none. Raises ImageInUse where the engine knows."""
        ...

    async def image_folder(self) -> Path | None:
        """Return the folder that holds images and writable layers; None if this host does not have it."""
        ...

    async def run_sandbox(self, spec: SandboxSpec) -> ContainerRecord:
        """Create and start a sandbox; raises StartRefused if its process cannot be started.

        A RuntimeFailure leaves nothing behind. What a call that was cancelled or cut off leaves, `records` returns, and
        the next call for the same pod and attempt replaces unless it runs.
        """
        ...

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container that is not started yet; return its id. Its sandbox must run.

        What an earlier call for the same container and attempt left is replaced, unless it runs.
        """
        ...

    def reductions(self, spec: ContainerSpec) -> tuple[str, ...]:
        """Return a text for each privilege in a container's spec that this host withholds."""
        ...

    async def start(self, container_id: str) -> ContainerRecord:
        """Start a container that was created; raises StartRefused, and then its record tells why it ended."""
        ...

    async def signal(self, container_id: str, signal: str) -> None:
        """Send a signal to the main process; does nothing when it has ended."""
        ...

    async def remove(self, container_id: str) -> None:
        """Kill and remove a container; harmless if there is none."""
        ...

    async def update(self, container_id: str, limits: ContainerLimits) -> None:
        """Change a running container's resources in place."""
        ...

    async def limit_pod(
        self, sandbox: ContainerRecord, limits: ContainerLimits, class_shares: int
    ) -> None:
        """Limit all containers of a running sandbox together, and weigh its QoS class; 0 leaves that as it is."""
        ...

    async def records(self) -> list[ContainerRecord]:
        """Return all containers and sandboxes that this node made."""
        ...

    async def inspect(self, container_id: str) -> ContainerRecord | None:
        """Return a container's record; None if there is none, or it is another owner's."""
        ...

    def events(self) -> AsyncGenerator[RuntimeEvent | Resynced, None]:
        """Yield `Resynced` first and then every change. Ends or raises EngineUnavailable when the connection ends."""
        ...

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Session:
        """Start a process inside a running container."""
        ...

    async def attach(self, container_id: str, *, tty: bool, stdin: bool) -> Session:
        """Join the streams of a container's main process."""
        ...

    def logs(self, container_id: str, query: LogQuery) -> AsyncGenerator[LogEntry, None]:
        """Yield a container's output in order; ends when it does, or at once unless following."""
        ...

    async def rotate_log(self, container_id: str) -> None:
        """Go on with a running container's output in a new file at its `log_path`, from where the old one was renamed.

        Does nothing where the engine rotates its files itself.
        """
        ...

    async def usage(self, record: ContainerRecord) -> Usage | None:
        """Return the usage of a running container; None if it cannot be read, as when the container has just ended."""
        ...

    async def close(self) -> None:
        """Let go of the engine's connection; containers go on."""
        ...
