"""What a joined machine keeps on disk: keys, certificates, the CA, and what it last knew of its cluster.

Everything is below ``agent/`` of the data folder. Keys are made here, never leave the machine and have mode 0600; the
node's key stays for the life of the node, since it is the machine's identity. Files are replaced atomically. All of it
blocks, so call it in a thread.
"""

import fcntl
import logging
import os
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from kubelite.api.auth.certificates import UNREADABLE, key_pem, new_key, read_key
from kubelite.api.auth.secret_files import PUBLIC_MODE, make_folder, write_file
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


class AgentFiles:
    """The agent's part of a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pki = folder / "pki"

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

    def ensure_key(self, leaf: Leaf) -> ec.EllipticCurvePrivateKey:
        """Return the key of a certificate; make it if there is none. Raises OSError, ValueError, TypeError."""
        path = self.key_path(leaf)
        try:
            return read_key(path.read_bytes())
        except FileNotFoundError:
            write_file(path, key_pem(new_key()))
            return read_key(path.read_bytes())

    def certificate(self, leaf: Leaf) -> x509.Certificate | None:
        """Return a certificate; None if there is none for the key."""
        try:
            certificate = x509.load_pem_x509_certificate(self.path(leaf).read_bytes())
            key = read_key(self.key_path(leaf).read_bytes())
        except FileNotFoundError:
            return None
        except (TypeError, *UNREADABLE) as error:
            log.warning(
                "certificate unreadable", extra={"certificate": leaf.name, "error": str(error)}
            )
            return None
        return certificate if certificate.public_key() == key.public_key() else None

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
