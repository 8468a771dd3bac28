"""The container engines of hosts, as their packages would run them, and what a test asks of an engine itself."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from testbed.processes import Process
from testbed.waiting import wait_for

if TYPE_CHECKING:
    from testbed.machine import Machine

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


class Containerd:
    """containerd by itself, as its package configures it but for the places that hosts would share."""

    def start(self, machine: "Machine") -> Process:
        """Start it and wait until it answers. Raises AssertionError when it ends instead."""
        machine.run("mkdir", "-p", "/etc/containerd/certs.d", PLUGINS)
        machine.run("tee", "/etc/containerd/config.toml", stdin=CONTAINERD_CONFIG)
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

    @staticmethod
    def _ctr(machine: "Machine", *arguments: str) -> str:
        return machine.run("ctr", "-n", "k8s.io", "images", *arguments, check=False)


ENGINES: dict[str, Engine] = {"docker": Docker(), "containerd": Containerd()}


def _wait(machine: "Machine", process: Process, is_up: Callable[[], bool]) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{machine.name}: the engine ended: {process.output()[-3000:]}")
        return is_up()

    wait_for(answers, f"engine on {machine.name}", explain=lambda: process.output()[-3000:])
