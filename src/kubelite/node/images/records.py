"""What a node remembers of its pulls: which images it pulled itself, and with whose logins.

An image on the disk is no proof that a pod may use it. The records tell the logins that have pulled it, so that others
are verified by a pull of their own. Files and their content are the kubelet's (``image_manager/pulled`` and
``pulling``, kubelet.config.k8s.io/v1beta1). The logins themselves are not kept: hashes, and names of Secrets and
service accounts.

An intent is on the disk before its pull begins. If the node ends in between, the image counts as pulled by it, with
logins unknown.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.limits import PULL_RECORD, PULL_RECORDS
from kubelite.node.images.names import full_name
from kubelite.node.runtime import Image

log = logging.getLogger(__name__)

API_VERSION = "kubelet.config.k8s.io/v1beta1"
KNOWN_VERSIONS = frozenset({API_VERSION, "kubelet.config.k8s.io/v1alpha1"})
PREFIX = "sha256-"


class SecretAccess(Struct, frozen=True, rename="camel"):
    """A pull secret that has pulled an image."""

    uid: str
    namespace: str
    name: str
    credential_hash: str = ""


class AccountAccess(Struct, frozen=True, order=True):
    """A service account by whose token an image was pulled."""

    namespace: str
    name: str
    uid: str


class Access(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Who may use an image under one name without another pull."""

    kubernetes_secrets: tuple[SecretAccess, ...] = ()
    kubernetes_service_accounts: tuple[AccountAccess, ...] = ()
    node_pods_accessible: bool = False  # every pod: it was pulled without a login, or by the node's


class PulledRecord(Struct, frozen=True, rename="camel"):
    """The record of an image that this node pulled."""

    kind: Literal["ImagePulledRecord"]
    apiVersion: str  # noqa: N815 - as on the wire
    last_updated_time: str
    image_ref: str  # the image's id
    credential_mapping: dict[str, Access] = {}  # by the name in the pod, without tag and digest


class PullIntent(Struct, frozen=True, rename="camel"):
    """The record of a pull that has begun."""

    kind: Literal["ImagePullIntent"]
    apiVersion: str  # noqa: N815 - as on the wire
    image: str


R = TypeVar("R", PulledRecord, PullIntent)


class PullRecords:
    """The records of one node, in memory and, with a folder, on the disk. `load` reads those of an earlier run."""

    def __init__(self, clock: Clock, folder: Path | None = None) -> None:
        """Without a folder nothing survives the process."""
        self._clock = clock
        self._pulled_files = _Files(folder / "pulled" if folder else None)
        self._intent_files = _Files(folder / "pulling" if folder else None)
        self._pulled: dict[str, PulledRecord] = {}  # by image id, the newest last
        self._intents: dict[
            str, int
        ] = {}  # pulls in flight, by the image's name; 0: of an earlier run
        self._writing = asyncio.Lock()
        self.loaded = (
            asyncio.Event()
        )  # until then images that were pulled look as if they were preloaded
        if folder is None:
            self.loaded.set()

    async def load(self, images: Collection[Image]) -> None:
        """Read what an earlier run left; its pulls that have ended count as pulled, with logins unknown."""
        for record in await self._pulled_files.read(PulledRecord, lambda record: record.image_ref):
            self._pulled.setdefault(record.image_ref, record)
        for intent in await self._intent_files.read(PullIntent, lambda intent: intent.image):
            self._intents.setdefault(intent.image, 0)
            wanted = full_name(intent.image)
            found = next((i for i in images if wanted in map(full_name, i.names)), None)
            if found is not None and self._intents[intent.image] == 0:
                await self._write(found.id, {})
                await self._end_intent(intent.image)
        self.loaded.set()

    def record(self, image_id: str) -> PulledRecord | None:
        """Return the record of an image; None if this node has not pulled it."""
        return self._pulled.get(image_id)

    def was_pulled(self, image: str, image_id: str) -> bool:
        """Return whether this node pulled an image, or is about to, by its name or its id."""
        return image_id in self._pulled or image in self._intents

    async def begin(self, image: str) -> None:
        """Record that a pull begins. Raises OSError."""
        intent = PullIntent("ImagePullIntent", API_VERSION, image)
        async with self._writing:
            await self._intent_files.write(image, msgspec.json.encode(intent))
            self._intents[image] = self._intents.get(image, 0) + 1

    async def failed(self, image: str) -> None:
        """Record that a pull ended without an image."""
        with suppress(OSError):
            await self._end_intent(image)

    async def pulled(self, image: str, repository: str, image_id: str, access: Access) -> None:
        """Record who pulled an image. What cannot be written is logged, and leaves the intent standing."""
        try:
            await self.add(repository, image_id, access)
            await self._end_intent(image)
        except OSError as error:
            about = {"image": image, "reason": error.strerror}
            log.warning("cannot record who pulled an image", extra=about)

    async def add(self, repository: str, image_id: str, access: Access) -> None:
        """Record another access to an image. Raises OSError."""
        known = self._pulled.get(image_id)
        mapping = known.credential_mapping if known is not None else {}
        merged = merge(mapping.get(repository), access)
        if known is None or mapping.get(repository) != merged:
            await self._write(image_id, {**mapping, repository: merged})

    async def prune(self, present: Collection[str], since: str) -> None:
        """Drop the records of images that are gone, but those that changed after the date `since`. Raises OSError."""
        for image_id in [*self._pulled]:
            record = self._pulled.get(image_id)
            if image_id in present or record is None or record.last_updated_time >= since:
                continue
            del self._pulled[image_id]
            async with self._writing:
                await self._pulled_files.remove(image_id)

    async def _write(self, image_id: str, mapping: dict[str, Access]) -> None:
        date = format_time(self._clock.now())
        record = PulledRecord("ImagePulledRecord", API_VERSION, date, image_id, mapping)
        self._pulled.pop(image_id, None)
        self._pulled[image_id] = record
        async with self._writing:
            await self._pulled_files.write(image_id, msgspec.json.encode(record))
        if len(self._pulled) > PULL_RECORDS.value:
            PULL_RECORDS.reached()
            oldest = next(iter(self._pulled))
            del self._pulled[oldest]
            async with self._writing:
                await self._pulled_files.remove(oldest)

    async def _end_intent(self, image: str) -> None:
        left = self._intents.get(image, 0) - 1
        if left > 0:
            self._intents[image] = left
            return
        self._intents.pop(image, None)
        async with self._writing:
            if image not in self._intents:  # another pull may have begun meanwhile
                await self._intent_files.remove(image)


def merge(known: Access | None, new: Access) -> Access:
    """Return the access of both; of one Secret the newer hash counts."""
    if known is None or new.node_pods_accessible:
        return new
    if known.node_pods_accessible:
        return known
    secrets = {(one.namespace, one.name, one.uid): one for one in known.kubernetes_secrets}
    secrets |= {(one.namespace, one.name, one.uid): one for one in new.kubernetes_secrets}
    accounts = {*known.kubernetes_service_accounts, *new.kubernetes_service_accounts}
    return Access(tuple(secrets[key] for key in sorted(secrets)), tuple(sorted(accounts)))


class _Files:
    """A folder of small files, each named by the hash of its key. Without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    async def read(self, form: type[R], key: Callable[[R], str]) -> list[R]:
        """Return the files that can be read; others are logged."""
        if self._folder is None:
            return []
        return await asyncio.to_thread(lambda: list(self._read(form, key)))

    def _read(self, form: type[R], key: Callable[[R], str]) -> Iterator[R]:
        assert self._folder is not None
        try:
            paths = [path for path in self._folder.iterdir() if path.name.startswith(PREFIX)]
        except OSError:
            return
        newest = sorted(paths, key=lambda path: path.stat().st_mtime_ns)[-PULL_RECORDS.value :]
        for path in newest:
            try:
                with path.open("rb") as opened:
                    text = opened.read(PULL_RECORD.value + 1)
                found = msgspec.json.decode(text, type=form)
            except (OSError, ValueError, RecursionError) as error:
                log.warning("cannot read a pull record", extra={"file": path, "reason": str(error)})
                continue
            if found.apiVersion in KNOWN_VERSIONS and path.name == _name(key(found)):
                yield found

    async def write(self, key: str, content: bytes) -> None:
        """Write a file, whole or not at all. Raises OSError."""
        if self._folder is not None:
            await asyncio.to_thread(self._write, self._folder / _name(key), content)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"new-{path.name}")
        with open(new, "wb", opener=_private) as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(path)

    async def remove(self, key: str) -> None:
        """Remove a file, if there is one. Raises OSError."""
        if self._folder is not None:
            await asyncio.to_thread((self._folder / _name(key)).unlink, missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _name(key: str) -> str:
    return PREFIX + hashlib.sha256(key.encode()).hexdigest()
