"""One host of a bed with a server whose kubelite can be killed at any call, and what a test finds of pods there."""

import json
import sys
from pathlib import Path
from typing import Any

from testbed.bed import Bed
from testbed.cluster import Cluster
from testbed.machine import Kubelite, Machine
from testbed.waiting import wait_for

IMAGE = "kubelite.local/hello:1"
CRASHING = Path(__file__).parents[1] / "testbed" / "crashing.py"
KILLED = -9, 137
Object = dict[str, Any]


class MortalKubelite(Kubelite):
    """A kubelite that kills itself at a call."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.file = machine.folder / "crash"

    def program(self, *arguments: str) -> tuple[str, ...]:  # type: ignore[override]  # it needs to know its file
        if arguments[0] not in ("server", "agent"):
            return super().program(*arguments)
        return sys.executable, str(CRASHING), str(self.file), *arguments

    def die_at(self, call: str) -> None:
        """Kill it at a call, such as "runtime.start before"."""
        self.file.write_text(call)

    def until_dead(self, timeout_seconds: float = 30) -> None:
        """Wait until it has killed itself. Raises AssertionError for another end."""
        what = f"end of kubelite by {self.file.read_text() if self.file.exists() else 'a call'}"
        code = wait_for(self._running.poll, what, timeout_seconds, lambda: self.log()[-3000:])
        assert code in KILLED, code


class TroubleHost:
    """A server on one host, and what there is of its pods."""

    def __init__(self, bed: Bed, engine: str, *flags: str, mortal: bool = True) -> None:
        """Start the server; one that is not `mortal` is the kubelite that the host has."""
        self.bed = bed
        self.engine = engine
        self.api = "docker" if engine == "docker" else "cri"
        self.host = bed["alpha"]
        self.kubelite = MortalKubelite(self.host)
        if mortal:
            self.host.kubelite = self.kubelite
        self.cluster = Cluster(bed, "alpha", *flags)

    def kubectl(self, *arguments: str, check: bool = True, stdin: str = "") -> str:
        return self.cluster.kubectl(*arguments, check=check, stdin=stdin)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def pod(self, name: str) -> Object:
        found: Object = self.get("pod", name)
        return found

    def restart(self) -> None:
        """Start kubelite again after its death."""
        self.kubelite.begin()
        self.kubelite.until_ready()

    def until_ready(self, *names: str, seconds: int = 60) -> None:
        self.kubectl(
            "wait", "--for=condition=Ready", f"--timeout={seconds}s", *(f"pod/{n}" for n in names)
        )

    def until_gone(self, *names: str, seconds: int = 60) -> None:
        self.kubectl("wait", "--for=delete", f"--timeout={seconds}s", *(f"pod/{n}" for n in names))

    # What the host has of pods

    def containers(self) -> dict[str, int]:
        """Return how many processes of containers run, by container name; sandboxes are POD."""
        names = list(self.host.engine_kind.running(self.host).values())
        return {name: names.count(name) for name in sorted(set(names))}

    def left_containers(self) -> list[str]:
        """Return all containers, ended ones too."""
        return self.host.engine_kind.left(self.host)

    def links(self) -> list[str]:
        """Return the links of pods."""
        rows = self.host.run("ip", "-br", "link", "show", "type", "veth").splitlines()
        return [row.split("@")[0] for row in rows if row.startswith("kl")]

    def mounts(self, uid: str) -> list[str]:
        """Return the mount points of a pod's volumes."""
        rows = self.host.run("cat", "/proc/self/mountinfo").splitlines()
        return sorted(row.split()[4] for row in rows if f"/pods/{uid}/" in row)

    def rules_with(self, address: str) -> list[str]:
        """Return the lines of the packet filter that hold an address."""
        rules = self.host.run("nft", "list", "ruleset")
        return [row for row in rules.splitlines() if address in row.replace(",", " ").split()]

    def pod_folders(self) -> list[str]:
        """Return the folders of pods in the data folder."""
        return self.host.run("ls", "/var/lib/kubelite/agent/pods").split()


def spec(name: str, *, script: str = "", **fields: Any) -> Object:
    """Return a pod with a volume in memory."""
    app: Object = {
        "name": "app",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
    }
    if script:
        app["command"] = ["/bin/sh", "-c", script]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [app],
            "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
            **fields,
        },
    }
