"""A host whose first process is systemd: namespaces with file systems, control groups and a network of their own.

It has the machine's programs, and none of the services that the machine would start. It ends with the process that made
it, kill -9 included, and nothing of it is left then but its folder.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbed import control_groups
from testbed.leftovers import bed_folder
from testbed.namespaces import START_SECONDS
from testbed.waiting import wait_for

SYSTEMD = Path("/usr/lib/systemd/systemd")
ADDRESS = "192.0.2.10"
BOOTED = ("running", "degraded")

# /var/lib lies outside the overlays, which an engine's cannot be stacked on.
_BOOT = """
set -e
folder=$1 name=$2
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$folder/lib" "$folder/log" "$folder/cache"
mount --bind "$folder/lib" /var/lib
mount --bind "$folder/log" /var/log
mount --bind "$folder/cache" /var/cache
for each in etc opt usr; do
    mkdir -p "$folder/$each" "$folder/work-$each"
    mount -t overlay overlay -o "lowerdir=/$each,upperdir=$folder/$each,workdir=$folder/work-$each" "/$each"
done
for hierarchy in $(awk '$(NF-2) == "cgroup" { print $5 }' /proc/self/mountinfo); do
    controller=${hierarchy##*/}
    [ "$controller" = systemd ] && controller=none,name=systemd
    umount "$hierarchy"
    mount -t cgroup -o "$controller" cgroup "$hierarchy"
done
for hierarchy in $(awk '$(NF-2) == "cgroup2" { print $5 }' /proc/self/mountinfo); do
    umount "$hierarchy"
    mount -t cgroup2 cgroup2 "$hierarchy"
done
rm -rf /etc/systemd/system/*.wants /usr/lib/systemd/system/*.wants
cat >/etc/systemd/system/bed.target <<END
[Unit]
Wants=systemd-journald.service dbus.service
AllowIsolate=yes
END
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nAudit=no\n' >/etc/systemd/journald.conf.d/bed.conf
: >/etc/fstab
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
mount --make-rshared /
printf %s "$name" >/etc/hostname
hostname "$name"
ip link set lo up
ip link add eth0 type veth peer name eth0-far
ip address add {address}/24 dev eth0
ip link set eth0 up
ip link set eth0-far up
ip route add default dev eth0
echo ready
exec env -i container=other PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin {systemd} --unit=bed.target \
    --log-target=null >/dev/null 2>&1
""".replace("{address}", ADDRESS).replace("{systemd}", str(SYSTEMD))

# The kernel ends all that is in the namespaces once their first process is gone.
_HOLD = (
    'for group; do [ "$group" = -- ] && break; echo 0 >"$group/cgroup.procs"; shift; done; shift; \
"$@" </dev/null & child=$!; cat >/dev/null; kill -9 $child'
)


class BootedHost:
    """A host that systemd has booted."""

    def __init__(self, folder: Path, first: subprocess.Popen[bytes], pid: int) -> None:
        self.folder = folder
        self.pid = pid
        self._first = first

    def run(self, *arguments: str, check: bool = True, timeout_seconds: float = 120) -> str:
        """Run a command to its end and return what it printed, errors included."""
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--all", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout_seconds,
            env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments} failed: {done.stdout}")
        return done.stdout

    def put(self, path: str, text: str, mode: str = "644") -> None:
        """Write a file."""
        self.run("sh", "-c", 'printf %s "$1" >"$2"; chmod "$3" "$2"', "", text, path, mode)

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def traces(self) -> dict[str, list[str]]:
        """Return all that a program can leave on a host, by kind."""
        files = "find /etc /opt /usr/local /run /var/lib /var/log /var/cache -xdev -not -type d -o -empty"
        groups = "find /sys/fs/cgroup -mindepth 2 -type d"
        return {
            "files": self._lines(files, but=("/run/systemd/", "/run/log/", "/run/dbus/")),
            "mounts": self._lines("cut -d ' ' -f 5 /proc/1/mountinfo"),
            "links": self._lines("ip -o link show", fields=2),
            "addresses": self._lines("ip -o address show", fields=4, but=("fe80:",)),
            "routes": self._lines("ip route show table all", but=("fe80:",)),
            "rules": self._lines("nft list ruleset"),
            "groups": self._lines(groups, but=("systemd-", "dbus", "journal")),
            "processes": self._lines("ps -e -o args=", but=("ps ", "/lib/systemd", "dbus")),
            "units": self._lines("systemctl list-unit-files --no-legend kubelite*", check=False),
            "failed": self._lines("systemctl list-units --all --no-legend kubelite*", check=False),
        }

    def _lines(
        self, command: str, *, but: Sequence[str] = (), fields: int = 0, check: bool = True
    ) -> list[str]:
        lines = self.run("sh", "-c", command, check=check).splitlines()
        cut = (" ".join(line.split()[:fields]) if fields else line for line in lines)
        return sorted(line for line in cut if not any(part in line for part in but))

    def close(self) -> None:
        """End everything on it."""
        assert self._first.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._first.stdin.close()
        self._first.wait(START_SECONDS)


@contextlib.contextmanager
def booted_host(name: str) -> Iterator[BootedHost]:
    """Give a host that has booted; at the end all that was on it is gone."""
    with bed_folder() as folder:
        groups = [*control_groups.make(f"{folder.name}/{name}"), *_unified_groups(folder.name)]
        first = subprocess.Popen(
            ["sh", "-c", _HOLD, "hold", *map(str, groups), "--", *_unshare(folder, name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
        assert first.stdout is not None
        if first.stdout.readline() != b"ready\n":
            raise AssertionError("cannot make a host")
        first.stdout.close()
        host = BootedHost(folder, first, _only_child(_only_child(first.pid)))
        try:
            wait_for(
                lambda: host.run("systemctl", "is-system-running", check=False).strip() in BOOTED,
                "booted host",
            )
            yield host
        finally:
            host.close()
            for group in groups:
                if group.name == folder.name:
                    _remove_tree(group)


def _unshare(folder: Path, name: str) -> list[str]:
    flags = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
    return [
        "unshare",
        *flags,
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        _BOOT,
        "boot",
        str(folder),
        name,
    ]


def _only_child(pid: int) -> int:
    def children() -> list[str]:
        return [
            pid
            for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if Path(f"/proc/{pid}/comm").read_text() != "cat\n"
        ]

    return int(wait_for(children, "child")[0])


def _unified_groups(name: str) -> list[Path]:
    roots = [control_groups.ROOT, control_groups.ROOT / "unified"]
    made = [root / name for root in roots if (root / "cgroup.controllers").exists()]
    for group in made:
        group.mkdir(exist_ok=True)
    return made


def _remove_tree(group: Path) -> None:
    def is_removed() -> bool:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return not group.exists()

    wait_for(is_removed, f"end of {group}", 10)


def can_boot() -> bool:
    """Return whether this machine has what a booted host needs."""
    return SYSTEMD.exists() and os.geteuid() == 0 and shutil.which("unshare") is not None
