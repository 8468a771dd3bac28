"""A bed: the hosts of a topology with their engines, and the network between them; gone with the process that made it.

    with Bed(one_link("alpha", "beta")) as bed:
        bed["alpha"].start_server()
        bed.fabric.cut("alpha", "beta")

Needs root, dockerd, nft, ip and /bin/busybox. Nothing of the machine is touched: not its network, engine or files.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.fabric import Fabric
from testbed.hosts import missing_tools
from testbed.leftovers import bed_folder
from testbed.machine import Machine
from testbed.topology import Topology

HELLO = Path(__file__).parents[2] / "examples" / "hello" / "image.py"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip", "unshare", "nsenter", "curl")
NOTE_CHARACTERS = 3000
TRAFFIC = "traffic"
LIVE: list["Bed"] = []  # for those who report failures


class Bed:
    """The running hosts, by name; a context manager."""

    def __init__(self, topology: Topology, *, engines: bool = True, engine: str = "docker") -> None:
        """`engine` is one of `engines.ENGINES`; without `engines` none is started."""
        self.topology = topology
        self._engines = engines
        self._engine = engine
        self._stack = contextlib.ExitStack()
        self._machines: dict[str, Machine] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(bed_folder())
            self.fabric = Fabric(self.topology)
            stack.callback(self.fabric.close)
            archive = self.folder / "hello.tar"
            image = None
            if self._engines:
                image = subprocess.Popen([sys.executable, str(HELLO), str(archive)])
            for plan in self.topology.hosts:
                address = self.topology.address(plan.name)
                machine = Machine(plan.name, self.folder, self.fabric, address, self._engine)
                stack.callback(machine.power_off)
                machine.power_on(str(self.topology.link(plan.link).router.ip))
                self._machines[plan.name] = machine
            if image is not None:
                self._start_engines()
                assert image.wait() == 0, "cannot make the image"
                self._provide(archive)
            stack.callback(LIVE.remove, self)
            LIVE.append(self)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:  # a fixture's failure, after which no log would be left to read
            for name, text in self.logs().items():
                error.add_note(f"--- log of {name}\n{text[-NOTE_CHARACTERS:]}")
        self._stack.close()

    def __getitem__(self, name: str) -> Machine:
        return self._machines[name]

    def __iter__(self) -> Iterator[Machine]:
        return iter(self._machines.values())

    def logs(self) -> dict[str, str]:
        """Return what the processes of each host have written, by `host/process`; not the requests of traffic."""
        return {
            f"{machine.name}/{log.stem}": log.read_text(errors="replace")
            for machine in self
            for log in sorted(machine.logs.glob("*.log"))
            if not log.stem.startswith(TRAFFIC)
        }

    def _start_engines(self) -> None:
        with ThreadPoolExecutor(len(self._machines)) as pool:
            for started in [pool.submit(machine.start_engine) for machine in self]:
                started.result()

    def _provide(self, archive: Path) -> None:
        """Have the example's image where kubelite loads images from when it starts."""
        for machine in self:
            machine.images.mkdir(parents=True)
            (machine.images / archive.name).hardlink_to(archive)
