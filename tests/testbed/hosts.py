"""A whole host for a test: a network namespace with an address, an engine of its own, and a kubelite server in it.

Nothing touches the machine's own namespace, engine or rules; `close` removes everything, also after a failure.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from testbed.waiting import wait_for

SOURCE = Path(__file__).parents[2] / "src"
ADDRESS = "192.0.2.10"


class Host:
    """A network namespace with one address."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.socket = folder / "docker.sock"
        self._engine: subprocess.Popen[bytes] | None = None
        self._logs: list[IO[bytes]] = []
        self.run("ip", "netns", "add", name, inside=False)
        for command in (
            "ip link set lo up",
            "ip link add eth0 type veth peer name eth0-far",
            f"ip address add {ADDRESS}/24 dev eth0",
            "ip link set eth0 up",
            "ip link set eth0-far up",
            "ip route add default dev eth0",
        ):
            self.run(*command.split())

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs `arguments` inside."""
        # Not `ip netns exec`: it mounts /sys anew, and a container engine dies of that.
        return ["nsenter", f"--net=/var/run/netns/{self.name}", *arguments]

    def run(self, *arguments: str, inside: bool = True, check: bool = True) -> str:
        """Run a command to its end and return what it printed."""
        line = self.command(*arguments) if inside else list(arguments)
        done = subprocess.run(
            line,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command inside; its output goes to a file of that name."""
        log = (self.folder / f"{name}.log").open("ab")
        self._logs.append(log)
        return subprocess.Popen(
            self.command(*arguments),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )

    def start_engine(self) -> None:
        """Start a Docker engine whose state is all below the host's folder."""
        self._engine = self.start(
            "dockerd",
            "dockerd",
            f"--data-root={self.folder}/docker",
            f"--exec-root={self.folder}/docker-run",
            f"--pidfile={self.folder}/docker.pid",
            f"--host=unix://{self.socket}",
            "--bridge=none",
            "--iptables=false",
        )
        wait_for(lambda: "Server:" in self.docker("version", check=False), "container engine")

    def stop_engine(self) -> None:
        """Stop the engine; its containers stay."""
        if self._engine is not None:
            stop(self._engine)
            self._engine = None

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run the docker client against this host's engine."""
        return self.run("docker", "-H", f"unix://{self.socket}", *arguments, check=check)

    def close(self) -> None:
        """Remove the containers, the engine, its files and the namespace."""
        if self._engine is not None:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                containers = self.docker("ps", "-aq").split()
                if containers:
                    self.docker("rm", "-f", *containers)
        self.stop_engine()
        for log in self._logs:
            log.close()
        _unmount_below(self.folder)
        self.run("ip", "netns", "delete", self.name, inside=False, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Server:
    """A `kubelite server` process, inside a host or on the machine itself (control plane only)."""

    def __init__(self, host: Host | None, folder: Path, *flags: str, port: int = 6443) -> None:
        self.host = host
        self.folder = folder
        self.port = port
        self.kubeconfig = folder / "admin.yaml"
        self.flags = [
            f"--data-dir={folder}/data",
            f"--container-log-dir={folder}/log",
            f"--write-kubeconfig={self.kubeconfig}",
            f"--https-listen-port={port}",
            *flags,
        ]
        if host is not None:
            self.flags += [f"--docker-socket={host.socket}", f"--node-ip={ADDRESS}"]
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "kubelite.log"

    def start(self, timeout_seconds: float = 60) -> None:
        """Start it and wait until it says that it is ready."""
        self.begin()
        wait_for(self.is_ready, "ready server", timeout_seconds)

    @property
    def pid(self) -> int:
        """The process id of the server itself (nsenter becomes what it starts)."""
        assert self.process is not None
        return self.process.pid

    def begin(self, program: Sequence[str] = (sys.executable, "-m", "kubelite")) -> None:
        """Start it without waiting."""
        line = [*program, "server", *self.flags]
        if self.host is not None:
            line = self.host.command(*line)
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                line,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
            )

    def is_ready(self) -> bool:
        """Tell whether it has said so; raises AssertionError once it has ended."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"server ended: {self.log.read_text()}")
        return "kubelite is ready" in self.log.read_text()

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        assert self.process is not None
        return stop(self.process)

    def kill(self) -> None:
        """Kill it at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kubectl(
        self, *arguments: str, check: bool = True, stdin: str = "", timeout_seconds: float = 120
    ) -> str:
        """Run the stock kubectl as administrator; return what it printed (with its errors if not `check`)."""
        line = ["kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        if self.host is not None:
            line = self.host.command(*line)
        done = subprocess.run(
            line, capture_output=True, text=True, input=stdin, timeout=timeout_seconds
        )
        if check and done.returncode:
            raise AssertionError(
                f"kubectl {' '.join(arguments)} failed: {done.stdout}{done.stderr}"
            )
        return done.stdout if check else done.stdout + done.stderr


def stop(process: subprocess.Popen[bytes], timeout_seconds: float = 20) -> int:
    """End a process politely, then hard; return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def missing_tools(*tools: str) -> Sequence[str]:
    """Return which of these this machine cannot run (`root` counts as one)."""
    missing = [tool for tool in tools if tool != "root" and shutil.which(tool) is None]
    if "root" in tools and os.geteuid() != 0:
        missing.append("root")
    return missing


def _unmount_below(folder: Path) -> None:
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((p for p in mounted if p.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "-l", point], capture_output=True)
