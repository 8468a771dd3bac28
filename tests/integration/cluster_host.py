"""The command `kubelite cluster` as a user has it, and what a machine has before and after."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from testbed.hosts import SOURCE, missing_tools
from testbed.waiting import wait_for

MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip", "unshare", "mount", "curl")
EXAMPLES = Path(__file__).parents[2] / "examples"
HELLO = EXAMPLES / "hello"
# What other tests of this machine come and go with, and what the kernel makes once and keeps.
OF_OTHERS = re.compile(
    r"kubelite-bed-|/unified/kubelite|^/sys/fs/cgroup/[a-z]*/kubelite(/|$)|/process_api/"
)
SETTINGS = ("ip ", "nft ", "ip_forward")
FILES = (
    "/etc",
    "/etc/docker",
    "/etc/cni",
    "/opt",
    "/opt/containerd",
    "/var/lib",
    "/run",
    "/var/lib/cni",
)


class Command:
    """`kubelite cluster` over a folder of its own."""

    def __init__(self, folder: Path, *before: str) -> None:
        """`before` is what the command is run by, as `unshare --user`."""
        self.folder = folder
        self._before = before
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.environment = {**kept, "HOME": str(folder.parent), "PYTHONPATH": str(SOURCE)}

    def line(self, *arguments: str) -> list[str]:
        """Return the command line."""
        program = (sys.executable, "-m", "kubelite", "cluster", "--clusters-dir", str(self.folder))
        return [*self._before, *program, *arguments]

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Run it; return what it printed, with its errors if not `check`."""
        done = subprocess.run(
            self.line(*arguments),
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"cluster {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def begin(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start it without waiting."""
        return subprocess.Popen(
            self.line(*arguments),
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def rows(self) -> dict[str, str]:
        """Return the status of each cluster."""
        rows = [line.split() for line in self("list").splitlines()[1:]]
        return {row[0]: row[1] for row in rows}

    def kubectl(self, cluster: str, *arguments: str, check: bool = True, stdin: str = "") -> str:
        """Run the stock kubectl against a cluster."""
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={self.folder}/{cluster}/kubeconfig.yaml", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            input=stdin,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def processes(self) -> dict[int, str]:
        """Return the processes that have a path of this folder among their arguments, and their command lines."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                text = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue
            if str(self.folder) + "/" in text:
                found[int(entry.name)] = text
        return found


def ask(url: str, wanted: str = "", seconds: float = 30) -> str:
    """Ask a web server until it answers with `wanted` in it."""

    def look() -> str:
        done = subprocess.run(
            ["curl", "-sf", "-m", "2", url], capture_output=True, text=True, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 and wanted in done.stdout else ""

    return wait_for(look, f"answer of {url}", seconds)


def machine_state() -> set[str]:
    """Return what the machine has: links, addresses, routes, rules, control groups, mounts, loop devices, files."""
    lines: list[str] = []
    commands: Sequence[Sequence[str]] = (
        ("ip", "-br", "link"),
        ("ip", "-br", "address"),
        ("ip", "route"),
        ("nft", "list", "ruleset"),
        ("losetup", "-l", "-n", "-O", "NAME,BACK-FILE"),
    )
    for command in commands:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
        lines += (f"{' '.join(command)}: {line.strip()}" for line in said.splitlines())
    lines.append("ip_forward " + Path("/proc/sys/net/ipv4/ip_forward").read_text())
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    lines += ("mount " + line.split(maxsplit=3)[3] for line in mounts)
    lines += (str(path) for path in Path("/sys/fs/cgroup").rglob("*") if path.is_dir())
    for folder in map(Path, FILES):
        if folder.is_dir():
            lines += map(str, folder.iterdir())
    return {line for line in lines if not OF_OTHERS.search(line)}


def difference(before: set[str]) -> list[str]:
    """Return what the machine has that it had not, and what of its settings is gone."""
    after = machine_state()
    gone = (line for line in before - after if line.startswith(SETTINGS))
    return sorted(after - before) + [f"gone: {line}" for line in sorted(gone)]
