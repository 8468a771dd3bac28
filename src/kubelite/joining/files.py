"""What a joined machine keeps on disk: keys, certificates, the CA, and what it last knew of its cluster.

Everything is below ``agent/`` of the data folder. Keys are made here, never leave the machine and have mode 0600; the
node's key stays for the life of the node, since it is the machine's identity. Files are replaced atomically. All of it
blocks, so call it in a thread.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from kubelite.api.auth.secret_files import PUBLIC_MODE, make_folder, write_file
from kubelite.joining.keys import (
    Answer,
    Certificate,
    CertificateUnreadable,
    FileUnusable,
    KeyProgram,
    Keys,
    KeyUnusable,
    Read,
    Signed,
    SignRequest,
    Subject,
)
from kubelite.joining.settings import ClusterInfo

log = logging.getLogger(__name__)

LOCK_FILE = "agent.lock"


class Leaf(Struct, frozen=True):
    """A certificate of the node, and the name of its key."""

    name: str
    key: str


CLIENT = Leaf("client", "node")  # the node towards the API server
SERVING = Leaf("serving", "node")  # the node's own HTTPS endpoint
NETWORK = Leaf("network", "network")  # the service proxy, DNS and routes towards the API server
LEAVES = (CLIENT, SERVING, NETWORK)


class Joined(Struct, frozen=True):
    """What the machine knew of its cluster when it last reached it."""

    servers: tuple[str, ...]  # URLs, in the order to try them
    node_name: str
    cluster: ClusterInfo


class AlreadyRuns(Exception):
    """Another agent runs on the same data folder."""


class KeyDamaged(ValueError):
    """A key cannot be used; the message says why."""


class AgentFiles:
    """The agent's part of a data folder."""

    def __init__(self, folder: Path, keys: Keys | None = None) -> None:
        """`keys` works with what the files of keys and certificates hold; a `KeyProgram` by default."""
        self.folder = folder
        self.pki = folder / "pki"
        self.keys = keys or KeyProgram()

    @property
    def has_joined(self) -> bool:
        """Whether an agent has run on this folder."""
        return (self.folder / LOCK_FILE).is_file()

    def prepare(self) -> None:
        """Create the folders. Raises OSError."""
        make_folder(self.folder)
        make_folder(self.pki)

    def lock(self) -> int:
        """Return a descriptor that holds the folder until it is closed. Raises AlreadyRuns, OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.folder / LOCK_FILE, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRuns(f"cannot use {self.folder}: an agent runs on it") from None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def key_path(self, leaf: Leaf) -> Path:
        """Return the file of a certificate's key."""
        return self.pki / f"{leaf.key}.key"

    def path(self, leaf: Leaf) -> Path:
        """Return the file of a certificate and its chain."""
        return self.pki / f"{leaf.name}.crt"

    @property
    def ca_path(self) -> Path:
        """The file of the cluster's CA certificates."""
        return self.pki / "ca.crt"

    @asynccontextmanager
    async def using_keys(self) -> AsyncIterator[None]:
        """Have one process answer all that is asked of keys and certificates meanwhile. Raises OSError."""
        await asyncio.to_thread(self.keys.begin)
        try:
            yield
        finally:
            await asyncio.shield(asyncio.to_thread(self.keys.end))

    def signing_request(self, leaf: Leaf, subject: Subject) -> bytes:
        """Return a request for a certificate in PEM; make its key if there is none. Raises OSError, KeyDamaged."""
        answer = _possible(self.keys.ask(SignRequest(str(self.key_path(leaf)), subject)))
        assert isinstance(answer, Signed)
        return answer.pem

    def read_certificate(self, leaf: Leaf, pem: bytes) -> Certificate | None:
        """Return what a certificate says; None if it is for another key.

        Raises OSError, KeyDamaged, and ValueError if there is none in `pem`.
        """
        answer = _possible(self.keys.ask(Read(str(self.key_path(leaf)), pem)))
        if isinstance(answer, CertificateUnreadable):
            raise ValueError(answer.reason)  # noqa: TRY004 - the content is wrong, not a type
        return answer if isinstance(answer, Certificate) else None

    def certificate(self, leaf: Leaf) -> Certificate | None:
        """Return what the certificate on disk says; None if there is none for the key."""
        try:
            pem = self.path(leaf).read_bytes()
            self.key_path(leaf).stat()
            return self.read_certificate(leaf, pem)
        except FileNotFoundError:
            return None
        except ValueError as error:
            log.warning(
                "certificate unreadable", extra={"certificate": leaf.name, "error": str(error)}
            )
            return None

    def write_certificate(self, leaf: Leaf, pem: bytes) -> None:
        """Replace a certificate. Raises OSError."""
        write_file(self.path(leaf), pem, mode=PUBLIC_MODE)

    def read_ca(self) -> bytes:
        """Return the cluster's CA certificates; empty if there are none."""
        try:
            return self.ca_path.read_bytes()
        except FileNotFoundError:
            return b""

    def write_ca(self, pem: bytes) -> None:
        """Replace the cluster's CA certificates. Raises OSError."""
        if pem != self.read_ca():
            write_file(self.ca_path, pem, mode=PUBLIC_MODE)

    def read_joined(self) -> Joined | None:
        """Return what was last known of the cluster; None if nothing readable is there."""
        try:
            return msgspec.json.decode((self.folder / "joined.json").read_bytes(), type=Joined)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def write_joined(self, joined: Joined) -> None:
        """Remember what is known of the cluster. Raises OSError."""
        if joined != self.read_joined():
            write_file(self.folder / "joined.json", msgspec.json.encode(joined))


def _possible(answer: Answer) -> Answer:
    """Return an answer to what could be done. Raises OSError, KeyDamaged."""
    if isinstance(answer, FileUnusable):
        raise OSError(answer.number, os.strerror(answer.number), answer.path)
    if isinstance(answer, KeyUnusable):
        raise KeyDamaged(answer.reason)
    return answer
