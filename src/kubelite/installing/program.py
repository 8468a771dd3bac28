"""Where the program lies that a service manager is to start, in each form in which kubelite is shipped.

These are the entry point that pip makes, in a virtual environment or not; `python -m kubelite`; a zip application; and
a single file that is its own interpreter. A place that does not outlive a boot, or in which any user could put another
program, is refused.
"""

import os
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from msgspec import Struct

import kubelite
from kubelite.installing.refusal import NotInstallable

MODULE: Final = "kubelite"
LINK: Final = Path("/usr/local/bin/kubelite")  # made where no shell finds the program
# Emptied by a boot or by age, or no storage at all.
VANISHING: Final = ("/tmp", "/var/tmp", "/run", "/var/run", "/dev", "/proc", "/sys")  # noqa: S108 - not written to
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


class Started(Struct, frozen=True, kw_only=True):
    """How this process was started."""

    argument: str  # the first one, which names a script, a zip application or a module's file
    interpreter: str
    is_frozen: bool  # the interpreter is the program
    is_zip: bool
    package: str  # folder in which the package lies
    search_path: tuple[str, ...]  # folders that only this process looks for packages in
    working_folder: str


class Program(Struct, frozen=True):
    """How a service manager starts the program."""

    arguments: tuple[str, ...]  # before those of kubelite; the first one is an absolute path
    forks: bool = False  # a process of its own is between the service manager and the program
    unpacks: bool = False  # it needs a folder to unpack itself into

    @property
    def files(self) -> tuple[str, ...]:
        """The files among the arguments."""
        return tuple(text for text in self.arguments if text.startswith("/"))

    @property
    def command(self) -> str:
        """What a user runs: the last file, if it runs by itself; "" if it does not."""
        return self.arguments[-1] if self.arguments[-1].startswith("/") else ""


class Place(Struct, frozen=True):
    """A file or folder on the way to the program."""

    path: str
    mode: int
    owner: int


def locate(started: Started) -> Program:
    """Return how to start the program that runs in this process. Raises NotInstallable."""
    if started.is_frozen:
        return Program((_absolute(started.interpreter, started),), forks=True)
    argument = _absolute(started.argument, started)
    if started.is_zip:
        return Program((_absolute(started.interpreter, started), argument), unpacks=True)
    for folder in started.search_path:
        if _absolute(folder or ".", started) == started.package:
            raise NotInstallable(
                f"cannot install: kubelite runs from {started.package}, which only PYTHONPATH or the working "
                f"folder names; install the package first, with pip for one"
            )
    if PurePosixPath(argument).name == "__main__.py":
        return Program((_absolute(started.interpreter, started), "-m", MODULE))
    return Program((argument,))


def _absolute(path: str, started: Started) -> str:
    # Links stay: the interpreter of a virtual environment is one, and a link to the newest version is to be followed
    # at each start.
    return os.path.normpath(PurePosixPath(started.working_folder, path))


def require_lasting(paths: Iterable[str], mounts: str) -> None:
    """Raise NotInstallable if a path lies in a place that goes away. `mounts` is the text of /proc/self/mounts."""
    in_memory = [point for point, kind in _mounts(mounts) if kind in IN_MEMORY and point != "/"]
    for path in paths:
        for folder in (*VANISHING, *in_memory):
            if PurePosixPath(path).is_relative_to(folder):
                raise NotInstallable(
                    f"cannot install {path}: what is in {folder} goes away; move it, to /usr/local/bin for one, "
                    "and run it from there"
                )


def _mounts(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 2:
            yield fields[1].encode().decode("unicode_escape"), fields[2]


def require_guarded(places: Sequence[Place]) -> Sequence[str]:
    """Return warnings of users who could replace the program; raise NotInstallable if any user could.

    The service manager starts it as root.
    """
    warnings = []
    for place in places:
        if place.mode & 0o002:
            raise NotInstallable(
                f"cannot install: any user may change {place.path}, and with it what root is to run; "
                f"see chmod o-w {place.path}"
            )
        if place.owner != 0:
            warnings.append(
                f"user {place.owner} owns {place.path}, and so can change what root is to run"
            )
    return warnings[:1]


def read_started() -> Started:
    """Return how this process was started. Blocks."""
    argument = _without_own_link(sys.argv[0])
    own = os.environ.get("PYTHONPATH", "")
    return Started(
        argument=argument,
        interpreter=sys.executable,
        is_frozen=bool(getattr(sys, "frozen", False)),
        is_zip=zipfile.is_zipfile(argument) if Path(argument).is_file() else False,
        package=str(Path(kubelite.__file__).parents[1]),
        search_path=(*(own.split(os.pathsep) if own else ()), ""),
        working_folder=str(Path.cwd()),
    )


def _without_own_link(argument: str) -> str:
    """Return what the link leads to that an installation has made, if that was run: it goes with the installation."""
    path = Path(argument)
    if path == LINK and path.is_symlink():
        return os.fspath(path.parent / path.readlink())
    return argument


def read_places(paths: Iterable[str]) -> Sequence[Place]:
    """Return the files and all folders above them, links followed. Blocks; raises OSError."""
    places: dict[str, Place] = {}
    for path in paths:
        for given in (Path(path), Path(path).resolve()):
            for each in (given, *given.parents):
                status = each.stat()
                places[str(each)] = Place(str(each), status.st_mode, status.st_uid)
    return list(places.values())
