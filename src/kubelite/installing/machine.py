"""The machine that a service is installed on: what is there, writing files, running commands. All of it blocks."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from kubelite.api.auth.secret_files import temporary_of, write_file
from kubelite.clock import Clock, SystemClock
from kubelite.installing import openrc, systemd
from kubelite.installing.environment_file import read_environment
from kubelite.installing.plan import (
    KINDS,
    Given,
    Manager,
    Plan,
    forget_commands,
    places,
    stop_commands,
)
from kubelite.installing.program import LINK
from kubelite.installing.refusal import NotInstallable
from kubelite.node_config import CONFIG_FILE
from kubelite.spawn import Finished, ProgramFailed, ProgramTooSlow, run_program
from kubelite.tasks import TaskSet

COMMAND_SECONDS = 60.0
STOP_SECONDS = 90.0  # a unit's TimeoutStopSec=, and the service manager's own work
TICK_SECONDS = 1.0  # between two looks at the service's log while it starts
LOG_LINES = 10
FILE_BYTES_MAX = 1 << 20
CONFIG_FOLDER = CONFIG_FILE.parent  # the server has made it for its kubeconfig
Say = Callable[[str], None]


class Installed(Struct, frozen=True):
    """A service that is installed."""

    kind: str
    command: tuple[str, ...]  # the words that start it
    given: Given


class Machine:
    """A machine below `root`, which tests set, and its service manager."""

    def __init__(
        self,
        root: Path = Path("/"),
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._root = root
        self._environment = os.environ if environment is None else environment
        self._clock = clock or SystemClock()

    @property
    def is_booted(self) -> bool:
        """Whether a service manager runs here, and not only lies here, as in an image that is being made."""
        return (
            self._at(Path("/run/systemd/system")).is_dir() or self._at(Path("/run/openrc")).is_dir()
        )

    @property
    def manager(self) -> Manager:
        """The service manager."""
        if self._at(Path("/run/systemd/system")).is_dir():
            return Manager.SYSTEMD
        if self._at(Path("/sbin/openrc-run")).exists():
            return Manager.OPENRC
        if (
            not self.is_booted
            and self._which("systemctl")
            and self._at(Path("/etc/systemd")).is_dir()
        ):
            return Manager.SYSTEMD
        return Manager.NONE

    def finds_program(self, former: Installed | None) -> bool:
        """Return whether a shell finds `kubelite`, other than by the link of a former installation."""
        link = self._at(LINK)
        if link.is_symlink():
            return former is None or str(link.readlink()) not in former.command
        return link.exists() or bool(self._which("kubelite"))

    def _which(self, name: str) -> str | None:
        return shutil.which(name, path=self._environment.get("PATH", os.defpath))

    def _at(self, path: Path) -> Path:
        return self._root / path.relative_to("/")

    def installed(self, kind: str) -> Installed | None:
        """Return what is installed of a `server` or an `agent`. Raises NotInstallable."""
        manager = self.manager
        where = places(kind, manager)
        text = self._read(where.service)
        if text is None:
            return None
        reads = openrc.read_command if manager is Manager.OPENRC else systemd.read_command
        command = tuple(reads(text))
        variables = read_environment(self._read(where.environment) or "")
        return Installed(kind, command, Given(tuple(systemd.flags_of(command, kind)), variables))

    def _read(self, path: Path) -> str | None:
        try:
            with self._at(path).open("rb") as file:
                return file.read(FILE_BYTES_MAX).decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NotInstallable(f"cannot read {path}: {error.strerror}") from error

    def carry_out(self, plan: Plan, say: Say) -> None:
        """Write the files and run the commands, but for the last one, which starts the service. Raises NotInstallable.

        A repetition changes nothing more.
        """
        for file in plan.files:
            is_new = self._read(file.path) != file.content
            self._write(file.path, file.content, file.mode)
            say(f"{'wrote' if is_new else 'kept'} {file.path}")
        if plan.link is not None:
            self._link(*plan.link)
            say(f"linked {plan.link[0]} to {plan.link[1]}")
        for command in plan.commands:
            self._run(command)

    def _write(self, path: Path, content: str, mode: int) -> None:
        real = self._at(path)
        try:
            real.parent.mkdir(parents=True, exist_ok=True)
            write_file(real, content.encode(), mode=mode)
        except OSError as error:
            raise NotInstallable(f"cannot write {path}: {error.strerror}") from error

    def _link(self, path: Path, target: str) -> None:
        try:
            real = self._at(path)
            real.parent.mkdir(parents=True, exist_ok=True)
            new = temporary_of(real)
            new.unlink(missing_ok=True)
            new.symlink_to(target)
            new.replace(real)  # there is none, or that of a former installation
        except OSError as error:
            raise NotInstallable(f"cannot write {path}: {error.strerror}") from error

    def _run(self, command: Sequence[str], timeout_seconds: float = COMMAND_SECONDS) -> None:
        done = asyncio.run(self._finished(command, timeout_seconds))
        if done.code:
            raise NotInstallable(f"cannot run {' '.join(command)}: {_reason(done)}")

    async def _finished(self, command: Sequence[str], timeout_seconds: float) -> Finished:
        try:
            return await run_program(
                command, timeout_seconds=timeout_seconds, environment=self._environment
            )
        except ProgramFailed as error:
            raise NotInstallable(f"cannot run {' '.join(command)}: {error}") from error

    def start(self, plan: Plan, say: Say, timeout_seconds: float) -> float:
        """Start or restart the service; return after how many seconds it was ready, 0 if that cannot be known.

        What it logs meanwhile goes to `say`. Raises NotInstallable.
        """
        return asyncio.run(self._started(plan, say, timeout_seconds))

    async def _started(self, plan: Plan, say: Say, timeout_seconds: float) -> float:
        log = ServiceLog(self, plan.name, self._clock.now().timestamp())
        began = time.monotonic()
        tasks = TaskSet()
        starting = tasks.start(self._attempt(plan, timeout_seconds, log), name="start")
        try:
            while not (await asyncio.wait({starting}, timeout=TICK_SECONDS))[0]:
                for line in await log.news():
                    say(line)
            done: Finished | NotInstallable = await starting
        finally:
            await tasks.stop()
        if isinstance(done, NotInstallable):
            raise done
        if done.code:
            for line in await log.last():
                say(line)
            raise NotInstallable(
                f"{plan.name} does not start, and is tried again and again: {_reason(done)}; see {log.command}"
            )
        return time.monotonic() - began if self.manager is Manager.SYSTEMD else 0.0

    async def _attempt(
        self, plan: Plan, timeout_seconds: float, log: "ServiceLog"
    ) -> Finished | NotInstallable:
        try:
            return await run_program(
                plan.start, timeout_seconds=timeout_seconds, environment=self._environment
            )
        except ProgramTooSlow:
            return NotInstallable(
                f"{plan.name} is not ready after {timeout_seconds:.0f} s, and goes on trying; see {log.command}"
            )
        except ProgramFailed as error:
            return NotInstallable(f"cannot run {' '.join(plan.start)}: {error}")

    def stop(self, kind: str) -> None:
        """Stop a service and keep it from being started. Raises NotInstallable."""
        for command in stop_commands(kind, self.manager):
            now = [word for word in command if self.is_booted or word != "--now"]
            self._run(now, STOP_SECONDS)

    def remove(self, installed: Installed, say: Say) -> None:
        """Remove the files of a service that is stopped. Raises NotInstallable."""
        manager = self.manager
        link = self._at(LINK)
        if link.is_symlink() and os.fspath(link.readlink()) in installed.command:
            self._unlink(LINK, say)
        shutil.rmtree(self._at(systemd.CACHE_FOLDER), ignore_errors=True)
        with suppress(OSError):  # a configuration is in it
            self._at(CONFIG_FOLDER).rmdir()
        for path in places(installed.kind, manager).own:
            temporary_of(self._at(path)).unlink(missing_ok=True)
            self._unlink(path, say)
        if self.is_booted:
            for command in forget_commands(installed.kind, manager):
                with suppress(NotInstallable):
                    self._run(command)

    def _unlink(self, path: Path, say: Say) -> None:
        try:
            self._at(path).unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise NotInstallable(f"cannot remove {path}: {error.strerror}") from error
        say(f"removed {path}")

    def words(self, kind: str) -> Sequence[str]:
        """Return words about what else on this machine may be in the way."""
        found = []
        if "ENABLED=yes" in (self._read(Path("/etc/ufw/ufw.conf")) or ""):
            found.append("ufw is enabled: see ufw allow in docs/install.md")
        if self._at(Path("/run/firewalld")).is_dir():
            found.append("firewalld runs: see firewall-cmd in docs/install.md")
        if (self._read(Path("/sys/fs/selinux/enforce")) or "").strip() == "1":
            found.append("SELinux enforces: see SELinux in docs/install.md")
        other = next(each for each in KINDS if each != kind)
        if self.installed(other) is not None:
            found.append(f"the {other} that is installed here too is stopped while the {kind} runs")
        return found


class ServiceLog:
    """What a service logs since a moment."""

    def __init__(self, machine: Machine, name: str, since: float) -> None:
        self._machine = machine
        self._name = name
        self._since = since
        self._told = 0

    @property
    def command(self) -> str:
        """What a user runs to read it."""
        if self._machine.manager is Manager.SYSTEMD:
            return f"journalctl -u {self._name}"
        return str(openrc.LOG_FOLDER / f"{self._name}.log")

    async def last(self) -> Sequence[str]:
        """Return the last lines."""
        return (await self._lines())[-LOG_LINES:]

    async def news(self) -> Sequence[str]:
        """Return the lines that were not returned yet."""
        lines = await self._lines()
        told, self._told = self._told, len(lines)
        return lines[told:]

    async def _lines(self) -> Sequence[str]:
        if self._machine.manager is not Manager.SYSTEMD:
            return ()
        asks = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--unit={self._name}"]
        asks += [f"--since=@{self._since:.0f}", f"--identifier={systemd.IDENTIFIER}"]
        with suppress(NotInstallable):
            done = await self._machine._finished(asks, COMMAND_SECONDS)  # noqa: SLF001 - one module
            return done.output.decode(errors="replace").splitlines()
        return ()


def _reason(done: Finished) -> str:
    text = (done.errors or done.output).decode(errors="replace")
    return " ".join(text.split()) or f"exit code {done.code}"
