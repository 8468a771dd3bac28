"""Reads the static pods of a manifest folder and follows its changes.

A file that cannot be used is no pod: it is logged, once for each state of the file. The path may also be a single file.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from kubelite.api.errors import APIError
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.folder_watch import FolderWatch
from kubelite.limits import MANIFEST, MANIFEST_FOLDER_NAMES, MANIFESTS
from kubelite.node.pods import pod_key
from kubelite.node.static_pods import mark_static
from kubelite.node.untrusted_files import read_up_to
from kubelite.offload import Offload

log = logging.getLogger(__name__)

FOLDER_MODE = 0o700
RETRY_SECONDS = 20.0  # upstream's period of reading the folder anew; here only after a failure
YAML_COST = 100  # passes over JSON that take as long as reading YAML

# Gives a pod its defaults and checks it. Raises ValueError with the reason why the pod cannot be used.
CompletePod = Callable[[dict[str, Any]], Pod]
StaticListener = Callable[[Pod | None, Pod | None], None]


class _File(Struct, frozen=True):
    """The content of a manifest and the state of the file that it was read from."""

    state: tuple[int, ...]
    data: bytes = b""
    error: str = ""


class ManifestFolder:
    """The static pods of a node. `run` keeps `pods` true and calls the listener with each change."""

    def __init__(
        self,
        path: Path,
        node_name: str,
        complete: CompletePod,
        clock: Clock,
        offload: Offload,
    ) -> None:
        self._path = path
        self._node_name = node_name
        self._complete = complete
        self._clock = clock
        self._offload = offload
        self._news = asyncio.Event()
        self._known: dict[str, tuple[_File, Pod | None]] = {}  # by the name of the file
        self._complaint = ""
        self._watch: FolderWatch | None = None
        self.pods: dict[str, Pod] = {}  # by namespace/name

    @property
    def _folder(self) -> Path:
        return self._path.parent if self._path.is_file() else self._path

    async def run(self, listener: StaticListener, read: Callable[[], None]) -> None:
        """Follow the folder until cancelled; `read` is called once after the first reading."""
        try:
            while True:
                self._news.clear()
                is_followed = await self._follow()
                self._update(await self._present(), listener)
                read()
                try:
                    async with asyncio.timeout(None if is_followed else RETRY_SECONDS):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            if self._watch is not None:
                self._watch.close()

    async def _follow(self) -> bool:
        """Watch the folder, made if it is missing, before it is read; return whether changes will be told."""
        if self._watch is not None and self._watch.is_open:
            return True
        try:
            await asyncio.to_thread(self._make)
            self._watch = FolderWatch(self._folder, self._news.set)
            self._watch.open()
        except OSError as error:
            self._complain(f"cannot follow the folder of static pods: {error}")
            return False
        self._complaint = ""
        return True

    def _make(self) -> None:
        if not self._path.is_file():
            self._path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            log.warning("%s", text)
        self._complaint = text

    def _update(self, pods: dict[str, Pod], listener: StaticListener) -> None:
        before, self.pods = self.pods, pods
        for key in before.keys() | pods.keys():
            old, new = before.get(key), pods.get(key)
            if old is None or new is None or old.metadata.uid != new.metadata.uid:
                listener(old, new)

    async def _present(self) -> dict[str, Pod]:
        """Return the pods that the files are now, by namespace/name; of two with one name the last file's."""
        unsettled = frozenset(self._watch.unsettled) if self._watch is not None else frozenset()
        known = {name: file for name, (file, _) in self._known.items()}
        try:
            files = await asyncio.to_thread(_read_all, self._path, known, unsettled)
        except OSError as error:
            self._complain(f"cannot read the folder of static pods: {error}")
            files = {}
        present = {}
        for name, file in files.items():
            present[name] = await self._parsed(name, file)
        self._known = present
        pods: dict[str, Pod] = {}
        for name, (_, pod) in present.items():
            if pod is None:
                continue
            if pod_key(pod) in pods:
                log.warning("two manifests are one static pod", extra={"file": name})
            pods[pod_key(pod)] = pod
        return pods

    async def _parsed(self, name: str, file: _File) -> tuple[_File, Pod | None]:
        known = self._known.get(name)
        if known is not None and known[0] == file:
            return known
        if file.error:
            log.warning("cannot use manifest: %s", file.error, extra={"file": name})
            return file, None
        try:
            pod = await self._offload.run(
                len(file.data) * YAML_COST, lambda: self._pod(name, file.data)
            )
        except (ValueError, APIError) as error:
            log.warning("cannot use manifest: %s", error, extra={"file": name})
            return file, None
        return file, pod

    def _pod(self, name: str, data: bytes) -> Pod:
        # PyYAML takes 2 MB, which a node without static pods does not need.
        from kubelite.api.machinery.yaml_reading import read_yaml

        path = str(self._folder / name)
        seen = format_time(self._clock.now())
        return self._complete(mark_static(read_yaml(data).value, path, self._node_name, seen))


def _read_all(path: Path, known: dict[str, _File], unsettled: frozenset[str]) -> dict[str, _File]:
    """Return the manifests by name, in order; one that is being written is as it was. Blocking; raises OSError."""
    if path.is_file():
        names = [path.name]
        path = path.parent
    else:
        with os.scandir(path) as entries:
            names = [one.name for one in islice(entries, MANIFEST_FOLDER_NAMES.value)]
        if len(names) == MANIFEST_FOLDER_NAMES.value:
            MANIFEST_FOLDER_NAMES.reached()
    names = sorted(name for name in names if not name.startswith("."))
    if len(names) > MANIFESTS.value:
        MANIFESTS.reached()
        names = names[: MANIFESTS.value]
    found = {}
    for name in names:
        if name in unsettled:
            if name in known:
                found[name] = known[name]
        elif (file := _read(path / name, known.get(name))) is not None:
            found[name] = file
    return found


def _read(path: Path, known: _File | None) -> _File | None:
    """Return a manifest, as known if the file has not changed; None if it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _File((), error=error.strerror or "cannot be opened")
    try:
        found = os.fstat(descriptor)
        state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if not stat.S_ISREG(found.st_mode):
            return _File(state, error="it is no file")
        if known is not None and known.state == state:
            return known
        data = read_up_to(descriptor, MANIFEST.value + 1)
    except OSError as error:
        return _File((), error=error.strerror or "cannot be read")
    finally:
        os.close(descriptor)
    if len(data) > MANIFEST.value:
        MANIFEST.reached()
        return _File(state, error=f"it is larger than {MANIFEST.value} bytes")
    return _File(state, data)
