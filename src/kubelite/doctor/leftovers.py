"""What earlier runs have left: links, rules, mounts, sockets, control groups, containers."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from kubelite.doctor.findings import Finding, note, ok, warning
from kubelite.doctor.reading import is_held, mounts, text_of
from kubelite.doctor.wanted import Wanted

LINKS = ("kubelite",)
POD_LINKS = ("kl", 14)  # beginning and length of the names of pods' links
SHOWN_MAX = 5
ANSWER_SECONDS = 2.0
LABELS_BYTES_MAX = 4 << 20
GROUPS = ("kubelite", "kubelite.slice")


class Leftovers(Struct, frozen=True):
    """What of kubelite's is on the host."""

    is_running: bool = False  # a server or an agent, on this data folder
    has_cluster: bool = False  # there is a data folder to start or to reset
    others_run: bool = False  # a kubelite on another data folder
    links: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()  # to which nobody listens any more
    groups: tuple[str, ...] = ()
    foreign_containers: int = 0  # of kubelite, but of another data folder


def judge(left: Leftovers, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about what was left."""
    if left.is_running:
        yield ok(f"a kubelite runs on {wanted.data}")
        return
    things = list(_things(left))
    if not things:
        yield ok("nothing is left of earlier runs")
    elif left.others_run:
        yield note(
            f"another kubelite runs on this host, and has {'; '.join(things)}",
            "nodes on one host share bridge and rules: one of them would take the other's",
            "run one node on a host, or each in a network namespace of its own",
        )
    elif left.has_cluster:
        yield note(
            f"earlier runs left {'; '.join(things)}",
            "pods outlive kubelite, and the next start finds them",
            f"nothing, or take them away: kubelite reset --data-dir {wanted.data}",
        )
    elif things == list(_things(Leftovers(groups=left.groups))):
        yield note(
            f"earlier runs left {'; '.join(things)}",
            "empty control groups are in nobody's way",
            f"nothing, or find {' '.join(left.groups)} -depth -type d -delete",
        )
    else:
        yield warning(
            f"a kubelite whose data folder is gone left {'; '.join(things)}",
            "what it left may be in the way of the next one's",
            _by_hand(left),
        )
    if left.foreign_containers:
        yield note(
            f"{left.foreign_containers} containers are of a kubelite with another data folder",
            "this one leaves them alone, and they use the same ports and memory",
            "kubelite reset with that --data-dir; docker ps -f label=io.kubelite.owner shows them",
        )


def _things(left: Leftovers) -> Iterator[str]:
    for name, found in (
        ("links", left.links),
        ("nftables tables", left.tables),
        ("mounts", left.mounts),
        ("dead sockets", left.sockets),
        ("control groups", left.groups),
    ):
        if found:
            more = f" and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
            yield f"{name} {', '.join(found[:SHOWN_MAX])}{more}"


def _by_hand(left: Leftovers) -> str:
    """Return the commands that take away what is left, in the order in which they work."""
    commands = [f"umount {place}" for place in reversed(left.mounts[-SHOWN_MAX:])]
    commands += [f"nft delete table {table}" for table in left.tables]
    commands += [f"ip link delete {link}" for link in left.links[:SHOWN_MAX]]
    commands += [f"rm {path}" for path in left.sockets[:SHOWN_MAX]]
    return "; ".join(commands) or "boot the host"


def gather(wanted: Wanted) -> Leftovers:
    """Look for all that kubelite makes on a host."""
    from kubelite.doctor.ports import is_kubelite
    from kubelite.doctor.reading import processes

    is_running = is_held(wanted.store / "lock") or is_held(wanted.agent / "lock")
    others = any(
        is_kubelite(line) and {"server", "agent"} & set(line)
        for pid in processes()
        if pid != os.getpid() and (line := (text_of(f"/proc/{pid}/cmdline") or "").split("\0"))
    )
    return Leftovers(
        is_running=is_running,
        has_cluster=wanted.store.is_dir() or (wanted.agent / "pki").is_dir(),
        others_run=others and not is_running,
        links=tuple(_links()),
        tables=tuple(_tables()),
        mounts=tuple(sorted(_mounts(wanted))),
        sockets=tuple(sorted(_dead_sockets(wanted.run))),
        groups=tuple(sorted(_groups())),
        foreign_containers=_foreign_containers(wanted),
    )


def _links() -> Iterator[str]:
    beginning, length = POD_LINKS
    # /sys/class/net would be that of the namespace in which it was mounted.
    for name in sorted(name for _, name in socket.if_nameindex()):
        if name.startswith(LINKS) or (name.startswith(beginning) and len(name) == length):
            yield name


def _tables() -> Iterator[str]:
    import asyncio

    from kubelite.net.nftables import Nftables, RulesRefused, RulesUnavailable
    from kubelite.net.ruleset import TABLE

    async def listed() -> str:
        nftables = Nftables()
        nftables.open()
        try:
            return await nftables.run("list tables")
        finally:
            await nftables.close()

    try:
        text = asyncio.run(listed())
    except (RulesRefused, RulesUnavailable):
        return
    for line in text.splitlines():
        match line.split():
            case ["table", family, name] if name == TABLE:
                yield f"{family} {name}"


def _mounts(wanted: Wanted) -> set[str]:
    folders = (wanted.agent, wanted.run)
    return {
        one.place
        for one in mounts()
        if any(
            Path(one.place) != folder and Path(one.place).is_relative_to(folder)
            for folder in folders
        )
    }


def _dead_sockets(folder: Path) -> Iterator[str]:
    try:
        found = [path for path in folder.rglob("*.sock") if path.is_socket()]
    except OSError:
        return
    for path in found:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(ANSWER_SECONDS)
            try:
                asking.connect(str(path))
            except ConnectionRefusedError:
                yield str(path)
            except OSError:
                continue


def _groups() -> set[str]:
    from kubelite.node.cgroups import ROOT

    tops = [ROOT, *(path for path in ROOT.glob("*") if path.is_dir())]
    return {str(top / name) for top in tops for name in GROUPS if (top / name).is_dir()}


def _foreign_containers(wanted: Wanted) -> int:
    """Return how many containers of Docker are of a kubelite with another data folder."""
    from kubelite.node.container_owner import NODE_LABEL, OWNER_LABEL, read_owner

    own = read_owner(wanted.agent, wanted.node_name)
    count = 0
    for labels in _labels(Path("/var/run/docker.sock")):
        if OWNER_LABEL in labels and NODE_LABEL in labels and not own.owns(labels):
            count += 1
    return count


def _labels(engine: Path) -> Iterator[dict[str, str]]:
    """Yield the labels of each container of an engine with Docker's API; none if it does not answer."""
    question = b"GET /containers/json?all=1 HTTP/1.0\r\nHost: localhost\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(ANSWER_SECONDS)
            asking.connect(str(engine))
            asking.sendall(question)
            answer = b""
            while len(answer) < LABELS_BYTES_MAX and (piece := asking.recv(1 << 16)):
                answer += piece
        listed = json.loads(answer.partition(b"\r\n\r\n")[2])
    except (OSError, ValueError):
        return
    for each in listed if isinstance(listed, list) else ():
        labels = each.get("Labels") if isinstance(each, dict) else None
        if isinstance(labels, dict):
            yield labels
