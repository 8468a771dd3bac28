"""Preconditions of a server: port, data folder, store, keys and files. A failure is one line for the user."""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NamedTuple, TypedDict

from kubelite.api.auth import encryption
from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy, PolicyInvalid
from kubelite.api.auth.encryption import EncryptedEngine, EncryptionFailed
from kubelite.api.auth.front_proxies import AuthorityInvalid, ProxyAuthority, proxy_authority
from kubelite.api.auth.oidc import OIDCInvalid, OIDCSettings, OIDCTokens
from kubelite.api.auth.pki import (
    FRONT_PROXY_CLIENT,
    ClockNotSet,
    KeysDamaged,
    Pki,
    serving_addresses,
    serving_names,
)
from kubelite.api.auth.secret_files import Exposure, read_with_exposure, write_file
from kubelite.api.auth.static_tokens import StaticTokens, TokenFileInvalid
from kubelite.api.http.fetch import HTTPSFetch
from kubelite.api.registry.builtin import HEARTBEATS
from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.control.options import ServerIdentity
from kubelite.net.host_addresses import HostView
from kubelite.network_config import listening_address
from kubelite.prerequisites import CannotStart, in_url, reason_of, secret_text
from kubelite.randomness import SystemRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.engine import Engine, EngineFailed, Rewritable, StoreUnreadable
from kubelite.store.history import HistoryLimits
from kubelite.store.lmdb_engine import StoreLocked

log = logging.getLogger(__name__)


class PkiArguments(TypedDict):
    """The names and addresses in the serving certificates."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    node_name: str
    services: tuple[str, ...]


def pki_arguments(config: Config, view: HostView, services: Sequence[str] = ()) -> PkiArguments:
    """Return the names and addresses at which clients reach a server with this configuration on a host.

    `services` are further addresses of the API's Service.
    """
    own = tuple(dict.fromkeys(address for address in (view.primary, *view.addresses) if address))
    bound = () if is_any(config.bind_address) else (config.bind_address,)
    more = (*own, *bound, *(address for address in services if address != config.api_address))
    return PkiArguments(
        names=serving_names(config.cluster_domain, config.name_of_node, config.tls_names),
        addresses=serving_addresses(config.api_address, more, config.tls_addresses),
        node_name=config.name_of_node,
        services=(config.api_address, *services),
    )


def server_identity(config: Config, view: HostView, services: Sequence[str]) -> ServerIdentity:
    """Return what no node may have a certificate for; `services` are the addresses of the API's Service."""
    own = pki_arguments(config, view, services)
    return ServerIdentity(
        node_name=config.name_of_node,
        names=own["names"],
        addresses=own["addresses"],
        domain=config.cluster_domain,
        networks=tuple(map(ip_network, (*config.cluster_cidrs, *config.service_cidrs))),
    )


def endpoint_address(config: Config, view: HostView) -> str:
    """Return the host's address at which pods reach the API: of the family of its Service; "" if there is none."""
    version = ip_address(config.api_address).version
    found = (one for one in (view.primary, *view.addresses) if one)
    return next((one for one in found if ip_address(one).version == version), "")


def listen(config: Config) -> socket.socket:
    """Return a socket that listens on the API server's port. Raises CannotStart."""
    host = listening_address(config.bind_address, config.cluster_cidr)
    address = (host, config.https_listen_port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # All addresses are those of IPv4 too, as with any other server; `reachable` counts on it.
    is_both = host == "::"
    try:
        return socket.create_server(address, family=family, backlog=1024, dualstack_ipv6=is_both)
    except OSError as error:
        flag = "--bind-address" if error.errno == errno.EADDRNOTAVAIL else "--https-listen-port"
        raise CannotStart(
            f"cannot listen on {in_url(config.bind_address)}:{config.https_listen_port}: "
            f"{os.strerror(error.errno or 0)}; see {flag}"
        ) from error


class OpenedStore(NamedTuple):
    """The store, and the engine below it that encrypts Secrets, if there is one."""

    store: EmbeddedStore
    sealing: EncryptedEngine | None


async def open_store(
    config: Config, clock: SystemClock, randomness: SystemRandomness
) -> OpenedStore:
    """Open the store, with Secrets encrypted if configured. Raises CannotStart."""
    engines: list[Engine] = []

    def over(engine: Rewritable) -> Engine:
        wanted = config.secrets_encryption
        engines.append(encryption.over(engine, config.secrets_key_file, randomness, wanted=wanted))
        return engines[-1]

    try:
        limits = HistoryLimits(apart=HEARTBEATS)
        store = await EmbeddedStore.open(config.store_dir, clock=clock, limits=limits, over=over)
    except (StoreLocked, StoreUnreadable, EngineFailed, EncryptionFailed) as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(f"cannot open store in {config.store_dir}: {reason_of(error)}") from error
    return OpenedStore(store, engines[0] if isinstance(engines[0], EncryptedEngine) else None)


def read_static_tokens(config: Config) -> StaticTokens | None:
    """Read the file of static tokens; None if none is configured. Raises CannotStart."""
    if not config.token_auth_file:
        return None
    try:
        return StaticTokens(secret_text(Path(config.token_auth_file)))
    except (OSError, UnicodeDecodeError, TokenFileInvalid) as error:
        raise CannotStart(
            f"cannot use {config.token_auth_file}: {reason_of(error)}; see --token-auth-file"
        ) from error


def _trusted_text(path: Path) -> str:
    """Read a file that is no secret but must be trusted; warn if other users can change it."""
    content, exposure = read_with_exposure(path)
    if who := exposure.writers():
        log.warning(
            "others may change a file that is relied on", extra={"path": str(path), "who": who}
        )
    return content.decode()


def proxy_authorities(config: Config, pki: Pki) -> tuple[ProxyAuthority, ...]:
    """Return the authorities of proxies that may name callers: the own, and configured ones. Raises CannotStart."""
    own = ProxyAuthority(tuple(pki.front_proxies), (FRONT_PROXY_CLIENT,))
    path, names = config.requestheader_client_ca_file, config.requestheader_allowed_names
    if not path:
        if names:
            raise CannotStart(
                "cannot use --requestheader-allowed-names: --requestheader-client-ca-file must be given too"
            )
        return (own,)
    try:
        pem = _trusted_text(Path(path)).encode()
        return (own, proxy_authority(pem, names, pki.trusted))
    except (OSError, UnicodeDecodeError, AuthorityInvalid) as error:
        reason = str(error) if isinstance(error, AuthorityInvalid) else reason_of(error)
        raise CannotStart(
            f"cannot use {path}: {reason}; see --requestheader-client-ca-file"
        ) from error


def oidc_tokens(config: Config, clock: SystemClock) -> tuple[OIDCTokens, ...]:
    """Return the authenticator of the OpenID Connect issuer, if one is configured. Raises CannotStart."""
    if not config.oidc_issuer_url:
        return ()
    required = (claim.partition("=") for claim in config.oidc_required_claim)
    settings = OIDCSettings(
        issuer_url=config.oidc_issuer_url,
        client_id=config.oidc_client_id,
        username_claim=config.oidc_username_claim,
        username_prefix=config.oidc_username_prefix,
        groups_claim=config.oidc_groups_claim,
        groups_prefix=config.oidc_groups_prefix,
        required_claims={name: value for name, _, value in required},
        signing_algorithms=tuple(config.oidc_signing_algs.split(",")),
    )
    if not settings.client_id:
        raise CannotStart("cannot use --oidc-issuer-url: --oidc-client-id must be given too")
    try:
        if config.oidc_ca_file:
            _check_authorities(config.oidc_ca_file)
        fetch = HTTPSFetch(config.oidc_ca_file)
        return (OIDCTokens(settings, fetch, clock, asyncio.get_running_loop().time),)
    except (OSError, OIDCInvalid) as error:
        raise CannotStart(f"cannot use --oidc-issuer-url: {reason_of(error)}") from error


def _check_authorities(path: str) -> None:
    """Raise CannotStart unless a file has CA certificates."""
    try:
        _trusted_text(Path(path))
        ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise CannotStart(
            f"cannot use {path}: it has no certificate; see --oidc-ca-file"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"cannot use {path}: {reason_of(error)}; see --oidc-ca-file") from error


async def open_audit_log(
    config: Config, running: AsyncExitStack, clock: SystemClock, randomness: SystemRandomness
) -> Auditor | None:
    """Open the audit log if a policy is configured, else return None. Raises CannotStart."""
    if not config.audit_policy_file:
        return None
    bounds = Bounds(
        size_bytes=config.audit_log_maxsize * 1024 * 1024,
        age_days=config.audit_log_maxage,
        backups=config.audit_log_maxbackup,
    )
    lines = LineLog(config.audit_log_file, bounds, clock)
    try:
        text = await asyncio.to_thread(_trusted_text, Path(config.audit_policy_file))
        policy = AuditPolicy.read(text)
        await asyncio.to_thread(lines.start)
    except (OSError, UnicodeDecodeError, PolicyInvalid) as error:
        path = getattr(error, "filename", "") or config.audit_policy_file
        flag = (
            "--audit-policy-file" if str(path) == config.audit_policy_file else "--audit-log-path"
        )
        raise CannotStart(f"cannot audit by {path}: {reason_of(error)}; see {flag}") from error
    running.push_async_callback(asyncio.to_thread, lines.stop)
    return Auditor(policy, lines, clock, randomness)


def open_pki(
    config: Config, view: HostView, clock: SystemClock, randomness: SystemRandomness
) -> Pki:
    """Read the keys and certificates, and create missing ones. Raises CannotStart. Blocking."""
    folder = Path(config.data_dir) / "pki"
    try:
        return Pki.ensure(folder, clock=clock, randomness=randomness, **pki_arguments(config, view))
    except (ClockNotSet, KeysDamaged) as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(
            f"cannot use the keys and certificates in {folder}: {reason_of(error)}"
        ) from error


def reachable(address: str) -> str:
    """Return the URL host by which local clients reach a server that listens on `address`."""
    return "127.0.0.1" if is_any(address) else in_url(address)


def is_any(address: str) -> bool:
    """Return whether who listens on this address listens on all."""
    return ip_address(address).is_unspecified


def write_kubeconfig(config: Config, text: str) -> None:
    """Write the administrator's kubeconfig; raises CannotStart."""
    path, mode = Path(config.write_kubeconfig), int(config.write_kubeconfig_mode, 8)
    if who := Exposure(mode).readers():
        # The mode was chosen with --write-kubeconfig-mode, so warn only.
        log.warning(
            "others may use the administrator's kubeconfig", extra={"path": str(path), "who": who}
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode(), mode=mode)
    except OSError as error:
        raise CannotStart(
            f"cannot write kubeconfig {path}: {reason_of(error)}; see --write-kubeconfig"
        ) from error
