"""A containerd of kubelite's own: its folders, its configuration, and what it leaves on a host.

It shares nothing with another containerd but `/run/containerd/s`, in which the shims of all have their sockets under
names that differ. Its CNI configuration and programs are its own, so the host's are left alone.
"""

import hashlib
import os
import re
import shutil
import signal
import socket
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from kubelite.node import pause_image
from kubelite.node.capabilities import bounding_set
from kubelite.node.cri_socket import cri_answers
from kubelite.node.process_tree import Process, read_processes
from kubelite.node.profiles import apparmor_enabled
from kubelite.node.replaced_file import replace_file
from kubelite.node.volumes.tmpfs import mount_overlay, unmount

CREDENTIALS: Final = struct.Struct("3i")  # pid, uid and gid of a socket's other end
SHIMS: Final = "containerd-shim-"
SHARED: Final = (Path("/run/containerd/s"), Path("/run/containerd"))
RESULTS: Final = (Path("/var/lib/cni/results"), Path("/var/lib/cni"))
CRI: Final = "io.containerd.grpc.v1.cri"
RUNC: Final = "io.containerd.runc.v2"
# Snapshotters and other parts that CRI does not use; each costs memory.
NAMESPACE: Final = "k8s.io"  # in which containerd keeps what CRI makes
_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
UNUSED: Final = (
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)


class Handled(Struct, frozen=True):
    """A low-level runtime that pods can choose by the handler of a RuntimeClass."""

    program: str  # without it on the host there is no such handler
    runtime_type: str = RUNC
    is_binary: bool = False  # whether runc's shim is told to run the program


# Handlers beside runc, as k3s finds them.
HANDLERS: Final[Mapping[str, Handled]] = {
    "crun": Handled("crun", is_binary=True),
    "nvidia": Handled("nvidia-container-runtime", is_binary=True),
    "runsc": Handled("containerd-shim-runsc-v1", "io.containerd.runsc.v1"),
    "kata": Handled("containerd-shim-kata-v2", "io.containerd.kata.v2"),
}


class ContainerdFolders(Struct, frozen=True):
    """A containerd of kubelite's own, as an `EngineProgram`: its folders."""

    top: Path  # all that is persistent
    run: Path  # sockets and the state of what runs; empty after a boot

    @property
    def name(self) -> str:
        """The name of the program."""
        return "containerd"

    @property
    def data(self) -> Path:
        """The folder of images and containers."""
        return self.top / "root"

    @property
    def socket(self) -> Path:
        """The socket of its API."""
        return self.run / "containerd.sock"

    @property
    def log(self) -> Path:
        """The file of its standard output and error."""
        return self.run / "containerd.log"

    @property
    def config(self) -> Path:
        """The configuration, written at each start."""
        return self.top / "config.toml"

    @property
    def programs(self) -> Path:
        """The folder of CNI plugins."""
        return self.top / "cni" / "bin"

    @property
    def networks(self) -> Path:
        """The folder of CNI configurations."""
        return self.top / "cni" / "net.d"

    @property
    def registries(self) -> Path:
        """The folder of the settings of registries, a `hosts.toml` for each."""
        return self.top / "certs.d"

    @property
    def mark(self) -> str:
        """The argument by which a process is known to be this engine."""
        return f"--config={self.config}"

    def arguments(self) -> list[str]:
        """Return how it is started; containers outlive it."""
        return ["containerd", self.mark]

    def prepare(self) -> None:
        """Make its folders and write its configuration. Blocking; raises OSError."""
        self.run.mkdir(mode=0o711, parents=True, exist_ok=True)
        # The roots of containers lie in it, and those with a user namespace are prepared by a user of that.
        self.run.chmod(0o711)
        self.top.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.data, self.programs, self.networks, self.registries):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        text = config_text(
            self,
            handlers={name for name, each in HANDLERS.items() if shutil.which(each.program)},
            may_protect="CAP_SYS_RESOURCE" in bounding_set(),
            has_apparmor=apparmor_enabled(),
            has_overlay=has_overlay(self.data),
        )
        replace_file(self.config, text)

    def started(self, pid: int) -> None:
        """Note the process that was started. Blocking; raises OSError."""
        (self.run / "containerd.pid").write_text(str(pid))

    def pid(self) -> int:
        """Return its process id: that of the socket, else the noted one. Raises OSError, ValueError."""
        try:
            return listener_pid(self.socket)
        except OSError:
            return int((self.run / "containerd.pid").read_text())

    def end_remains(self) -> None:
        """Kill the shims that it has left, and remove their traces. Blocking."""
        for sandbox in end_shims(self):
            remove_marks(self, sandbox)

    async def answers(self) -> bool:
        """Return whether it answers."""
        return await cri_answers(self.socket)


def config_text(
    folders: ContainerdFolders,
    *,
    handlers: set[str],
    may_protect: bool,
    has_apparmor: bool,
    has_overlay: bool,
) -> str:
    """Return the configuration of a containerd of our own, which versions 1.5 and later understand. Pure.

    Args:
        folders: Its folders.
        handlers: Names of HANDLERS that the host has.
        may_protect: Whether processes of the host may get a lower OOM score.
        has_apparmor: Whether the host uses AppArmor.
        has_overlay: Whether layers can be laid over each other in its folder; else each is a copy.
    """
    runtimes = {"runc": _runtime(folders, Handled("runc"))}
    runtimes |= {name: _runtime(folders, HANDLERS[name]) for name in sorted(handlers)}
    cri = {
        "sandbox_image": pause_image.NAME,
        # Without the capability every sandbox would fail, since its score is below that of its engine.
        "restrict_oom_score_adj": not may_protect,
        "disable_apparmor": not has_apparmor,
        "netns_mounts_under_state_dir": True,  # so that a reset finds them
        "containerd": {
            "snapshotter": "overlayfs" if has_overlay else "native",
            "default_runtime_name": "runc",
            "runtimes": runtimes,
        },
        "cni": {
            "bin_dir": str(folders.programs),
            "conf_dir": str(folders.networks),
            "max_conf_num": 1,
        },
        "registry": {"config_path": str(folders.registries)},
    }
    return toml_text(
        {
            "version": 2,
            "root": str(folders.data),
            "state": str(folders.run / "state"),
            "disabled_plugins": list(UNUSED),
            "debug": {"level": "warn"},
            "grpc": {"address": str(folders.socket)},
            "plugins": {CRI: cri, "io.containerd.internal.v1.opt": {"path": f"{folders.top}/opt"}},
        }
    )


def _runtime(folders: ContainerdFolders, handled: Handled) -> Mapping[str, Any]:
    options: dict[str, Any] = {}
    if handled.runtime_type == RUNC:
        options["Root"] = str(folders.run / "runc")
    if handled.is_binary:
        options["BinaryName"] = handled.program
    return {"runtime_type": handled.runtime_type, **({"options": options} if options else {})}


def toml_text(table: Mapping[str, Any], path: str = "") -> str:
    """Encode tables of texts, numbers, booleans and lists of texts as TOML. Pure."""
    lines = [f"[{path}]"] if path else []
    lines += [
        f"{_key(name)} = {_value(value)}"
        for name, value in table.items()
        if not isinstance(value, Mapping)
    ]
    inner = [
        toml_text(value, f"{path}.{_key(name)}" if path else _key(name))
        for name, value in table.items()
        if isinstance(value, Mapping)
    ]
    return "\n".join([*lines, *inner]) + ("" if path else "\n")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return str(value) if isinstance(value, int) else _text(str(value))


def _text(value: str) -> str:
    escaped = "".join(
        character if character.isprintable() and character not in '"\\' else _escape(character)
        for character in value
    )
    return f'"{escaped}"'


def _escape(character: str) -> str:
    return f"\\{character}" if character in '"\\' else f"\\U{ord(character):08x}"


def has_overlay(folder: Path) -> bool:
    """Return whether the file system of a folder can be a layer of an overlay. Blocking; raises OSError."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".overlay-") as name:
        layers = [Path(name) / part for part in ("upper", "lower", "merged")]
        for layer in layers:
            layer.mkdir()
        try:
            mount_overlay(layers[2], [str(layers[0]), str(layers[1])])
        except OSError:
            return False
        unmount(layers[2])
    return True


def listener_pid(path: Path) -> int:
    """Return the process that listens on a UNIX socket. Raises OSError if none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)  # a full queue of a process that hangs is an error, too
        connection.connect(str(path))
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(data)[0])


def end_shims(folders: ContainerdFolders, proc: Path = Path("/proc")) -> list[str]:
    """Kill the shims that this containerd has left, with all processes of their sandboxes; return the sandboxes' ids.

    Blocking. Each sandbox has a shim, so without the engine they hold all that runs.
    """
    processes = read_processes(proc)
    ended = []
    for shim in processes:
        if not (sandbox := _sandbox_of(shim, folders, proc)):
            continue
        ended.append(sandbox)
        for process in (*_below(processes, shim.pid), shim):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    return ended


def _sandbox_of(process: Process, folders: ContainerdFolders, proc: Path) -> str:
    """Return the id of the sandbox that a process is the shim of; empty if it is no shim of this containerd."""
    try:
        words = (proc / str(process.pid) / "cmdline").read_bytes().decode().split("\0")
    except (OSError, ValueError):
        return ""
    if not words[0].rpartition("/")[2].startswith(SHIMS) or str(folders.socket) not in words:
        return ""
    _, _, after = "\0".join(words).partition("\0-id\0")
    return after.partition("\0")[0]


def remove_marks(folders: ContainerdFolders, sandbox: str) -> None:
    """Remove what a sandbox whose shim was killed has outside the engine's folders. Blocking."""
    if not _ID.fullmatch(sandbox):
        return
    name = hashlib.sha256(f"{folders.socket}/{NAMESPACE}/{sandbox}".encode()).hexdigest()
    marks = [SHARED[0] / name, *RESULTS[0].glob(f"*-{sandbox}-*")]
    for mark in marks:
        with suppress(OSError):
            mark.unlink()


def _below(processes: list[Process], parent: int) -> Iterator[Process]:
    """Yield the descendants of a process, each before what it descends from."""
    for process in processes:
        if process.parent == parent:
            yield from _below(processes, process.pid)
            yield process


def remove_traces() -> None:
    """Remove the folders that every containerd makes at fixed places, if they are empty. Blocking."""
    for folder in (*SHARED, *RESULTS):
        with suppress(OSError):
            folder.rmdir()
