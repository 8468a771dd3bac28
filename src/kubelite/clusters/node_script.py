"""The shell script by which a real node's host begins: its first process. It makes the host's own view of the machine.

What is written to /etc, /opt and /var outside the node's folder is gone with the node, /run begins empty, and the
control groups of the machine are not seen. All that was mounted or started in it ends with this process.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubelite.clusters.plan import HOST_NAME, Node, Plan

# It joins its groups before it becomes `unshare`: a namespace of groups begins where its maker is. With the unified
# hierarchy it then goes one down, since a group with groups below it may hold no process.
BEGIN: Final = """
set -e
for group; do shift; [ "$group" = -- ] && break; echo 0 >"$group/cgroup.procs"; done
leaf=$1; shift
exec unshare --cgroup sh -ec '[ -z "$0" ] || echo 0 >"$0/cgroup.procs"; exec "$@"' "$leaf" "$@"
"""

FIRST: Final = """
set -e
folder=$1 name=$2 address=$3 gateway=$4; shift 4
names=$(cat /run/systemd/resolve/resolv.conf 2>/dev/null || cat /etc/resolv.conf 2>/dev/null || :)
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/.host/folder /run/lock
mount --bind "$folder" /run/.host/folder
for each in etc opt var; do
    [ -d "/$each" ] || continue
    mkdir -p "/run/.host/$each" "/run/.host/work-$each"
    mount -t overlay overlay -o "lowerdir=/$each,upperdir=/run/.host/$each,workdir=/run/.host/work-$each" "/$each"
done
mkdir -p "$folder" /etc/kubelite
mount --bind /run/.host/folder "$folder"
mount -t tmpfs -o mode=755 tmpfs /etc/kubelite
while read -r _ _ _ _ place rest; do
    case " $rest" in *" - cgroup2 "*) kind=cgroup2;; *" - cgroup "*) kind=cgroup;; *) continue;; esac
    options=${place##*/}
    [ "$options" = systemd ] && options=none,name=systemd
    if [ "$kind" = cgroup ]; then
        umount "$place" && mount -t cgroup -o "$options" cgroup "$place"
    else
        umount "$place" && mount -t cgroup2 cgroup2 "$place"
        for each in $(cat "$place/cgroup.controllers"); do
            echo "+$each" >"$place/cgroup.subtree_control" 2>/dev/null || :
        done
    fi
done <<END
$(cat /proc/self/mountinfo)
END
mount --make-rshared /
hostname "$name" 2>/dev/null || echo "$name" >/proc/sys/kernel/hostname
rm -f /etc/resolv.conf /etc/hosts /etc/hostname 2>/dev/null || :
echo "$names" | grep -Ev '^nameserver +(127\\.|::1)' >/etc/resolv.conf || :
printf '127.0.0.1 localhost\\n::1 localhost\\n%s %s\\n%s HOST_NAME\\n' "$address" "$name" "$gateway" >/etc/hosts
set +e
read -r go <"$folder/go" || exit 1
ending=
trap 'ending=yes; kill -TERM "$child" 2>/dev/null' TERM
"$@" & child=$!
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
[ -z "$ending" ] && exit "$code"
kill -TERM -1 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    set -- /proc/[0-9]*
    [ $# -le 1 ] && break
    sleep 0.1
done
exit "$code"
""".replace("HOST_NAME", HOST_NAME)


def first_process(
    plan: Plan, node: Node, folder: Path, groups: Sequence[Path], leaf: str, program: Sequence[str]
) -> list[str]:
    """Return the command line that begins a node's host, which then runs `program`.

    `groups` are the control groups to join, `leaf` is the one below to be in, "" for the same.
    """
    flags = ("--mount", "--uts", "--net", "--pid", "--ipc", "--fork", "--kill-child")
    inside = (
        "sh",
        "-c",
        FIRST,
        "kubelite-node",
        str(folder),
        node.name,
        node.address,
        plan.gateway,
    )
    joins = (*map(str, groups), "--", leaf)
    return ["sh", "-c", BEGIN, "kubelite-host", *joins, "unshare", *flags, *inside, *program]
