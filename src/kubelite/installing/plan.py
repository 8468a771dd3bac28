"""What an installation writes and runs, decided from values alone."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any, Final

from msgspec import Struct

from kubelite.config import NodeConfig, is_list, settings
from kubelite.installing import openrc, systemd
from kubelite.installing.environment_file import PREFIX, environment_text
from kubelite.installing.program import LINK, Program
from kubelite.installing.refusal import NotInstallable

KINDS: Final = ("server", "agent")
_PATHS: Final = frozenset({"DIR", "FILE"})  # placeholders of settings that are paths


class Manager(Enum):
    """What starts services on this machine."""

    SYSTEMD = "systemd"
    OPENRC = "OpenRC"
    NONE = "none"


class File(Struct, frozen=True):
    """A file to write."""

    path: Path
    content: str
    mode: int


class Plan(Struct, frozen=True):
    """What an installation does, in this order."""

    name: str  # of the service
    files: tuple[File, ...]
    link: tuple[Path, str] | None  # a path, and what it is to lead to
    commands: tuple[tuple[str, ...], ...]
    start: tuple[str, ...]  # empty: the service is not started


class Given(Struct, frozen=True):
    """What the user gave, as a service is given it."""

    flags: tuple[str, ...]
    variables: Mapping[str, str]


class Places(Struct, frozen=True):
    """The files of a service."""

    service: Path
    environment: Path
    log: Path | None = None  # None: in the journal

    @property
    def own(self) -> tuple[Path, ...]:
        """Those that an installation has made, or its service; the one that shows an installation last."""
        return tuple(path for path in (self.log, self.environment, self.service) if path)


def service_name(kind: str) -> str:
    """Return the name of the service of a `server` or an `agent`, as k3s has it."""
    return "kubelite" if kind == "server" else f"kubelite-{kind}"


def places(kind: str, manager: Manager) -> Places:
    """Return the files of a service."""
    name = service_name(kind)
    if manager is Manager.OPENRC:
        return Places(
            openrc.FOLDER / name,
            openrc.ENVIRONMENT_FOLDER / f"{name}.env",
            openrc.LOG_FOLDER / f"{name}.log",
        )
    unit = systemd.FOLDER / f"{name}.service"
    return Places(unit, unit.with_name(f"{unit.name}.env"))


def given(
    of: type[NodeConfig], flags: Mapping[str, Any], variables: Mapping[str, str], folder: str
) -> Given:
    """Return flags and variables for a service, which runs in another folder and whose command line anybody can read.

    Paths, which are relative to `folder`, become absolute, and secrets become variables.
    """
    words: list[str] = []
    environment = dict(variables)
    for field, (plain, setting) in settings(of).items():
        is_path = setting.metavar in _PATHS
        variable = PREFIX + field.upper()
        if is_path and (named := environment.get(variable)):
            texts = named.split(",") if is_list(plain) else [named]
            environment[variable] = ",".join(_absolute(text, folder) for text in texts)
        value = flags.get(field)
        if value in (None, ()):
            continue
        if setting.is_secret:
            environment[variable] = str(value)
            continue
        values: Sequence[Any] = value if is_list(plain) else (value,)
        words += (_flag(field, _absolute(each, folder) if is_path else each) for each in values)
    return Given(tuple(words), environment)


def _absolute(path: str, folder: str) -> str:
    return os.path.normpath(PurePosixPath(folder, path)) if path else ""


def _flag(field: str, value: Any) -> str:
    name = "--" + field.replace("_", "-")
    return name if value is True else f"{name}={value}"


def plan_installation(
    kind: str,
    program: Program,
    given: Given,
    manager: Manager,
    *,
    is_found: bool,
    is_running: bool = True,
    enables: bool = True,
    starts: bool = True,
) -> Plan:
    """Return what installs a service. Raises NotInstallable.

    `is_found`: a shell finds `kubelite`. `is_running`: the service manager runs, which it does not in an image that is
    being made.
    """
    name, where = service_name(kind), places(kind, manager)
    if manager is Manager.NONE:
        command = shlex.join((*program.arguments, kind, *given.flags))
        raise NotInstallable(
            "cannot install: neither systemd nor OpenRC is here; have whatever starts services on this machine "
            f"run, as root: {command}"
        )
    commands: list[tuple[str, ...]] = []
    if manager is Manager.SYSTEMD:
        service = File(
            where.service,
            systemd.unit_text(kind, program, given.flags, where.environment),
            0o644,
        )
        if is_running:
            commands.append(("systemctl", "daemon-reload"))
        if enables:
            commands.append(("systemctl", "enable", "--quiet", f"{name}.service"))
    else:
        assert where.log is not None
        script = openrc.script_text(kind, program, given.flags, where.environment, where.log)
        service = File(where.service, script, 0o755)
        if enables:
            commands.append(("rc-update", "add", name, "default"))
    return Plan(
        name=name,
        # The secrets are there before anything could start the service.
        files=(File(where.environment, environment_text(given.variables), 0o600), service),
        link=None if is_found or not program.command else (LINK, program.command),
        commands=tuple(commands),
        start=_START[manager](name) if starts else (),
    )


_START: Final[Mapping[Manager, Callable[[str], tuple[str, ...]]]] = {
    Manager.SYSTEMD: lambda name: ("systemctl", "restart", f"{name}.service"),
    Manager.OPENRC: lambda name: ("rc-service", name, "restart"),
}


def stop_commands(kind: str, manager: Manager) -> Sequence[tuple[str, ...]]:
    """Return what stops a service and keeps it from being started."""
    name = service_name(kind)
    if manager is Manager.OPENRC:
        return (("rc-service", "--ifstarted", name, "stop"), ("rc-update", "--all", "del", name))
    return (("systemctl", "disable", "--quiet", "--now", f"{name}.service"),)


def forget_commands(kind: str, manager: Manager) -> Sequence[tuple[str, ...]]:
    """Return what makes the service manager forget a service whose files are gone; some of it may fail."""
    if manager is Manager.OPENRC:
        return ()
    return (
        ("systemctl", "daemon-reload"),
        ("systemctl", "reset-failed", f"{service_name(kind)}.service"),
    )
