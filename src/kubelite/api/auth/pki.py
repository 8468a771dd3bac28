"""The cluster's keys and certificates on disk, and the TLS contexts made of them.

A leaf is one file, ``<name>.pem``: key, certificate, and the CA's cross certificate if there is one, so that replacing
it is atomic. ``ca.crt`` holds the current CA first and the retired ones after it; all are trusted. Everything here
blocks on the disk, so call it in a thread.
"""

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from kubelite.api.auth.caller import SYSTEM_MASTERS
from kubelite.api.auth.certificates import (
    SERVER_AUTH,
    Authority,
    Wanted,
    authority_hash,
    certificate_pem,
    common_name,
    cross_signed,
    issue,
    key_pem,
    new_authority,
    new_key,
    organizations,
    read_key,
    renewal_date,
    renewal_reason,
)
from kubelite.api.auth.secret_files import PUBLIC_MODE, make_folder, write_file
from kubelite.api.auth.tls import client_context, kubeconfig, server_context
from kubelite.clock import Clock, is_sane
from kubelite.randomness import Randomness

log = logging.getLogger(__name__)

CLOCK_LOOK_SECONDS = (
    1.0  # polled only while the clock is wrong, since no event reports that it was set
)
RENEWAL_LOOK = timedelta(
    hours=12
)  # loop time stands still while a machine is suspended, so check this often

CA, FRONT_PROXY_CA, SERVICE_ACCOUNT = "ca", "front-proxy-ca", "service-account"
SERVING, KUBELET_SERVING = "apiserver", "kubelet-serving"
ADMIN, KUBELET_CLIENT, FRONT_PROXY_CLIENT = (
    "admin",
    "apiserver-kubelet-client",
    "front-proxy-client",
)
# Made by earlier versions for components of this process, which need none. An unused key is only a risk, so delete it.
NEEDLESS = ("scheduler", "controller-manager", "node-client")


class ClockNotSet(Exception):
    """The machine's date is earlier than this release, so certificates made now would have wrong dates."""

    def __init__(self, now: datetime) -> None:
        super().__init__(
            f"cannot make certificates: the clock says {now:%Y-%m-%d}, which is in the past"
        )


class KeysDamaged(Exception):
    """The key and certificate of a CA are unreadable or do not match; nothing is replaced."""


class Leaf(Struct, frozen=True):
    """A certificate as `kubelite certificate list` shows it."""

    name: str
    subject: str
    groups: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    renewal: datetime
    is_authority: bool = False


async def wait_for_clock(clock: Clock) -> None:
    """Wait until the date is sane; log once that it waits."""
    if is_sane(clock.now()):
        return
    log.warning("waiting for the clock to be set", extra={"date": clock.now().isoformat()})
    while not is_sane(clock.now()):  # noqa: ASYNC110 - no event reports that the clock was set
        await asyncio.sleep(CLOCK_LOOK_SECONDS)
    log.info("the clock is set", extra={"date": clock.now().isoformat()})


def serving_names(domain: str, node_name: str, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the DNS names under which clients reach the API server."""
    service = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{domain}",
    )
    return (*service, "localhost", node_name, *extra)


def serving_addresses(
    service_address: str, node_addresses: Sequence[str], extra: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the IP addresses under which clients reach the API server; `service_address` is the first of the range."""
    return ("127.0.0.1", "::1", service_address, *node_addresses, *extra)


def wanted_leaves(
    node_name: str, names: Sequence[str], addresses: Sequence[str], services: Collection[str] = ()
) -> dict[str, tuple[str, Wanted]]:
    """Return the name of the CA and the content of each leaf, by leaf.

    `services` are the addresses of the API's Service, which the node's own certificate leaves out.
    """
    of_node = tuple(address for address in addresses if address not in services)
    masters = (SYSTEM_MASTERS,)
    serving = Wanted("kube-apiserver", (), tuple(names), tuple(addresses), (SERVER_AUTH,))
    kubelet = Wanted(
        f"system:node:{node_name}",
        ("system:nodes",),
        (node_name, "localhost"),
        of_node,
        (SERVER_AUTH,),
    )
    return {
        SERVING: (CA, serving),
        KUBELET_SERVING: (CA, kubelet),
        ADMIN: (CA, Wanted("kubernetes-admin", masters)),
        # No group: its only right is to the nodes' own endpoints, by a binding to system:kubelet-api-admin.
        KUBELET_CLIENT: (CA, Wanted("kube-apiserver-kubelet-client")),
        FRONT_PROXY_CLIENT: (FRONT_PROXY_CA, Wanted("front-proxy-client")),
    }


class Pki:
    """The keys and certificates of one server."""

    def __init__(self, directory: Path, clock: Clock, randomness: Randomness) -> None:
        self.directory = directory
        self._clock = clock
        self._randomness = randomness
        self._authorities: dict[str, Authority] = {}
        self._bundles: dict[str, list[x509.Certificate]] = {}
        self._wanted: dict[str, tuple[str, Wanted]] = {}
        self._leaves: dict[str, x509.Certificate] = {}
        self._renewing = threading.Lock()  # renewals and address changes run in different threads
        self._server_contexts: dict[str, ssl.SSLContext] = {}
        self._client_contexts: dict[str, ssl.SSLContext] = {}
        self.signing_keys: list[
            ec.EllipticCurvePrivateKey
        ] = []  # for tokens of service accounts; the first one signs

    @classmethod
    def ensure(
        cls,
        directory: Path,
        *,
        clock: Clock,
        randomness: Randomness,
        names: Sequence[str],
        addresses: Sequence[str],
        node_name: str,
        services: Collection[str] = (),
    ) -> "Pki":
        """Read the existing keys and certificates, and make those that are missing or due.

        Raises ClockNotSet (then nothing was made), KeysDamaged, OSError. See `serving_names` and `serving_addresses`.
        """
        if not is_sane(clock.now()):
            raise ClockNotSet(clock.now())
        pki = cls(directory, clock, randomness)
        make_folder(directory)
        for authority in (CA, FRONT_PROXY_CA):
            pki._ensure_authority(authority)
        pki._ensure_signing_key()
        for name in NEEDLESS:
            pki.path(name).unlink(missing_ok=True)
        pki.update(
            names=names,
            addresses=addresses,
            node_name=node_name,
            services=services,
        )
        return pki

    @classmethod
    def read(cls, directory: Path, *, clock: Clock, randomness: Randomness) -> "Pki":
        """Read the existing keys and certificates, beside a running server; raises KeysDamaged, OSError."""
        pki = cls(directory, clock, randomness)
        for authority in (CA, FRONT_PROXY_CA):
            if (directory / f"{authority}.crt").exists():
                pki._ensure_authority(authority)
        for path in sorted(directory.glob("*.pem")):
            if (leaf := pki._read_leaf(path.stem)) is not None:
                pki._leaves[path.stem] = leaf
        return pki

    def update(
        self,
        *,
        names: Sequence[str],
        addresses: Sequence[str],
        node_name: str,
        services: Collection[str] = (),
    ) -> list[str]:
        """Issue serving certificates with these names and addresses; return the leaves issued. Raises as `renew`."""
        self._wanted = wanted_leaves(node_name, names, addresses, services)
        return self.renew()

    def renew(self, *, force: bool = False) -> list[str]:
        """Issue the leaves that are due (with `force` all) and return their names; open connections keep the old ones.

        Raises ClockNotSet, OSError.
        """
        now = self._clock.now()
        if not is_sane(now):
            raise ClockNotSet(now)
        with self._renewing:
            made = [name for name in self._wanted if self._ensure_leaf(name, now, force=force)]
            for name in made:
                self._reload(name)
        return made

    def next_renewal(self) -> datetime:
        """Return the date at which the first leaf is due."""
        return min(renewal_date(leaf) for leaf in self._leaves.values())

    async def keep_fresh(
        self, renewed: Callable[[Sequence[str]], None] = lambda _names: None
    ) -> None:
        """Renew leaves when they are due, forever, and pass their names to `renewed`. Run it supervised."""
        while True:
            wait = min(self.next_renewal() - self._clock.now(), RENEWAL_LOOK)
            await asyncio.sleep(max(wait.total_seconds(), CLOCK_LOOK_SECONDS))
            await wait_for_clock(self._clock)
            if made := await asyncio.to_thread(self.renew):
                log.info("certificates renewed", extra={"names": made})
                renewed(made)

    def rotate_authority(self) -> None:
        """Replace the cluster CA. The old one stays trusted, and signs the new one for clients that trust only the old.

        Other processes use the new one after a restart.
        """
        now, old = self._clock.now(), self._authorities[CA]
        new = new_authority(f"kubelite-{CA}-{self._randomness.suffix()}", now, self._randomness)
        bridge = cross_signed(new, old, now, self._randomness)
        bundle = [new.certificate, *self._bundles[CA]]
        # A crash must not leave a CA certificate without its key, so write next.key before the bundle, ca.key after it.
        self._write(f"{CA}-cross.crt", certificate_pem(bridge), PUBLIC_MODE)
        self._write(f"{CA}.next.key", key_pem(new.key))
        self._write(f"{CA}.crt", certificate_pem(*bundle), PUBLIC_MODE)
        self._write(f"{CA}.key", key_pem(new.key))
        (self.directory / f"{CA}.next.key").unlink()
        self._bundles[CA] = bundle
        self._authorities[CA] = Authority(new.key, new.certificate, (bridge,))
        self._trust_bundle()
        self.renew(force=True)

    def list_certificates(self) -> list[Leaf]:
        """Return CAs and leaves, the CAs first."""
        authorities = [
            _leaf(name if index == 0 else f"{name} (retired)", certificate, is_authority=True)
            for name, bundle in self._bundles.items()
            for index, certificate in enumerate(bundle)
        ]
        return authorities + [_leaf(name, leaf) for name, leaf in self._leaves.items()]

    # Accessors for other modules.

    @property
    def authority(self) -> Authority:
        """The cluster CA that signs now."""
        return self._authorities[CA]

    @property
    def trusted(self) -> Sequence[x509.Certificate]:
        """The cluster CA's certificates, current first."""
        return self._bundles[CA]

    @property
    def ca_pem(self) -> bytes:
        """The CA bundle for kubeconfigs and the kube-root-ca.crt ConfigMaps."""
        return certificate_pem(*self._bundles[CA])

    @property
    def front_proxy_ca_pem(self) -> bytes:
        """The CA bundle of the client certificate shown to aggregated API servers."""
        return certificate_pem(*self._bundles[FRONT_PROXY_CA])

    @property
    def front_proxies(self) -> Sequence[x509.Certificate]:
        """The certificates of the front proxy CA, current first."""
        return self._bundles[FRONT_PROXY_CA]

    @property
    def ca_hash(self) -> str:
        """The hash of the current CA's certificate, by which join tokens name it."""
        return authority_hash(self.authority.certificate)

    @property
    def serving_addresses(self) -> Sequence[str]:
        """The addresses under which clients reach the API server now."""
        return self._wanted[SERVING][1].addresses

    def path(self, name: str) -> Path:
        """Return the file with key and certificate of a leaf."""
        return self.directory / f"{name}.pem"

    def leaf(self, name: str) -> x509.Certificate:
        """Return the current certificate of a leaf."""
        return self._leaves[name]

    def server_context(self, name: str = SERVING) -> ssl.SSLContext:
        """Return the TLS context of a server that requests, but does not require, a client certificate.

        There is one per leaf; a renewal changes it in place for later handshakes.
        """
        if name not in self._server_contexts:
            context = server_context(self.path(name), self.ca_pem)
            self._server_contexts[name] = context
        return self._server_contexts[name]

    def client_context(self, name: str) -> ssl.SSLContext:
        """Return the TLS context of a client that trusts the cluster CA and shows the leaf `name`."""
        if name not in self._client_contexts:
            self._client_contexts[name] = client_context(self.ca_pem, self.path(name))
        return self._client_contexts[name]

    def kubeconfig(self, server: str, name: str = ADMIN) -> str:
        """Return a kubeconfig with the identity of a leaf; write it with mode 0600."""
        pem = self.path(name).read_bytes()
        key, _, certificates = pem.partition(b"-----BEGIN CERTIFICATE-----")
        return kubeconfig(
            server=server,
            ca_pem=self.ca_pem,
            user=name,
            certificate=b"-----BEGIN CERTIFICATE-----" + certificates,
            key=key,
        )

    def _ensure_authority(self, name: str) -> None:
        key_path, certificate_path = (self.directory / f"{name}.{end}" for end in ("key", "crt"))
        if not certificate_path.exists():
            if key_path.exists():
                log.warning(
                    "replacing a CA key without a certificate", extra={"path": str(key_path)}
                )
            self._make_authority(name)
            return
        with _damage_named(f"the CA in {certificate_path}"):
            bundle = x509.load_pem_x509_certificates(certificate_path.read_bytes())
            key = self._authority_key(name, bundle[0])
        cross = self.directory / f"{name}-cross.crt"
        with _damage_named(f"the certificate in {cross}"):
            chain = x509.load_pem_x509_certificates(cross.read_bytes()) if cross.exists() else []
        belonging = tuple(c for c in chain if c.public_key() == key.public_key())
        self._authorities[name] = Authority(key, bundle[0], belonging)
        self._bundles[name] = bundle

    def _make_authority(self, name: str) -> None:
        # Write the key first, so that a certificate on disk always has its key.
        suffix = self._randomness.suffix()
        authority = new_authority(f"kubelite-{name}-{suffix}", self._clock.now(), self._randomness)
        self._write(f"{name}.key", key_pem(authority.key))
        self._write(f"{name}.crt", certificate_pem(authority.certificate), PUBLIC_MODE)
        self._authorities[name] = authority
        self._bundles[name] = [authority.certificate]

    def _authority_key(
        self, name: str, certificate: x509.Certificate
    ) -> ec.EllipticCurvePrivateKey:
        # An interrupted rotation leaves the new key as `next.key`.
        for end in ("key", "next.key"):
            path = self.directory / f"{name}.{end}"
            if end == "key" or path.exists():
                with _damage_named(f"the key in {path}"):
                    key = read_key(path.read_bytes())
                if key.public_key() == certificate.public_key():
                    return key
        raise ValueError("the key does not belong to the certificate")

    def _ensure_signing_key(self) -> None:
        path = self.directory / f"{SERVICE_ACCOUNT}.key"
        if not path.exists():
            self._write(path.name, key_pem(new_key()))
        keys = path.read_bytes().split(b"-----END PRIVATE KEY-----\n")
        with _damage_named(f"the key in {path}"):
            self.signing_keys = [
                read_key(part + b"-----END PRIVATE KEY-----\n") for part in keys if part.strip()
            ]
            if not self.signing_keys:
                raise ValueError("it is empty")

    def rotate_signing_key(self) -> None:
        """Sign service account tokens with a new key; tokens signed with older keys stay valid until they expire."""
        keys = [new_key(), *self.signing_keys]
        self._write(f"{SERVICE_ACCOUNT}.key", b"".join(key_pem(key) for key in keys))
        self.signing_keys = keys

    def _ensure_leaf(self, name: str, now: datetime, *, force: bool) -> bool:
        authority_name, wanted = self._wanted[name]
        authority = self._authorities[authority_name]
        present = self._leaves.get(name) or self._read_leaf(name)
        reason = renewal_reason(present, wanted, authority, now) if present else "it is missing"
        if present and not reason and not force:
            self._leaves[name] = present
            return False
        key = new_key()
        certificate = issue(authority, key.public_key(), wanted, now, self._randomness)
        pem = key_pem(key) + certificate_pem(certificate, *authority.chain)
        self._write(f"{name}.pem", pem)
        self._leaves[name] = certificate
        log.info("certificate made", extra={"certificate": name, "reason": reason or "asked for"})
        return True

    def _read_leaf(self, name: str) -> x509.Certificate | None:
        try:
            pem = self.path(name).read_bytes()
            certificate = x509.load_pem_x509_certificate(pem)
            if read_key(pem).public_key() == certificate.public_key():
                return certificate
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            log.warning("certificate unreadable", extra={"certificate": name, "error": str(error)})
        return None

    def _reload(self, name: str) -> None:
        for context in (self._server_contexts.get(name), self._client_contexts.get(name)):
            if context is not None:
                context.load_cert_chain(self.path(name))

    def _trust_bundle(self) -> None:
        for context in (*self._server_contexts.values(), *self._client_contexts.values()):
            context.load_verify_locations(cadata=self.ca_pem.decode())

    def _write(self, name: str, content: bytes, mode: int = 0o600) -> None:
        write_file(self.directory / name, content, mode=mode)


@contextmanager
def _damage_named(what: str) -> Iterator[None]:
    """Translate errors about a file's content to KeysDamaged, which names `what`."""
    try:
        yield
    except (ValueError, TypeError, UnsupportedAlgorithm, FileNotFoundError) as error:
        reason = str(error).partition(". See ")[0]  # drop cryptography's link to its FAQ
        raise KeysDamaged(f"cannot use {what}: {reason}; restore it from a backup") from error


def _leaf(name: str, certificate: x509.Certificate, *, is_authority: bool = False) -> Leaf:
    return Leaf(
        name=name,
        subject=common_name(certificate.subject),
        groups=organizations(certificate.subject),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        renewal=renewal_date(certificate),
        is_authority=is_authority,
    )
