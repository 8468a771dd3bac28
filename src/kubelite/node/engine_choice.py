"""Chooses the container engine of a node: the one that was named, one that answers, or one of kubelite's own.

The engines that a data folder has used are noted in it. So a node whose pods are on an engine that is still starting,
as after a boot, waits for that engine instead of taking another one; and a reset finds them all.
"""

import asyncio
import logging
import shutil
from collections.abc import Set
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from kubelite.node.containerd import ContainerdFolders
from kubelite.node.cri_socket import cri_answers
from kubelite.node.engine import EngineFolders, EngineProgram, answers
from kubelite.node.replaced_file import replace_file

log = logging.getLogger(__name__)

Dialect = Literal["docker", "cri"]
USED_FILE: Final = "engines.json"  # in the agent's part of the data folder
USED_BYTES_MAX = 1 << 16

DOCKER, CONTAINERD = "docker", "containerd"
# What is asked without any setting, in this order: Docker, containerd, CRI-O, Podman.
SYSTEM: Final[tuple[tuple[Dialect, Path], ...]] = (
    ("docker", Path("/var/run/docker.sock")),
    ("cri", Path("/run/containerd/containerd.sock")),
    ("cri", Path("/var/run/crio/crio.sock")),
    ("docker", Path("/run/podman/podman.sock")),
)
DOCKER_NAMES: Final = ("docker.sock", "podman.sock")


class Engine(Struct, frozen=True):
    """A container engine: the API that it speaks and where."""

    dialect: Dialect
    socket: Path
    is_own: bool = False  # kubelite starts it


class Wanted(Struct, frozen=True):
    """What the user has set."""

    socket: Path | None = None
    dialect: Dialect | None = None  # None: that of the engine which answers
    own: str = ""  # DOCKER or CONTAINERD: one of kubelite's own, whichever else there is


class OwnEngines(Struct, frozen=True):
    """The engines that kubelite can start, by the folders of one data folder."""

    docker: EngineFolders
    containerd: ContainerdFolders

    @property
    def all(self) -> tuple[tuple[Engine, EngineProgram], ...]:
        """Each with its program, the preferred one first."""
        return (
            (Engine("docker", self.docker.socket, is_own=True), self.docker),
            (Engine("cri", self.containerd.socket, is_own=True), self.containerd),
        )

    def program(self, engine: Engine) -> EngineProgram | None:
        """Return what starts an engine; None if it is another's."""
        return next((program for own, program in self.all if own == engine), None)


class Situation(Struct, frozen=True):
    """What a host offers."""

    answering: Set[Engine]  # engines of kubelite's own or at a usual place, or at the wanted one
    installed: Set[str]  # programs
    used: tuple[Engine, ...] = ()  # by this data folder, the last first
    has_pods: bool = False


def own_engines(agent: Path, run: Path) -> OwnEngines:
    """Return the engines that kubelite can start for a data folder's agent part and its run-time folder."""
    return OwnEngines(
        EngineFolders(agent / "docker", run / "docker"),
        ContainerdFolders(agent / "containerd", run / "containerd"),
    )


def decide(wanted: Wanted, own: OwnEngines, seen: Situation) -> Engine:
    """Return the engine to use. Pure."""
    if wanted.own:
        return own.all[0][0] if wanted.own == DOCKER else own.all[1][0]
    if wanted.socket is not None:
        return _at(wanted.socket, wanted.dialect, seen)
    programs = {engine: program.name for engine, program in own.all}
    for engine in seen.used[:1]:
        can_start = engine.is_own and programs.get(engine) in seen.installed
        if engine in seen.answering or can_start or seen.has_pods:
            return engine
    usual = (Engine(dialect, path) for dialect, path in SYSTEM)
    for engine in (*programs, *usual):
        if engine in seen.answering:
            return engine
    for engine, name in programs.items():
        if name in seen.installed:
            return engine
    return Engine(*SYSTEM[0])


def _at(socket: Path, dialect: Dialect | None, seen: Situation) -> Engine:
    if dialect is not None:
        return Engine(dialect, socket)
    for engine in (Engine("docker", socket), Engine("cri", socket)):
        if engine in seen.answering:
            return engine
    return Engine("docker" if socket.name in DOCKER_NAMES else "cri", socket)


async def choose(wanted: Wanted, own: OwnEngines, agent: Path) -> Engine:
    """Look at the host and return the engine to use; nothing is changed."""
    candidates = [engine for engine, _ in own.all]
    candidates += [Engine(dialect, path) for dialect, path in SYSTEM]
    if wanted.socket is not None:
        candidates = [Engine("docker", wanted.socket), Engine("cri", wanted.socket)]
    used, has_pods = await asyncio.to_thread(_history, agent)
    candidates += [engine for engine in used if engine not in candidates]
    found = await asyncio.gather(*map(engine_answers, candidates))
    answering = {engine for engine, does in zip(candidates, found, strict=True) if does}
    installed = {program.name for _, program in own.all if shutil.which(program.name)}
    return decide(wanted, own, Situation(answering, installed, used, has_pods))


async def engine_answers(engine: Engine) -> bool:
    """Return whether an engine answers in its dialect."""
    ask = answers if engine.dialect == "docker" else cri_answers
    return await ask(engine.socket)


def _history(agent: Path) -> tuple[tuple[Engine, ...], bool]:
    pods = agent / "pods"
    return used_engines(agent), pods.is_dir() and any(pods.iterdir())


class _Used(Struct):
    dialect: Dialect
    socket: str
    own: bool = False


def used_engines(agent: Path) -> tuple[Engine, ...]:
    """Return the engines that this data folder has used, the last first. Blocking.

    A file that cannot be read counts as none: an engine is then found as on a fresh host.
    """
    try:
        with (agent / USED_FILE).open("rb") as file:
            found = msgspec.json.decode(file.read(USED_BYTES_MAX), type=list[_Used])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        log.warning("cannot read which engines were used", extra={"reason": str(error)})
        return ()
    return tuple(Engine(used.dialect, Path(used.socket), used.own) for used in found)


def note_use(agent: Path, engine: Engine) -> tuple[Engine, ...]:
    """Note that an engine is used; return those that were used before. Blocking; raises OSError."""
    former = tuple(other for other in used_engines(agent) if other != engine)
    used = [_Used(each.dialect, str(each.socket), each.is_own) for each in (engine, *former)]
    replace_file(agent / USED_FILE, msgspec.json.encode(used).decode())
    return former
