"""A set of namespaces that lives exactly as long as the process that made it, and takes all it contains with it.

The first process of a set reads from a pipe that only the maker holds. The maker's end, kill -9 included, closes
the pipe, so the first process ends, and with it the kernel kills every process of its set, unmounts what was
mounted in it and removes its links.
"""

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

START_SECONDS = 20.0

# Reaps what ends in it while it waits for the end of the pipe.
ONLY_NETWORK = "ip link set lo up; echo ready; cat >/dev/null"

# A host's own view of the machine: what it writes to /etc and /var stays in its folder, /run begins empty, and
# what it mounts is seen by nobody else. The folders of engines lie outside the overlays, which cannot be stacked.
WHOLE_HOST = """
set -e
folder=$1 name=$2
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
for each in etc var; do
    mkdir -p "$folder/$each" "$folder/work-$each"
    mount -t overlay overlay -o "lowerdir=/$each,upperdir=$folder/$each,workdir=$folder/work-$each" "/$each"
done
for each in docker containerd containers kubelite; do
    mkdir -p "$folder/lib/$each" "/var/lib/$each"
    mount --bind "$folder/lib/$each" "/var/lib/$each"
done
for hierarchy in $(awk '$(NF-2) == "cgroup" { print $5 }' /proc/self/mountinfo); do
    controller=${hierarchy##*/}
    [ "$controller" = systemd ] && controller=none,name=systemd
    umount "$hierarchy"
    mount -t cgroup -o "$controller" cgroup "$hierarchy"
done
mount --make-rshared /
hostname "$name"
[ -s "$folder/etc/machine-id" ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
ip link set lo up
echo ready
cat >/dev/null
"""


class Namespaces:
    """A running set of namespaces; `flags` are those of `nsenter`, which enter it."""

    def __init__(self, first: subprocess.Popen[bytes], pid: int, flags: Sequence[str]) -> None:
        self.pid = pid
        self._first = first
        self._flags = flags

    def command(self, *arguments: str, only_network: bool = False) -> list[str]:
        """Return the command line that runs `arguments` inside."""
        flags = ("--net",) if only_network else self._flags
        return ["nsenter", f"--target={self.pid}", *flags, *arguments]

    def close(self) -> None:
        """End it with all processes in it; harmless when it has ended."""
        assert self._first.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._first.stdin.close()
        try:
            self._first.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self._first.kill()
            self._first.wait()


def network_alone() -> Namespaces:
    """Start a set that is a network namespace only."""
    first = _start(["unshare", "--net", "sh", "-c", ONLY_NETWORK], ())
    return Namespaces(first, first.pid, ("--net",))


def whole_host(name: str, folder: Path, groups: Sequence[Path]) -> Namespaces:
    """Start a set that is a host with a file system of its own below `folder`, in the control groups `groups`."""
    flags = ["--mount", "--uts", "--net", "--pid", *(["--cgroup"] if groups else [])]
    program = ["sh", "-c", WHOLE_HOST, "host", str(folder), name]
    first = _start(["unshare", *flags, "--fork", "--kill-child", *program], groups)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
    return Namespaces(first, int(children.read_text().split()[0]), flags)


def _start(line: Sequence[str], groups: Sequence[Path]) -> subprocess.Popen[bytes]:
    """Start the first process and wait until it has prepared everything. Raises AssertionError."""
    # The shell joins the groups before it becomes `unshare`: a namespace of groups begins where its maker is.
    join = 'for group; do [ "$group" = -- ] && break; echo 0 >"$group/cgroup.procs"; shift; done; shift; exec "$@"'
    first = subprocess.Popen(
        ["sh", "-ec", join, "join", *map(str, groups), "--", *line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert first.stdout is not None
    assert first.stderr is not None
    if first.stdout.readline() != b"ready\n":
        _, errors = first.communicate(timeout=START_SECONDS)
        raise AssertionError(f"cannot make namespaces: {errors.decode()}")
    first.stdout.close()
    first.stderr.close()
    return first
