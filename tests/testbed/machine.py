"""A host of a bed: its own file system, processes, network, control groups and host name; an engine; kubelite.

As on a real host everything has its default: the engine listens at /var/run/docker.sock, kubelite's state is below
/var/lib/kubelite, the administrator's kubeconfig in /etc/kubelite. All of it lies in the host's folder on the machine.
"""

import json
import os
import re
import subprocess
import sys
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from testbed import control_groups
from testbed.engines import ENGINES, SOCKET
from testbed.fabric import Fabric
from testbed.namespaces import Namespaces, whole_host
from testbed.processes import Process
from testbed.waiting import wait_for

SOURCE = Path(__file__).parents[2] / "src"
RUN_SECONDS = 120.0
# What a server and an agent say once they serve; an agent that has joined before starts without its server.
READY = re.compile(r"kubelite is ready|kubelite agent (joined|started)")
# A process joins the host's control groups before it becomes what is to run.
JOIN = 'for each in /sys/fs/cgroup/*/cgroup.procs; do echo 0 2>/dev/null >"$each"; done; exec "$@"'


class Machine:
    """One host. Blocking; not to be used by two threads at once."""

    def __init__(
        self, name: str, bed: Path, fabric: Fabric, address: IPv4Interface, engine: str = "docker"
    ) -> None:
        """`engine` is one of `engines.ENGINES`."""
        self.name = name
        self.engine_kind = ENGINES[engine]
        self.folder = bed / name
        self.group = f"{bed.name}/{name}"
        self.logs = self.folder / "logs"
        self.interface = address
        self._router = ""
        self._fabric = fabric
        self._namespaces: Namespaces | None = None
        self._processes: list[Process] = []
        self.engine: Process | None = None
        self.kubelite = Kubelite(self)

    @property
    def address(self) -> str:
        """Its address on its link."""
        return str(self.interface.ip)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, if a server runs here, as a path on the machine."""
        return self.folder / "etc" / "kubelite" / "kubelite.yaml"

    @property
    def images(self) -> Path:
        """The folder from which kubelite loads images."""
        return self.folder / "lib" / "kubelite" / "agent" / "images"

    def power_on(self, router: str = "") -> None:
        """Start it, with what is on its disk, and connect it; `router` is remembered for the next time."""
        self._router = router or self._router
        for folder in (self.logs, self.folder / "home"):
            folder.mkdir(parents=True, exist_ok=True)
        groups = control_groups.make(self.group)
        self._namespaces = whole_host(self.name, self.folder, groups)
        self._fabric.connect(self.name, self._namespaces)
        self.run("ip", "link", "set", "eth0", "up")
        self._take_address()

    def power_off(self) -> None:
        """Pull the plug: all its processes end at once, containers too; the disk stays.

        Its link goes first, or the kernel would close the connections of the processes that it kills, and others
        would hear of it.
        """
        if self._namespaces is not None:
            try:
                self._fabric.unplug(self.name)
            finally:
                self._namespaces.close()
                self._namespaces = None
        for process in self._processes:
            process.wait()
        self._processes.clear()
        self.engine = self.kubelite.process = None
        control_groups.remove(self.group)

    def move(self, address: IPv4Interface, router: str = "") -> None:
        """Change its address: the new one is there before the old one goes, as after a renewed lease."""
        former, self.interface = self.interface, address
        self._router = router or self._router
        self._take_address()
        self.run("ip", "address", "del", str(former), "dev", "eth0")
        # The kernel takes the addresses of one range away together, and then the routes.
        self._take_address()

    def _take_address(self) -> None:
        self.run("ip", "address", "replace", str(self.interface), "dev", "eth0")
        self.run("ip", "route", "replace", "default", "via", self._router, "src", self.address)

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "HOME": str(self.folder / "home"), "PYTHONPATH": str(SOURCE)}

    def command(self, *arguments: str, only_network: bool = False) -> list[str]:
        """Return the command line that runs `arguments` on it; `only_network`: with the machine's own files."""
        assert self._namespaces is not None, f"{self.name} is off"
        return self._namespaces.command(*arguments, only_network=only_network)

    @property
    def pid(self) -> int:
        """Its first process, by which its namespaces are found."""
        assert self._namespaces is not None, f"{self.name} is off"
        return self._namespaces.pid

    def run(
        self,
        *arguments: str,
        check: bool = True,
        stdin: str = "",
        timeout_seconds: float = RUN_SECONDS,
        only_network: bool = False,
    ) -> str:
        """Run a command to its end; return its output, with its errors if not `check`. Raises AssertionError."""
        done = subprocess.run(
            self.command(*arguments, only_network=only_network),
            capture_output=True,
            text=True,
            input=stdin,
            timeout=timeout_seconds,
            env=self.environment(),
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{self.name}: {' '.join(arguments)} failed: {said}")
        return done.stdout if check else done.stdout + done.stderr

    def start(self, name: str, *arguments: str) -> Process:
        """Start a command in the host's control groups; its output is kept as `name`.log."""
        line = self.command("sh", "-c", JOIN, name, *arguments)
        process = Process(line, self.logs / f"{name}.log", self.environment(), forks=True)
        self._processes.append(process)
        return process

    def start_engine(self) -> None:
        """Start the container engine and wait until it answers. Raises AssertionError when it ends instead."""
        self.engine = self.engine_kind.start(self)

    def stop_engine(self) -> int:
        """Stop the engine with its containers; return its exit code."""
        assert self.engine is not None
        code, self.engine = self.engine.stop(), None
        return code

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run the engine's client."""
        return self.run("docker", "-H", SOCKET, *arguments, check=check).strip()

    def start_server(self, *flags: str) -> "Kubelite":
        """Start `kubelite server` and wait until it is ready."""
        return self.kubelite.start("server", *flags)

    def start_agent(self, *flags: str) -> "Kubelite":
        """Start `kubelite agent` and wait until it is ready."""
        return self.kubelite.start("agent", *flags)

    def sandbox_pid(self, pod_uid: str) -> int:
        """Return the number, on the host, of the process that holds a pod's namespaces."""
        labels = f"label=io.kubernetes.pod.uid={pod_uid}", "label=io.kubernetes.container.name=POD"
        filters = [part for label in labels for part in ("--filter", label)]
        [container] = self.docker("ps", "-q", *filters).split()
        return int(self.docker("inspect", "-f", "{{.State.Pid}}", container))

    def containers(self) -> dict[str, str]:
        """Return the state of every container of the engine, by id."""
        rows = self.docker("ps", "-a", "--no-trunc", "--format", "{{json .}}").splitlines()
        found: list[dict[str, Any]] = [json.loads(row) for row in rows]
        return {row["ID"]: row["State"] for row in found}

    def memory_megabytes(self) -> float:
        """Return what all its processes hold."""
        return control_groups.memory_bytes(self.group) / 1e6


class Kubelite:
    """The kubelite process of a host; the next one is started with the same flags unless others are given."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._arguments: tuple[str, ...] = ()
        self._read_from = 0
        self.process: Process | None = None

    @staticmethod
    def program(*arguments: str) -> tuple[str, ...]:
        """Return the command line of a kubelite command."""
        return sys.executable, "-m", "kubelite", *arguments

    def start(self, *arguments: str) -> "Kubelite":
        """Start it and wait until it says that it is ready. Raises AssertionError when it ends instead."""
        self.begin(*arguments)
        self.until_ready()
        return self

    def begin(self, *arguments: str) -> None:
        """Start it without waiting."""
        assert self.process is None or self.process.poll() is not None, "it runs"
        self._arguments = arguments or self._arguments
        log = self._machine.logs / "kubelite.log"
        self._read_from = log.stat().st_size if log.exists() else 0
        self.process = self._machine.start("kubelite", *self.program(*self._arguments))

    def until_ready(self, timeout_seconds: float = 60) -> None:
        """Wait until it says that it is ready."""
        what = f"ready kubelite on {self._machine.name}"
        wait_for(self.is_ready, what, timeout_seconds, lambda: self.log()[-3000:])

    def is_ready(self) -> bool:
        """Return whether it has said so; raises AssertionError once it has ended."""
        if self._running.poll() is not None:
            raise AssertionError(f"kubelite on {self._machine.name} ended: {self.log()[-5000:]}")
        return READY.search(self.log()) is not None

    def log(self) -> str:
        """Return what it has written since it was started."""
        return self._running.log.read_bytes()[self._read_from :].decode(errors="replace")

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        return self._running.stop()

    def kill(self) -> None:
        """Kill it at once."""
        self._running.kill()

    def restart(self, *arguments: str) -> None:
        """Stop it, expect a clean end, and start it again."""
        code = self.stop()
        assert code == 0, f"kubelite on {self._machine.name} ended with {code}"
        self.start(*arguments)

    @property
    def _running(self) -> Process:
        assert self.process is not None, f"kubelite was not started on {self._machine.name}"
        return self.process
