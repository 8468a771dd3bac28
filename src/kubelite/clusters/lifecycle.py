"""Makes, starts, stops and deletes clusters, and cleans up after commands and clusters that were killed. Blocks.

A plan is on disk before anything is made by it, and is gone only after all that was. So whatever a killed command or
a killed cluster has left is found by the next command: by the plan, by what was noted of processes, by the name of a
bridge, of rules and of control groups.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from kubelite.api.auth.secret_files import write_file
from kubelite.clusters import api as asking
from kubelite.clusters import groups
from kubelite.clusters.forward_program import PORTS
from kubelite.clusters.node_script import first_process
from kubelite.clusters.plan import (
    SERVER,
    Node,
    Plan,
    PlanFailed,
    Surroundings,
    Wanted,
    agent_settings,
    check_name,
    identifier_of,
    kubeconfig_of,
    own_registries,
    plan_of,
    server_settings,
    with_other_port,
)
from kubelite.clusters.state import (
    Folder,
    Folders,
    Process,
    end,
    is_alive,
    marked,
    process_of,
    send,
    wait_for_end,
)
from kubelite.node.untrusted_files import remove_path
from kubelite.own_programs import own_program
from kubelite.spawn import start_detached

if TYPE_CHECKING:
    pass

PORT_TRIES = 5
START_SECONDS = 60.0  # of a server, on a busy machine
STOP_SECONDS = 20.0
SOON_SECONDS = 10.0  # of what takes milliseconds
LOOK_SECONDS = 0.002
LOG_CHARACTERS = 2000


class ClusterFailed(Exception):
    """A command on a cluster failed; the message is for the user."""


class Seen(Struct, frozen=True):
    """A cluster as it is now."""

    plan: Plan
    running: frozenset[str]  # the short names of what runs: nodes, the server, ports

    @property
    def status(self) -> str:
        """What a user is told of it."""
        wanted = parts_of(self.plan)
        if not self.running:
            return "stopped"
        return "running" if self.running >= wanted else "degraded"


def parts_of(plan: Plan) -> frozenset[str]:
    """Return the short names of all that runs when a cluster does."""
    nodes = {node.short for node in plan.nodes} or {SERVER}
    return frozenset(nodes | ({PORTS} if plan.ports else set()))


class Clusters:
    """The clusters in one folder. `say` is told of each step."""

    def __init__(self, folders: Folders, say: Callable[[str], None] = lambda _: None) -> None:
        self._folders = folders
        self._say = say
        # A cluster is as its plan says, whatever the caller's server is.
        for name in [name for name in os.environ if name.startswith("KUBELITE_")]:
            del os.environ[name]

    def list(self) -> list[Seen]:
        """Return the clusters that are made, by name."""
        self.clean()
        found = []
        for folder in self._folders.all():
            plan = folder.read()
            if plan is not None and plan.phase == "made":
                found.append(_seen(folder, plan))
        return found

    def kubeconfig(self, name: str) -> Path:
        """Return the kubeconfig of a cluster. Raises ClusterFailed."""
        folder, _ = self._existing(name)
        return folder.kubeconfig

    def plan(self, name: str) -> tuple[Folder, Plan]:
        """Return the folder and the plan of a cluster. Raises ClusterFailed."""
        return self._existing(name)

    def create(self, wanted: Wanted) -> Plan:
        """Make a cluster and start it. Raises ClusterFailed; then nothing of it is left."""
        self.clean()
        folder = self._folders.cluster(check_name(wanted.name))
        _require_programs(wanted)
        with contextlib.ExitStack() as stack:
            with self._folders.locked():
                if folder.path.exists():
                    raise ClusterFailed(
                        f"cluster {wanted.name} exists; kubelite cluster delete {wanted.name} removes it"
                    )
                plan = plan_of(wanted, str(folder.path), self._surroundings())
                folder.path.mkdir(mode=0o700)
                stack.enter_context(folder.locked())
                folder.write(plan)
            try:
                _lay_out(folder, plan, wanted)
                plan = self._start_on_a_port(folder, plan, wanted.wait_seconds)
                plan = msgspec.structs.replace(plan, phase="made")
                folder.write(plan)
            except BaseException:
                self._say("removing what was made")
                _remove(folder, plan)
                self._leave()
                raise
        return plan

    def start(self, name: str, wait_seconds: float) -> None:
        """Start a cluster that is stopped; one that runs in part is stopped first. Raises ClusterFailed."""
        self.clean()
        with self._held(name) as (folder, plan):
            if _seen(folder, plan).status == "running":
                return
            _stop(folder, plan, 0)
            try:
                self._start(folder, plan, wait_seconds)
            except BaseException:
                self._say("stopping what was started")
                _stop(folder, plan, STOP_SECONDS)
                raise

    def stop(self, name: str) -> None:
        """Stop a cluster; its state stays. Raises ClusterFailed."""
        self.clean()
        with self._held(name) as (folder, plan):
            _stop(folder, plan, STOP_SECONDS)

    def delete(self, name: str) -> None:
        """Delete a cluster with all that it has. Raises ClusterFailed."""
        self.clean()
        with self._held(name) as (folder, plan):
            folder.write(msgspec.structs.replace(plan, phase="going"))
            _remove(folder, plan)
        self._leave()

    def _leave(self) -> None:
        """Remove the folder of all clusters, if this was the last."""
        with self._folders.locked():
            return

    def clean(self) -> None:
        """Remove what killed commands and killed clusters have left; others that work on a cluster are left alone."""
        if self._folders.top.is_dir():
            with (
                self._folders.locked()
            ):  # or a cluster that is begun right now would be taken for a dead one
                for folder in self._folders.all():
                    with (
                        contextlib.suppress(BlockingIOError, FileNotFoundError),
                        folder.locked(wait=False),
                    ):
                        self._clean(folder)
        if os.geteuid() == 0:
            self._sweep()

    def _clean(self, folder: Folder) -> None:
        plan = folder.read()
        if plan is None or plan.phase != "made":
            self._say(f"removing what is left of cluster {folder.name}")
            _remove(folder, plan)
            return
        seen = _seen(folder, plan)
        if seen.status == "degraded" and SERVER not in seen.running:
            self._say(f"stopping cluster {folder.name}, whose server has ended")
            _stop(folder, plan, STOP_SECONDS)
        elif not seen.running:
            _stop(folder, plan, 0)

    def _sweep(self) -> None:
        """Remove what is in the kernel of clusters whose folder is gone."""
        known = {identifier_of(str(folder.path)) for folder in self._folders.all()}
        if not (groups.all_clusters() - known) and not _has_bridges(known):
            return
        network = _network()
        bridges = network.clusters()
        of_others = {one for one, path in bridges.items() if Path(path).exists()}
        left = (
            (bridges.keys() | set(network.rule_tables()) | groups.all_clusters())
            - known
            - of_others
        )
        for identifier in left:
            if identifier in bridges or not _is_held(identifier):
                groups.remove(identifier)
                network.remove(identifier)

    def _existing(self, name: str) -> tuple[Folder, Plan]:
        folder = self._folders.cluster(check_name(name))
        plan = folder.read()
        if plan is None:
            known = ", ".join(one.name for one in self._folders.all()) or "none"
            raise ClusterFailed(f"there is no cluster {name}; there is {known}")
        return folder, plan

    @contextlib.contextmanager
    def _held(self, name: str) -> Iterator[tuple[Folder, Plan]]:
        """Hold a cluster; yield its folder and its plan. Raises ClusterFailed."""
        folder, _ = self._existing(name)
        with folder.locked():
            yield self._existing(name)

    def _surroundings(self) -> Surroundings:
        plans = [plan for folder in self._folders.all() if (plan := folder.read()) is not None]
        is_root = os.geteuid() == 0
        taken = [plan.network for plan in plans if plan.network]
        return Surroundings(
            is_root,
            [*taken, *(_network().taken_networks() if is_root else ())],
            {plan.api_port for plan in plans if not plan.nodes}
            | {port.host_port for plan in plans for port in plan.ports},
            _is_free,
        )

    def _start_on_a_port(self, folder: Folder, plan: Plan, wait_seconds: float) -> Plan:
        """Start a new cluster; if somebody has taken the port that was free for its API, on another one."""
        for _ in range(PORT_TRIES):
            try:
                self._start(folder, plan, wait_seconds)
            except ClusterFailed:
                if plan.nodes or _lives(folder, SERVER) or _is_free("127.0.0.1", plan.api_port):
                    raise
                plan = with_other_port(plan, self._surroundings())
                folder.write(plan)
                _write_settings(folder.node(), server_settings(plan, str(folder.node())))
                continue
            return plan
        raise ClusterFailed(f"cluster {plan.name}: each port that was free was taken; try again")

    def _start(self, folder: Folder, plan: Plan, wait_seconds: float) -> None:
        """Start all of a cluster and wait for it. Raises ClusterFailed."""
        started = time.monotonic()
        with contextlib.ExitStack() as held:
            if plan.nodes:
                self._say("network")
                _network().make(plan, folder.path)
            if plan.ports:  # first, since others may have taken them meanwhile
                _begin_ports(folder)
            self._say("server")
            _begin(folder, plan, SERVER, held)
            try:
                api = asking.until_answers(
                    folder.node() / "admin.yaml",
                    plan.url,
                    lambda: _lives(folder, SERVER),
                    START_SECONDS,
                )
                _write_kubeconfig(folder, plan)
                for node in plan.nodes[1:]:
                    self._say(node.short)
                    _begin_agent(folder, plan, node, held)
                if wait_seconds:
                    self._say("nodes")
                    names = frozenset(node.name for node in plan.nodes)
                    number = max(len(names) + plan.simulate_nodes, 1)
                    asking.until_ready(api, names, number, wait_seconds)
                elif plan.nodes:
                    _until(lambda: all(_has_begun(folder, node) for node in plan.nodes), "nodes")
            except asking.NotReady as error:
                raise ClusterFailed(f"cluster {plan.name}: {error}{_said(folder, plan)}") from error
        self._say(f"ready after {time.monotonic() - started:.1f} s")


def _seen(folder: Folder, plan: Plan) -> Seen:
    return Seen(plan, frozenset(part for part in parts_of(plan) if folder.process(part)))


def _network() -> "Any":
    """Return the module of the network: only real nodes need it, and it loads much."""
    from kubelite.clusters import network

    return network


def _has_bridges(known: set[str]) -> bool:
    """Return whether the machine has a bridge of a cluster that is not known; cheaper than to ask the kernel."""
    try:
        names = [path.name for path in Path("/sys/class/net").iterdir()]
    except OSError:
        return False
    return any(name.startswith("kl-") and name[3:] not in known for name in names)


def _is_held(identifier: str) -> bool:
    """Return whether a process is in the groups of a cluster, which may be another folder's without a bridge yet."""
    for root in groups.legacy() or [groups.ROOT]:
        for file in (root / (groups.PREFIX + identifier)).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                if file.read_text().strip():
                    return True
    return False


def _require_programs(wanted: Wanted) -> None:
    if wanted.agents is None and (wanted.simulate_nodes or wanted.simulation):
        return
    missing = [name for name in ("unshare", "mount", "sh") if shutil.which(name) is None]
    if missing:
        raise ClusterFailed(f"a real node needs {', '.join(missing)} (of util-linux)")
    if not any(map(shutil.which, ("dockerd", "containerd"))):
        raise ClusterFailed(
            "a real node needs a container engine: install docker.io or containerd, or use --simulate-nodes"
        )


def _is_free(address: str, port: int) -> bool:
    import socket

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, port), family=family).close()
    except OSError:
        return False
    return True


def _lay_out(folder: Folder, plan: Plan, wanted: Wanted) -> None:
    """Write the files that nodes start with. Raises ClusterFailed."""
    try:
        server = folder.node()
        server.mkdir(mode=0o700)
        _write_settings(server, server_settings(plan, str(server)))
        for node in plan.nodes[1:]:
            own = folder.node(node.short)
            own.mkdir(mode=0o700)
            _write_settings(own, agent_settings(plan, node, str(own)))
        if wanted.simulation:
            shutil.copyfile(wanted.simulation, server / "simulation.yaml")
        if plan.ports:
            folder.node(PORTS).mkdir(mode=0o700)
        for node in plan.nodes:
            add_images(folder, node, wanted.images)
            _add_registries(folder, node, wanted.registries)
    except OSError as error:
        raise ClusterFailed(
            f"cannot lay out cluster {plan.name}: {error.filename}: {error.strerror}"
        ) from error


def _add_registries(folder: Folder, node: Node, given: str) -> None:
    place = folder.node(node.short) / "data" / "agent" / "etc"
    place.mkdir(mode=0o700, parents=True)
    content = Path(given).read_bytes() if given else msgspec.json.encode(own_registries())
    write_file(place / "registries.yaml", content, mode=0o600)


def _write_settings(folder: Path, settings: dict[str, Any]) -> None:
    write_file(
        folder / "config.yaml", msgspec.json.format(msgspec.json.encode(settings)), mode=0o600
    )


def add_images(folder: Folder, node: Node, images: Sequence[str]) -> list[Path]:
    """Put archives where a node loads images from, and return them there. Raises OSError."""
    place = folder.node(node.short) / "data" / "agent" / "images"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    placed = []
    for image in map(Path, images):
        target = place / image.name.removesuffix(".tar")
        target = target.with_name(target.name + ".tar")
        shutil.copyfile(image, target)
        placed.append(target)
    return placed


def _begin(folder: Folder, plan: Plan, short: str, held: contextlib.ExitStack) -> int:
    """Start the server or an agent, in a host of its own if it is a real node; return its process."""
    own = folder.node(short)
    command = "server" if short == SERVER else "agent"
    program = [*own_program("kubelite"), command, "--config", str(own / "config.yaml")]
    (own / "admin.yaml").unlink(missing_ok=True)  # it would be the one of the last start
    if not plan.nodes:
        pid = start_detached(program, folder.log(short))
        process = process_of(pid)
        folder.note(short, process)
        return pid
    node = plan.node(short)
    go = own / "go"
    go.unlink(missing_ok=True)
    os.mkfifo(go, 0o600)
    # Open at both ends, so the host does not miss what is written; it ends if this process does.
    descriptor = os.open(go, os.O_RDWR | os.O_CLOEXEC)
    held.callback(os.close, descriptor)
    try:
        joined = groups.make(plan.id, short)
    except OSError as error:
        raise ClusterFailed(
            f"cannot make control groups for node {node.name}: {error.strerror}: {error.filename}; "
            "in a container: it must be privileged"
        ) from error
    line = first_process(plan, node, own, joined.folders, joined.leaf, program)
    outer = start_detached(line, folder.log(short))
    inner = _first_of(outer, folder, short)
    folder.note(short, inner)
    try:
        _network().connect(plan, node, inner.pid)
    except _network().NetworkFailed as error:
        raise ClusterFailed(f"{error}{_said(folder, plan)}") from error
    os.write(descriptor, b"go\n")
    return inner.pid


def _first_of(outer: int, folder: Folder, short: str) -> Process:
    """Return the first process of a host that `unshare` begins. Raises ClusterFailed."""
    children = Path(f"/proc/{outer}/task/{outer}/children")
    found: list[Process] = []

    def look() -> bool:
        with contextlib.suppress(OSError):
            processes = (process_of(int(pid)) for pid in children.read_text().split())
            found.extend(one for one in processes if one is not None and _is_inside(one.pid))
        return bool(found) or process_of(outer) is None

    _until(look, f"host of {short}")
    if not found:
        raise ClusterFailed(
            f"cannot begin the host of {short}: {folder.log(short).read_text()[-LOG_CHARACTERS:]}"
        )
    return found[0]


def _is_inside(pid: int) -> bool:
    own, its = Path("/proc/self/ns/net"), Path(f"/proc/{pid}/ns/net")
    return its.readlink() != own.readlink()


def _until(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SOON_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise ClusterFailed(f"no {what} after {SOON_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)  # nothing tells what other processes do


def _begin_agent(folder: Folder, plan: Plan, node: Node, held: contextlib.ExitStack) -> None:
    token = folder.node(node.short) / "token"
    if not token.exists():  # an agent that has joined needs it no more
        write_file(token, _new_token(folder).encode(), mode=0o600)
    _begin(folder, plan, node.short, held)


def _new_token(folder: Folder) -> str:
    import asyncio

    from kubelite.clock import SystemClock
    from kubelite.join_tokens import TokenFailed, opened, wanted
    from kubelite.randomness import SystemRandomness

    async def create() -> str:
        async with opened(folder.kubeconfig, SystemClock(), SystemRandomness()) as tokens:
            asked = wanted("agent", "1h", "agent of an ephemeral cluster", is_one_time=True)
            return str(await tokens.create(asked))

    try:
        return asyncio.run(create())
    except TokenFailed as error:
        raise ClusterFailed(str(error)) from error


def _begin_ports(folder: Folder) -> None:
    folder.note(PORTS, None)
    log = folder.log(PORTS)
    pid = start_detached([*own_program("kubelite.clusters.forward_program"), str(folder.path)], log)
    _until(lambda: folder.process(PORTS) is not None or process_of(pid) is None, "published ports")
    if folder.process(PORTS) is None:
        raise ClusterFailed(log.read_text()[-LOG_CHARACTERS:].strip().removeprefix("kubelite: "))


def _lives(folder: Folder, short: str) -> bool:
    # A child of ours that has ended is a zombie, which counts as ended.
    return folder.process(short) is not None


def _has_begun(folder: Folder, node: Node) -> bool:
    return folder.log(node.short).stat().st_size > 0 or not _lives(folder, node.short)


def _write_kubeconfig(folder: Folder, plan: Plan) -> None:
    written = (folder.node() / "admin.yaml").read_text()
    write_file(folder.kubeconfig, kubeconfig_of(plan, written).encode(), mode=0o600)


def _said(folder: Folder, plan: Plan) -> str:
    """Return the end of what the server has written."""
    del plan
    with contextlib.suppress(OSError):
        text = folder.log().read_text(errors="replace")[-LOG_CHARACTERS:]
        lines = text.strip().splitlines()[-8:]
        return "\n  ".join(["; the last lines of its log:", *lines])
    return ""


def _stop(folder: Folder, plan: Plan, grace_seconds: float) -> None:
    """End all of a cluster, and remove what it has in the kernel. Raises ClusterFailed."""
    shorts = [PORTS, *(node.short for node in reversed(plan.nodes))] if plan.nodes else [SERVER]
    living = [(short, process) for short in shorts if (process := folder.process(short))]
    if grace_seconds:
        import signal

        for _, process in living:
            send(process, signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        for _, process in living:
            wait_for_end(process, max(deadline - time.monotonic(), 0.0))
    for _, process in living:
        end(process, 0)
    configurations = (str(folder.node(short) / "config.yaml") for short in shorts)
    for process in marked({str(folder.path), *configurations}):
        end(process, 0)
    for short in shorts:
        folder.note(short, None)
    if plan.nodes or plan.network:
        _leave_kernel(folder, plan)


def _leave_kernel(folder: Folder, plan: Plan) -> None:
    from kubelite.node.volumes import loop_devices
    from kubelite.node.volumes.block_devices import mark_of

    try:
        groups.remove(plan.id)
        _network().remove(plan.id)
        for node in plan.nodes:
            loop_devices.detach(mark_of(folder.node(node.short) / "data" / "agent"))
    except (TimeoutError, OSError, _network().NetworkFailed) as error:
        raise ClusterFailed(f"cannot end cluster {plan.name}: {error}") from error


def _remove(folder: Folder, plan: Plan | None) -> None:
    """Remove a cluster, of which anything may be missing. Raises ClusterFailed."""
    if plan is not None:
        _stop(folder, plan, 0)
    try:
        for path in sorted(folder.path.iterdir()):
            if path.name not in (
                "lock",
                "cluster.json",
            ):  # by which the rest is found, if this is cut off
                remove_path(path)
        remove_path(folder.path)
    except OSError as error:
        raise ClusterFailed(f"cannot remove {error.filename}: {error.strerror}") from error


def alive(folder: Folder, short: str) -> Process:
    """Return the process of a node that runs. Raises ClusterFailed."""
    process = folder.process(short)
    if process is None or not is_alive(process):
        raise ClusterFailed(
            f"{short} of cluster {folder.name} does not run; kubelite cluster start {folder.name}"
        )
    return process


def images_loaded(folder: Folder, plan: Plan, images: Sequence[str]) -> Iterator[str]:
    """Load image archives on all real nodes, yield the name of each node. Raises ClusterFailed."""
    import asyncio

    if not plan.nodes:
        raise ClusterFailed("simulated nodes hold no images")
    for node in plan.nodes:
        process = alive(folder, node.short)
        try:
            placed = add_images(folder, node, images)
        except OSError as error:
            raise ClusterFailed(f"cannot copy {error.filename}: {error.strerror}") from error
        asyncio.run(_load(folder, node, process, placed))
        yield node.short


async def _load(folder: Folder, node: Node, process: Process, archives: Sequence[Path]) -> None:
    from kubelite.clock import SystemClock
    from kubelite.node.container_owner import read_owner
    from kubelite.node.engine_choice import used_engines
    from kubelite.node.engine_client import connect
    from kubelite.node.machine import read_machine
    from kubelite.node.runtime import EngineUnavailable, RuntimeFailure

    agent = folder.node(node.short) / "data" / "agent"
    used = used_engines(agent)
    if not used:
        raise ClusterFailed(f"node {node.name} has no container engine yet; try again")
    # The socket lies in the host's own view of the machine.
    inside = Path(f"/proc/{process.pid}/root") / used[0].socket.relative_to("/")
    engine = msgspec.structs.replace(used[0], socket=inside)
    runtime = connect(
        engine, read_owner(agent, node.name), read_machine(Path("/")).architecture, SystemClock()
    )
    try:
        for archive in archives:
            await runtime.load(archive)
    except (RuntimeFailure, EngineUnavailable, OSError) as error:
        raise ClusterFailed(f"cannot load {archives[0].name} on {node.name}: {error}") from error
    finally:
        await runtime.close()


__all__ = ["ClusterFailed", "Clusters", "PlanFailed", "Seen", "alive", "images_loaded", "parts_of"]
