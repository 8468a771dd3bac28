"""Joins a cluster: proves a server, reads the cluster's settings, and gets the node's certificates.

The steps are those of a first start. A machine that has joined already proves itself by its certificate instead of a
token; if no server answers then, it starts with what it knew last.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from kubelite.api.auth.join_token import JoinToken, TokenMalformed
from kubelite.api.auth.tls import client_context
from kubelite.api.client.protocol import Client
from kubelite.api.client.remote import RemoteClient
from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.backoff import backoff_seconds
from kubelite.clock import Clock
from kubelite.config import AgentConfig
from kubelite.joining import requests, verify
from kubelite.joining.files import (
    CLIENT,
    LEAVES,
    NETWORK,
    SERVING,
    AgentFiles,
    Joined,
    KeyDamaged,
    Leaf,
)
from kubelite.joining.keys import Certificate, several
from kubelite.joining.refusal import CertificateRefused, JoinFailed, of_answer
from kubelite.joining.requests import Denied, Order
from kubelite.joining.settings import NAME, NAMESPACE, ClusterInfo, read_info, require_agreement
from kubelite.prerequisites import CannotStart, reason_of, secret_text
from kubelite.randomness import Randomness

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_FIRST_SECONDS = 1.0
RETRY_MAX_SECONDS = 30.0
NEW_TOKEN = "make one on the server: kubelite token create"  # noqa: S105 - no token


class Membership(Struct, frozen=True):
    """The server that a joined machine uses, and what it knows of the cluster."""

    server: str
    cluster: ClusterInfo
    is_reached: bool = True  # False: no server answered, this is from last time


class Bootstrap:
    """Joins one machine; the certificates are on disk afterwards."""

    def __init__(
        self, config: AgentConfig, files: AgentFiles, clock: Clock, randomness: Randomness
    ) -> None:
        self._config = config
        self._files = files
        self._clock = clock
        self._randomness = randomness
        self._name = config.name_of_node

    async def join(self) -> Membership:
        """Join, and try again while that can help. Raises CannotStart, with one line for the user."""
        failures, told = 0, ""
        while True:
            try:
                async with self._files.using_keys():
                    return await self._attempt()
            except JoinFailed as error:
                known = await asyncio.to_thread(self._last_known)
                if error.may_pass and known is not None:
                    log.warning("starting without a server", extra={"reason": str(error)})
                    return known
                if not error.may_pass:
                    raise CannotStart(str(error)) from error
                if str(error) != told:
                    told = str(error)
                    log.warning("not joined yet, trying again", extra={"reason": told})
            except OSError as error:
                raise CannotStart(
                    f"cannot use the keys and certificates in {self._files.pki}: {reason_of(error)}; "
                    "mend that, or see --data-dir"
                ) from error
            delay = backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
            failures += 1
            await asyncio.sleep(delay * self._randomness.uniform(0.5, 1.5))

    async def new_client_certificate(self, server: str) -> None:
        """Get a new certificate for the node by a token, when the old one has expired.

        Raises JoinFailed, CannotStart.
        """
        token = await asyncio.to_thread(self._token)
        if token is None:
            raise JoinFailed(
                f"cannot join {server} again: the node's certificate has expired; give a token ({NEW_TOKEN})"
            )
        ca = await asyncio.to_thread(self._files.read_ca)
        async with self._client(server, ca, token) as client:
            await self._certify(
                server, client, CLIENT, requests.node_client(self._name), by_token=True
            )

    async def _attempt(self) -> Membership:
        """Join the first server that can be used. Raises JoinFailed; if it may pass with one server, it may pass."""
        failures: list[JoinFailed] = []
        servers = await asyncio.to_thread(self._servers)
        for server in servers:
            try:
                cluster = await self._join(server)
            except JoinFailed as error:
                failures.append(error)
                if len(servers) > 1:
                    log.warning("cannot use a server", extra={"reason": str(error)})
            else:
                joined = Joined(servers, self._name, cluster)
                await asyncio.to_thread(self._files.write_joined, joined)
                return Membership(server, cluster)
        raise next((error for error in failures if error.may_pass), failures[0])

    def _servers(self) -> tuple[str, ...]:
        joined = self._files.read_joined()
        servers = self._config.servers or (joined.servers if joined is not None else ())
        if not servers:
            raise CannotStart("cannot join: give a server with --join https://SERVER:6443")
        return servers

    async def _join(self, server: str) -> ClusterInfo:
        token = await asyncio.to_thread(self._token)
        certificate = await asyncio.to_thread(self._own_certificate)
        await self._trust(server, token)
        ca = await asyncio.to_thread(self._files.read_ca)
        if certificate is not None:
            try:
                return await self._as_member(server, ca)
            except CertificateRefused as error:
                if token is None:
                    raise
                log.warning("joining again by the token", extra={"reason": str(error)})
        async with self._client(server, ca, self._required(token)) as client:
            await self._agreed(server, client, by_token=True)
            order = requests.node_client(self._name)
            await self._certify(server, client, CLIENT, order, by_token=True)
        return await self._as_member(server, ca)

    async def _as_member(self, server: str, ca: bytes) -> ClusterInfo:
        """Read the settings and get missing certificates by the node's own. Raises JoinFailed."""
        async with self._client(server, ca, None) as client:
            cluster = await self._agreed(server, client, by_token=False)
            await self._certify_rest(server, client)
        return cluster

    async def _trust(self, server: str, token: JoinToken | None) -> None:
        """Prove the server and store the cluster's CA certificates. Raises JoinFailed, OSError."""
        now, known = self._clock.now(), await asyncio.to_thread(self._known_ca)
        if known:
            bundle = await verify.known_bundle(server, now, known)
            if token is not None and not verify.has_hash(bundle, token.ca_hash):
                raise JoinFailed(
                    f"cannot join with this token: {self._files.folder} belongs to another cluster than the token; "
                    "to leave that cluster, run kubelite reset"
                )
        else:
            required = self._required(token)
            given = await asyncio.to_thread(self._given_ca)
            if required.ca_hash is None and not given:
                raise JoinFailed(
                    "cannot trust a server by a short token: give the secure token that kubelite token create "
                    "prints, or the server's CA certificate with --ca-file"
                )
            bundle = await verify.first_bundle(server, now, ca_hash=required.ca_hash, ca_pem=given)
        await asyncio.to_thread(self._files.write_ca, bundle)

    async def _agreed(self, server: str, client: Client, *, by_token: bool) -> ClusterInfo:
        """Return what the cluster says of itself. Raises JoinFailed, also if the agent was given something else."""
        asking = client.get(ConfigMap, NAME, NAMESPACE)
        try:
            found = await _answered(
                server, "read the cluster's settings", asking, by_token=by_token
            )
        except NotFound:
            raise JoinFailed(
                f"cannot join {server} yet: it has no ConfigMap {NAMESPACE}/{NAME}", may_pass=True
            ) from None
        cluster = read_info(server, found.data)
        require_agreement(server, cluster, self._config)
        return cluster

    async def _certify_rest(self, server: str, client: Client) -> None:
        """Get the certificates beside the node's own, unless they are there and valid. Raises JoinFailed."""
        # The Node may not exist yet, so its addresses are not in this certificate; renewal adds them.
        orders = {
            SERVING: requests.node_serving(self._name, ()),
            NETWORK: requests.network_client(),
        }
        for leaf, order in orders.items():
            if not await asyncio.to_thread(self._is_usable, leaf, order):
                await self._certify(server, client, leaf, order, by_token=False)

    async def _certify(
        self, server: str, client: Client, leaf: Leaf, order: Order, *, by_token: bool
    ) -> None:
        asking = requests.obtain(client, order, self._files, leaf)
        try:
            pem = await _answered(server, "get a certificate", asking, by_token=by_token)
        except KeyDamaged as error:
            raise JoinFailed(f"cannot use {self._files.key_path(leaf)}: {error}") from error
        except Denied as error:
            raise JoinFailed(f"cannot join {server} as {self._name}: {error.reason}") from error
        await asyncio.to_thread(self._files.write_certificate, leaf, pem)

    @asynccontextmanager
    async def _client(
        self, server: str, ca: bytes, token: JoinToken | None
    ) -> AsyncIterator[RemoteClient]:
        """Open a client with the token, or without one with the node's certificate."""
        pair = (self._files.path(CLIENT), self._files.key_path(CLIENT)) if token is None else ()
        client = RemoteClient(
            server,
            ssl_context=await asyncio.to_thread(client_context, ca, *pair),
            token=None if token is None else lambda: token.bearer,
            randomness=self._randomness,
        )
        try:
            yield client
        finally:
            await client.close()

    def _own_certificate(self) -> Certificate | None:
        """Return the node's certificate if it is valid now and has the node's name, else None."""
        return self._usable(CLIENT, requests.node_client(self._name))

    def _known_ca(self) -> bytes:
        """Return the CA certificates of the cluster that the machine has joined; empty if it has joined none."""
        # Those of an attempt that failed do not count: the next one may be for another cluster.
        return self._files.read_ca() if self._files.certificate(CLIENT) is not None else b""

    def _is_usable(self, leaf: Leaf, order: Order) -> bool:
        return self._usable(leaf, order) is not None

    def _usable(self, leaf: Leaf, order: Order) -> Certificate | None:
        certificate = self._files.certificate(leaf)
        if certificate is None or self._clock.now() >= certificate.not_after:
            return None
        is_ours = certificate.common_name == order.wanted.common_name
        return certificate if is_ours else None

    def _last_known(self) -> Membership | None:
        """Return what was known when a server was last reached, if that is enough to start; else None."""
        joined = self._files.read_joined()
        if joined is None or joined.node_name != self._name or not self._files.read_ca():
            return None
        with several(self._files.keys):
            if self._own_certificate() is None or not all(map(self._files.certificate, LEAVES)):
                return None
        servers = self._config.servers or joined.servers
        return Membership(servers[0], joined.cluster, is_reached=False)

    def _required(self, token: JoinToken | None) -> JoinToken:
        """Return the token; without one raises JoinFailed, which says why one is needed."""
        if token is not None:
            return token
        old = self._files.certificate(CLIENT)
        if old is not None and self._clock.now() >= old.not_after:
            raise JoinFailed(
                f"cannot join without a token: the node's certificate expired on "
                f"{old.not_after:%Y-%m-%d %H:%M} UTC; {NEW_TOKEN}"
            )
        raise JoinFailed(
            f"cannot join without a token: give --token-file or KUBELITE_TOKEN; {NEW_TOKEN}"
        )

    def _token(self) -> JoinToken | None:
        """Return the token if one is given; a file is read anew each time. Raises CannotStart."""
        path, text = self._config.token_file, self._config.token
        try:
            if path:
                text = secret_text(Path(path))
            return JoinToken.parse(text) if text or path else None
        except (OSError, UnicodeDecodeError) as error:
            raise CannotStart(f"cannot use {path}: {reason_of(error)}; see --token-file") from error
        except TokenMalformed as error:
            raise CannotStart(str(error)) from error

    def _given_ca(self) -> bytes:
        path = self._config.ca_file
        try:
            return Path(path).read_bytes() if path else b""
        except OSError as error:
            raise CannotStart(f"cannot use {path}: {reason_of(error)}; see --ca-file") from error


async def _answered(server: str, what: str, asking: Awaitable[T], *, by_token: bool) -> T:
    """Await a request; its APIError becomes a JoinFailed. Raises NotFound as it is."""
    try:
        return await asking
    except NotFound:
        raise
    except APIError as error:
        raise of_answer(server, what, error, by_token=by_token) from error
