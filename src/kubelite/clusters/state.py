"""The files of clusters: one folder each, its plan, the processes it has, and locks that a killed command lets go.

CLUSTERS/.lock            held while a name, a network or ports are chosen
CLUSTERS/NAME/lock        held while a command works on the cluster
CLUSTERS/NAME/cluster.json, kubeconfig.yaml, ports.log
CLUSTERS/NAME/NODE/       state of a node: data/, kubelite.log, process.json
"""

import contextlib
import errno
import fcntl
import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from kubelite.api.auth.secret_files import write_file
from kubelite.clusters.plan import NAME, SERVER, Plan
from kubelite.own_programs import own_program

PLAN_FILE = "cluster.json"
PROCESS_FILE = "process.json"
PLAN_BYTES_MAX = 1 << 20
# The module that a process runs is an argument of its own, or named in the line of code of a zip application.
PROGRAMS = ("kubelite", "kubelite.clusters.forward_program")
MARKS = frozenset(os.fsencode(own_program(one)[-1]) for one in PROGRAMS)
STARTED = (
    19  # of the fields of /proc/PID/stat after the name: when it began, in ticks since the boot
)


class Process(Struct, frozen=True):
    """A process that cannot be taken for another one: its number, when it began, and in which life of the machine."""

    pid: int
    started: str
    boot: str


class Folders(Struct, frozen=True):
    """The folder of all clusters."""

    top: Path

    def cluster(self, name: str) -> "Folder":
        """Return the folder of a cluster, which need not exist."""
        return Folder(self.top / name)

    def all(self) -> list["Folder"]:
        """Return the folders of clusters by name, also of those whose making was cut off."""
        if not self.top.is_dir():
            return []
        found = sorted(path for path in self.top.iterdir() if NAME.fullmatch(path.name))
        return [Folder(path) for path in found if path.is_dir() and not path.is_symlink()]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock on what clusters share; waits for it. The folder goes with the last cluster. Raises OSError."""
        lock = self.top / ".lock"
        while True:
            self.top.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError), _lock(lock, wait=True) as held:
                if not held:
                    continue
                try:
                    yield
                finally:
                    if [path.name for path in self.top.iterdir()] == [lock.name]:
                        lock.unlink()
                        self.top.rmdir()
                return


class Folder(Struct, frozen=True):
    """The folder of one cluster."""

    path: Path

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.path.name

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig to use on the machine."""
        return self.path / "kubeconfig.yaml"

    def node(self, short: str = SERVER) -> Path:
        """Return the folder of a node, or of the server without one."""
        return self.path / short

    def log(self, short: str = SERVER) -> Path:
        """Return the file of what a node's processes say."""
        return self.node(short) / "kubelite.log"

    def read(self) -> Plan | None:
        """Return the plan; None if there is none, as after a cut-off making or removal."""
        try:
            with (self.path / PLAN_FILE).open("rb") as file:
                return msgspec.json.decode(file.read(PLAN_BYTES_MAX), type=Plan)
        except (OSError, ValueError):
            return None

    def write(self, plan: Plan) -> None:
        """Write the plan, so that it is there as a whole or not at all. Raises OSError."""
        write_file(self.path / PLAN_FILE, msgspec.json.encode(plan), mode=0o600)

    @contextlib.contextmanager
    def locked(self, *, wait: bool = True) -> Iterator[None]:
        """Hold the cluster against other commands. Raises BlockingIOError if not `wait`, OSError."""
        with _lock(self.path / "lock", wait=wait) as held:
            if not held:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
            yield

    def note(self, short: str, process: Process | None) -> None:
        """Note the process of a node, the server or the ports; None: it has none any more. Raises OSError."""
        file = self.node(short) / PROCESS_FILE
        if process is None:
            file.unlink(missing_ok=True)
        else:
            write_file(file, msgspec.json.encode(process), mode=0o600)

    def process(self, short: str = SERVER) -> Process | None:
        """Return the noted process if it lives."""
        try:
            found = msgspec.json.decode(
                (self.node(short) / PROCESS_FILE).read_bytes(), type=Process
            )
        except (OSError, ValueError):
            return None
        return found if is_alive(found) else None


@contextlib.contextmanager
def _lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock; yield whether the file is still there, which another holder may have removed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
    finally:
        os.close(descriptor)


def boot_id() -> str:
    """Return which life of the machine this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def process_of(pid: int) -> Process | None:
    """Return a process by its number; None if there is none, or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else Process(pid, fields[STARTED], boot_id())


def is_alive(process: Process) -> bool:
    """Return whether it is still this process that has the number."""
    return process_of(process.pid) == process


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process; nothing happens when it has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if is_alive(process):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def wait_for_end(process: Process, timeout_seconds: float) -> bool:
    """Wait until a process, which need not be a child, has ended; False after the time-out. Blocks."""
    import select

    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return True
    try:
        return not is_alive(process) or bool(
            select.select([descriptor], [], [], timeout_seconds)[0]
        )
    finally:
        os.close(descriptor)


def end(process: Process, grace_seconds: float) -> None:
    """Ask a process to end, and kill it after a while; without grace at once. Blocks."""
    if grace_seconds:
        send(process, signal.SIGTERM)
        if wait_for_end(process, grace_seconds):
            return
    send(process, signal.SIGKILL)
    wait_for_end(process, 10.0)


def marked(paths: Collection[str]) -> list[Process]:
    """Return the processes of kubelite that were started with one of these paths of one cluster as an argument."""
    marks, found = {os.fsencode(path) for path in paths}, []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                arguments = set(Path(entry.path, "cmdline").read_bytes().split(b"\0"))
                if marks & arguments and MARKS & arguments:
                    found.append(process_of(int(entry.name)))
    return [process for process in found if process is not None]
