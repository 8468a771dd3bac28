"""Renews the certificates of a joined machine in place, at 70 to 90 % of their lifetime.

The moment is drawn once for each certificate, so that the nodes of a cluster that started together do not renew
together. The node proves itself by the certificate that it still has; if that has expired, by a token if one is given.
The serving certificate follows the addresses in the Node's status, the only ones that the cluster signs.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.nodes import Node
from kubelite.backoff import backoff_seconds
from kubelite.clock import Clock
from kubelite.joining import requests, verify
from kubelite.joining.credentials import Credentials
from kubelite.joining.files import CLIENT, LEAVES, NETWORK, SERVING, AgentFiles, Leaf
from kubelite.joining.keys import Certificate
from kubelite.joining.refusal import JoinFailed
from kubelite.joining.requests import Denied, Order
from kubelite.prerequisites import CannotStart
from kubelite.randomness import Randomness

log = logging.getLogger(__name__)

EARLIEST, LATEST = 0.7, 0.9  # parts of the lifetime
LOOK_SECONDS = (
    12 * 3600.0
)  # loop time stands still while a machine is suspended, so look this often
RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 2.0, 300.0
ADDRESS_TYPES = ("InternalIP", "ExternalIP")


def renewal_date(certificate: Certificate, part: float) -> datetime:
    """Return the date at which a part of the certificate's lifetime has passed."""
    start, end = certificate.not_before, certificate.not_after
    return start + (end - start) * part


class Renewal:
    """Keeps the certificates of one joined machine valid."""

    def __init__(
        self,
        credentials: Credentials,
        files: AgentFiles,
        client: Client,
        *,
        node_name: str,
        server: str,
        clock: Clock,
        randomness: Randomness,
        by_token: Callable[[str], Awaitable[None]],
    ) -> None:
        """`by_token` gets a new client certificate from a server when the old one has expired."""
        self._credentials = credentials
        self._files = files
        self._client = client
        self._name = node_name
        self._server = server
        self._clock = clock
        self._randomness = randomness
        self._by_token = by_token
        self._parts: dict[tuple[Leaf, str], float] = {}  # the part drawn for each serial number
        self._addresses: tuple[str, ...] | None = None  # in the Node's status; None: not known
        self._denied: tuple[str, ...] | None = None  # addresses that the cluster did not sign
        self._failures = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Renew what is due, for ever. Run it supervised."""
        mirror = self._client.mirror(Node, field_selector=f"metadata.name={self._name}")
        unsubscribe = mirror.subscribe(self._node_changed)
        try:
            while True:
                seconds = await self.round()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(seconds, LOOK_SECONDS)):
                        await self._changed.wait()
                self._changed.clear()
        finally:
            unsubscribe()
            mirror.close()

    async def round(self) -> float:
        """Renew what is due now; return the seconds until the next round. Raises OSError."""
        async with self._files.using_keys():
            return await self._round()

    async def _round(self) -> float:
        due = await asyncio.to_thread(self._due)
        for leaf, order in due:
            try:
                await self._renew(leaf, order)
            except (JoinFailed, APIError, CannotStart, OSError, ValueError) as error:
                if isinstance(error, Denied) and leaf == SERVING:
                    self._denied = order.wanted.addresses  # ask again once they change
                log.warning(
                    "cannot renew a certificate",
                    extra={"certificate": leaf.name, "reason": str(error)},
                )
                delay = backoff_seconds(self._failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
                self._failures += 1
                return delay * self._randomness.uniform(0.5, 1.5)
            self._failures = 0
        return await asyncio.to_thread(self._seconds_left)

    def _node_changed(self, _: Node | None, node: Node | None) -> None:
        if node is None:
            return
        addresses = tuple(
            entry.address for entry in node.status.addresses if entry.type in ADDRESS_TYPES
        )
        if addresses and addresses != self._addresses:
            self._addresses = addresses
            self._changed.set()

    async def _renew(self, leaf: Leaf, order: Order) -> None:
        present = await asyncio.to_thread(self._files.certificate, leaf)
        now = self._clock.now()
        if leaf == CLIENT and (present is None or now >= present.not_after):
            await self._by_token(self._server)
        else:
            pem = await requests.obtain(self._client, order, self._files, leaf)
            await asyncio.to_thread(self._files.write_certificate, leaf, pem)
        # The CA may have been replaced meanwhile; the server proves itself by the old one once more.
        known = await asyncio.to_thread(self._files.read_ca)
        try:
            bundle = await verify.known_bundle(self._server, now, known)
            await asyncio.to_thread(self._files.write_ca, bundle)
        except JoinFailed as error:
            log.warning("cannot read the CA certificates", extra={"reason": str(error)})
        await self._credentials.reload()
        log.info("certificate renewed", extra={"certificate": leaf.name})

    def _due(self) -> list[tuple[Leaf, Order]]:
        """Return the certificates to renew now, the node's own first."""
        orders = {
            CLIENT: requests.node_client(self._name),
            SERVING: requests.node_serving(self._name, self._serving_addresses()),
            NETWORK: requests.network_client(),
        }
        return [(leaf, orders[leaf]) for leaf in LEAVES if self._is_due(leaf)]

    def _is_due(self, leaf: Leaf) -> bool:
        certificate = self._files.certificate(leaf)
        if certificate is None or self._clock.now() >= self._date(leaf, certificate):
            return True
        if leaf != SERVING or self._addresses is None or self._addresses == self._denied:
            return False
        return set(certificate.addresses) != set(self._addresses)

    def _serving_addresses(self) -> tuple[str, ...]:
        """Return the addresses to ask for: those of the Node's status, or none if they were denied."""
        if self._addresses is None or self._addresses == self._denied:
            return ()
        return self._addresses

    def _date(self, leaf: Leaf, certificate: Certificate) -> datetime:
        key = (leaf, certificate.serial_number)
        if key not in self._parts:
            for old in [one for one in self._parts if one[0] == leaf]:
                del self._parts[old]
            self._parts[key] = self._randomness.uniform(EARLIEST, LATEST)
        return renewal_date(certificate, self._parts[key])

    def _seconds_left(self) -> float:
        """Return the seconds until the first certificate is due."""
        present = [(leaf, self._files.certificate(leaf)) for leaf in LEAVES]
        dates = [self._date(leaf, found) for leaf, found in present if found is not None]
        left = min(dates) - self._clock.now() if len(dates) == len(LEAVES) else timedelta()
        return max(left.total_seconds(), 1.0)
