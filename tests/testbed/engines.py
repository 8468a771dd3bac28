"""The container engines of hosts, as their packages would run them, and what a test asks of an engine itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kubelite.node.containerd import has_overlay
from testbed.crio import CrioFolders
from testbed.processes import Process
from testbed.waiting import wait_for

if TYPE_CHECKING:
    from testbed.machine import Machine

CTR = "ctr", "-n", "k8s.io"
ID_LENGTH = 64
PLAIN = "127.0.0.1:5000"  # a registry over plain HTTP, for which Docker and older containerd need no setting
LOOPBACK = f'[[registry]]\nlocation = "{PLAIN}"\ninsecure = true\n'
NAME_LABEL = "io.kubernetes.container.name"
SOCKET = "unix:///var/run/docker.sock"
# The machine's own folders are seen by all hosts where they are not below /etc, /var and /run.
PLUGINS = "/var/lib/cni/bin"
CONTAINERD_CONFIG = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
"""


class Engine(Protocol):
    """An engine of a host."""

    def start(self, machine: "Machine") -> Process:
        """Start it and wait until it answers. Raises AssertionError when it ends instead."""
        ...

    def load(self, machine: "Machine", archive: Path) -> None:
        """Bring in the images of an archive."""
        ...

    def images(self, machine: "Machine") -> list[str]:
        """Return the names with tags of its images."""
        ...

    def push(self, machine: "Machine", name: str) -> bool:
        """Push an image to the registry in its name; return whether it is there now."""
        ...

    def trust(self, machine: "Machine", registry: str, certificate: str) -> None:
        """Have it trust a registry's certificate, in PEM."""
        ...

    def forget(self, machine: "Machine", name: str) -> None:
        """Have an image vanish, as far as the engine lets it go while containers use it."""
        ...

    def running(self, machine: "Machine") -> dict[str, str]:
        """Return the names in their pods of the containers with a process, by id; that of a sandbox is POD."""
        ...

    def left(self, machine: "Machine") -> list[str]:
        """Return the ids of all containers, ended ones too."""
        ...

    def kill(self, machine: "Machine", container: str) -> None:
        """Kill the process of a container, without a word to who runs it."""
        ...


class Docker:
    """Docker's engine, without a network of its own."""

    command = (
        "dockerd",
        "--bridge=none",
        "--iptables=false",
        "--ip-forward=false",
        "--log-level=warn",
    )

    def start(self, machine: "Machine") -> Process:
        """Start it and wait until it answers. Raises AssertionError when it ends instead."""
        process = machine.start("dockerd", *self.command)
        _wait(machine, process, lambda: "200 OK" in self._ping(machine))
        return process

    @staticmethod
    def _ping(machine: "Machine") -> str:
        # A tenth of what the engine's client costs to start.
        line = ("curl", "-si", "-m2", "--unix-socket", "/var/run/docker.sock", "http://_/_ping")
        return machine.run(*line, check=False)

    def load(self, machine: "Machine", archive: Path) -> None:
        """Bring in the images of an archive."""
        machine.docker("load", "-i", str(archive))

    def images(self, machine: "Machine") -> list[str]:
        """Return the names with tags of its images."""
        return machine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()

    def push(self, machine: "Machine", name: str) -> bool:
        """Push an image to the registry in its name; return whether it is there now."""
        return "digest: sha256" in machine.docker("push", name, check=False)

    def trust(self, machine: "Machine", registry: str, certificate: str) -> None:
        """Have it trust a registry's certificate, in PEM."""
        folder = f"/etc/docker/certs.d/{registry}"
        machine.run("mkdir", "-p", folder)
        machine.run("tee", f"{folder}/ca.crt", stdin=certificate)

    def forget(self, machine: "Machine", name: str) -> None:
        """Have an image vanish, as far as the engine lets it go while containers use it."""
        machine.docker("rmi", "-f", name)  # its layers stay as long as a container has them

    def running(self, machine: "Machine") -> dict[str, str]:
        """Return the names in their pods of the containers with a process, by id; that of a sandbox is POD."""
        label = f'{{{{.Label "{NAME_LABEL}"}}}}'
        rows = machine.docker("ps", "--no-trunc", "--format", f"{{{{.ID}}}} {label}").splitlines()
        return {one: name for one, _, name in (row.partition(" ") for row in rows) if name}

    def left(self, machine: "Machine") -> list[str]:
        """Return the ids of all containers, ended ones too."""
        return machine.docker("ps", "-aq").split()

    def kill(self, machine: "Machine", container: str) -> None:
        """Kill the process of a container, without a word to who runs it."""
        machine.docker("kill", container)


class Containerd:
    """containerd by itself, as its package configures it but for the places that hosts would share."""

    def start(self, machine: "Machine") -> Process:
        """Start it and wait until it answers. Raises AssertionError when it ends instead."""
        machine.run("mkdir", "-p", "/etc/containerd/certs.d", PLUGINS)
        machine.run("tee", "/etc/containerd/config.toml", stdin=CONTAINERD_CONFIG)
        plain = f"/etc/containerd/certs.d/{PLAIN}"
        machine.run("mkdir", "-p", plain)
        machine.run("tee", f"{plain}/hosts.toml", stdin=f'server = "http://{PLAIN}"\n')
        process = machine.start("containerd", "containerd", "--log-level=warn")
        _wait(machine, process, lambda: "Server:" in machine.run("ctr", "version", check=False))
        return process

    def load(self, machine: "Machine", archive: Path) -> None:
        """Bring in the images of an archive."""
        self._ctr(machine, "import", str(archive))

    def images(self, machine: "Machine") -> list[str]:
        """Return the names with tags of its images."""
        names = self._ctr(machine, "list", "-q").split()
        return [name for name in names if "@" not in name and not name.startswith("sha256:")]

    def push(self, machine: "Machine", name: str) -> bool:
        """Push an image to the registry in its name; return whether it is there now."""
        said = self._ctr(machine, "push", "--hosts-dir", "/etc/containerd/certs.d", name)
        return "done" in said

    def trust(self, machine: "Machine", registry: str, certificate: str) -> None:
        """Have it trust a registry's certificate, in PEM."""
        folder = f"/etc/containerd/certs.d/{registry}"
        machine.run("mkdir", "-p", folder)
        machine.run("tee", f"{folder}/ca.crt", stdin=certificate)
        hosts = f'server = "https://{registry}"\n[host."https://{registry}"]\n  ca = "{folder}/ca.crt"\n'
        machine.run("tee", f"{folder}/hosts.toml", stdin=hosts)

    def forget(self, machine: "Machine", name: str) -> None:
        """Have an image vanish, as far as the engine lets it go while containers use it."""
        for one in self._ctr(machine, "list", "-q").split():
            if name in one or "pause" not in one:  # also by digest and id
                self._ctr(machine, "rm", one)

    def running(self, machine: "Machine") -> dict[str, str]:
        """Return the names in their pods of the containers with a process, by id; that of a sandbox is POD."""
        tasks = set(machine.run(*CTR, "tasks", "ls", "-q").split())
        names = {}
        for one in tasks.intersection(self.left(machine)):
            info = json.loads(machine.run(*CTR, "containers", "info", one))
            names[one] = info["Labels"].get(NAME_LABEL, "POD")
        return names

    def left(self, machine: "Machine") -> list[str]:
        """Return the ids of all containers, ended ones too."""
        return machine.run(*CTR, "containers", "ls", "-q").split()

    def kill(self, machine: "Machine", container: str) -> None:
        """Kill the process of a container, without a word to who runs it."""
        machine.run(*CTR, "tasks", "kill", "--signal=KILL", container)

    @staticmethod
    def _ctr(machine: "Machine", *arguments: str) -> str:
        return machine.run(*CTR, "images", *arguments, check=False)


class Crio:
    """CRI-O, configured as its package does but for the places that hosts would share."""

    folders = CrioFolders(
        Path("/run/crio"),
        Path("/var/lib/containers/storage"),
        Path(PLUGINS),
        Path("/etc/cni/net.d"),
    )

    def start(self, machine: "Machine") -> Process:
        """Start it and wait until it answers. Raises AssertionError when it ends instead."""
        machine.run("mkdir", "-p", *map(str, self.folders.folders()))
        for path, text in self.folders.files(overlay=has_overlay(machine.folder / "lib")).items():
            machine.run("tee", str(path), stdin=text)
        machine.run("chmod", "755", str(self.folders.runtime))
        machine.run("mkdir", "-p", "/etc/containers/registries.conf.d")
        machine.run("tee", "/etc/containers/registries.conf.d/loopback.conf", stdin=LOOPBACK)
        process = machine.start("crio", *self.folders.arguments(), "--log-level=warn")
        line = ("curl", "-s", "-m2", "--unix-socket", str(self.folders.socket), "http://_/info")
        _wait(machine, process, lambda: "storage_driver" in machine.run(*line, check=False))
        return process

    def load(self, machine: "Machine", archive: Path) -> None:
        """Bring in the images of an archive."""
        self._podman(machine, "load", "--quiet", f"--input={archive}")

    def images(self, machine: "Machine") -> list[str]:
        """Return the names with tags of its images."""
        rows = self._podman(machine, "images", "--format={{.Repository}}:{{.Tag}}").split()
        return [row for row in rows if "<none>" not in row]

    def push(self, machine: "Machine", name: str) -> bool:
        """Push an image to the registry in its name; return whether it is there now."""
        return "Storing signatures" in self._podman(machine, "push", name, check=False)

    def trust(self, machine: "Machine", registry: str, certificate: str) -> None:
        """Have it trust a registry's certificate, in PEM."""
        folder = f"/etc/containers/certs.d/{registry}"
        machine.run("mkdir", "-p", folder)
        machine.run("tee", f"{folder}/ca.crt", stdin=certificate)

    def forget(self, machine: "Machine", name: str) -> None:
        """Have an image vanish, as far as the engine lets it go while containers use it."""
        self._podman(machine, "untag", name)  # its layers stay as long as a container has them

    def running(self, machine: "Machine") -> dict[str, str]:
        """Return the names in their pods of the containers with a process, by id; that of a sandbox is POD."""
        rows = json.loads(self._runc(machine, "list", "--format=json")) or []
        annotations = {row["id"]: row["annotations"] for row in rows if row["status"] == "running"}
        return {one: found.get(NAME_LABEL, "POD") for one, found in annotations.items()}

    def left(self, machine: "Machine") -> list[str]:
        """Return the ids of all containers, ended ones too."""
        names = machine.run("ls", f"{self.folders.root}/overlay-containers", check=False).split()
        return [name for name in names if len(name) == ID_LENGTH]

    def kill(self, machine: "Machine", container: str) -> None:
        """Kill the process of a container, without a word to who runs it."""
        self._runc(machine, "kill", container, "KILL")

    def _runc(self, machine: "Machine", *arguments: str) -> str:
        return machine.run("runc", f"--root={self.folders.runtime_root}", *arguments)

    def _podman(self, machine: "Machine", *arguments: str, check: bool = True) -> str:
        storage = f"--root={self.folders.root}", f"--runroot={self.folders.top / 'runroot'}"
        return machine.run("podman", *storage, *arguments, check=check)


ENGINES: dict[str, Engine] = {"docker": Docker(), "containerd": Containerd(), "crio": Crio()}


def _wait(machine: "Machine", process: Process, is_up: Callable[[], bool]) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{machine.name}: the engine ended: {process.output()[-3000:]}")
        return is_up()

    wait_for(answers, f"engine on {machine.name}", explain=lambda: process.output()[-3000:])
