"""The names under /var/log by which log collectors find the output of containers.

As the kubelet has it: ``pods/NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log`` is the file to which an engine of the CRI
writes, and ``containers/NAME_NAMESPACE_CONTAINER-ID.log`` leads to it. Docker keeps its own file, to which the first is
a link then. Only names are made and removed, relative to open folders: nothing is ever read through a link, and a pod
that has the host's /var/log mounted gains nothing by turning one.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

from kubelite.node.runtime import ContainerRecord, ContainerSpec
from kubelite.node.untrusted_files import is_name, names_in, opened_below, opened_folder, remove

log = logging.getLogger(__name__)

PODS, CONTAINERS = "pods", "containers"
FOLDER_MODE = 0o755
NAMES_MAX = (
    100_000  # names read of a folder, since a pod with the host's /var/log can make any number
)


class PodLogs(Protocol):
    """Makes the output of containers known to log collectors; nothing here fails its caller."""

    async def add(self, records: Iterable[ContainerRecord]) -> None:
        """Show the output of containers."""
        ...

    async def remove(self, record: ContainerRecord) -> None:
        """Show that of a container no more."""
        ...

    async def remove_pod(self, pod_uid: str) -> None:
        """Show nothing of a pod any more."""
        ...


class NoLogs:
    """Makes no links, as on simulated nodes."""

    async def add(self, records: Iterable[ContainerRecord]) -> None:
        """Do nothing."""

    async def remove(self, record: ContainerRecord) -> None:
        """Do nothing."""

    async def remove_pod(self, pod_uid: str) -> None:
        """Do nothing."""


class LogLinks:
    """Links in folders of the host."""

    def __init__(self, root: Path) -> None:
        """`root` is the host's folder for logs; no container can write to those above it."""
        self._root = root
        self._warned: set[int] = set()  # numbers of the errors that the log already has

    async def add(self, records: Iterable[ContainerRecord]) -> None:
        """Make the links of containers, also in place of wrong ones."""
        shown = [one for one in records if one.log_path and not one.is_sandbox]
        if shown:
            await self._try(lambda: self._add_all(shown))

    async def remove(self, record: ContainerRecord) -> None:
        """Remove the links of a container."""
        if not record.is_sandbox:
            await self._try(lambda: self._remove(record))

    async def remove_pod(self, pod_uid: str) -> None:
        """Remove all links of a pod."""
        assert pod_uid, "an empty uid would name the links of all pods"
        await self._try(lambda: self._remove_pod(pod_uid))

    async def remove_folders(self) -> None:
        """Remove the folders of the links if they are empty: others may keep theirs there too."""
        await self._try(self._remove_folders)

    async def _try(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(work)
        except FileNotFoundError:
            return
        except OSError as error:
            number = error.errno or 0
            level = logging.DEBUG if number in self._warned else logging.WARNING
            self._warned.add(number)
            reason = error.strerror or str(error)
            log.log(level, "cannot keep links to logs: %s", reason, extra={"folder": self._root})

    @contextmanager
    def _opened(self, *names: str, make: bool = False) -> Iterator[int]:
        if make:
            self._root.mkdir(parents=True, exist_ok=True)
        with (
            opened_folder(self._root.resolve()) as root,
            opened_below(names, root, FOLDER_MODE if make else None) as folder,
        ):
            yield folder

    def _add_all(self, records: Iterable[ContainerRecord]) -> None:
        failure: OSError | None = None
        for record in records:
            try:
                self._add(record)
            except OSError as error:  # as of a name that is too long for a file
                failure = error
        if failure is not None:
            raise failure

    def _add(self, record: ContainerRecord) -> None:
        folder, file = pod_folder(record), f"{record.attempt}.log"
        if not (is_name(folder) and is_name(record.name)):
            return
        if not is_own(record, self._root):
            with self._opened(PODS, folder, record.name, make=True) as place:
                _link(record.log_path, file, place)
        with self._opened(CONTAINERS, make=True) as place:
            target = self._root / PODS / folder / record.name / file
            _link(str(target), container_link(record), place)

    def _remove(self, record: ContainerRecord) -> None:
        with suppress(FileNotFoundError), self._opened(CONTAINERS) as place:
            _unlink(container_link(record), place)
        folder = pod_folder(record)
        if is_name(folder) and is_name(record.name):
            with self._opened(PODS, folder, record.name) as place:
                if is_own(record, self._root):
                    _remove_files(f"{record.attempt}.log", place)
                else:
                    _unlink(f"{record.attempt}.log", place)

    def _remove_pod(self, pod_uid: str) -> None:
        with self._opened(PODS) as pods:
            names = islice(names_in(pods), NAMES_MAX)
            folders = [name for name in names if name.endswith(f"_{pod_uid}")]
            for folder in folders:
                remove(folder, pods)
        with self._opened(CONTAINERS) as containers:
            for folder in folders:
                namespace, _, rest = folder.partition("_")
                name = rest.removesuffix(f"_{pod_uid}")
                begin, lead = f"{name}_{namespace}_", f"{self._root / PODS / folder}/"
                names = islice(names_in(containers), NAMES_MAX)
                for link in [one for one in names if one.startswith(begin)]:
                    if _target(link, containers).startswith(lead):
                        _unlink(link, containers)

    def _remove_folders(self) -> None:
        with self._opened() as root:
            for name in (PODS, CONTAINERS):
                try:
                    os.rmdir(name, dir_fd=root)
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.ENOTDIR):
                        raise


def pod_folder(record: ContainerRecord | ContainerSpec) -> str:
    """Return the name of a pod's folder; no part of it holds an underscore, so it can be taken apart again."""
    return f"{record.namespace}_{record.pod_name}_{record.pod_uid}"


def log_file(root: Path, record: ContainerRecord | ContainerSpec) -> Path:
    """Return the file of a container's output below the host's folder for logs, as engines of the CRI are given it."""
    return root / PODS / pod_folder(record) / record.name / f"{record.attempt}.log"


def is_own(record: ContainerRecord, root: Path) -> bool:
    """Return whether the engine writes a container's output where the node has told it, and leaves its files to it."""
    return record.log_path == str(log_file(root, record))


def container_link(record: ContainerRecord) -> str:
    """Return the name by which collectors know a container: its pod, namespace, name and id are read from it."""
    return f"{record.pod_name}_{record.namespace}_{record.name}-{record.id}.log"


def _target(name: str, at: int) -> str:
    """Return where a link says that it leads; "" if it is no link."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError:
        return ""


def _link(target: str, name: str, at: int) -> None:
    """Make a link; in place of another link, never of anything else."""
    try:
        os.symlink(target, name, dir_fd=at)
    except FileExistsError:
        known = _target(name, at)
        if known == target:
            return
        if not known:
            raise
        os.unlink(name, dir_fd=at)
        os.symlink(target, name, dir_fd=at)


def _remove_files(name: str, at: int) -> None:
    """Remove a log's file with those that were rotated away from it."""
    names = islice(names_in(at), NAMES_MAX)
    for other in [one for one in names if one == name or one.startswith(f"{name}.")]:
        with suppress(FileNotFoundError):
            os.unlink(other, dir_fd=at)


def _unlink(name: str, at: int) -> None:
    """Remove a link, if it is one."""
    if _target(name, at):
        try:
            os.unlink(name, dir_fd=at)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
