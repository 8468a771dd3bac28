"""Answers on the node's link for the addresses of load balancers that this node was chosen for.

The node answers ARP, and for IPv6 neighbour discovery, from this process. The addresses are on no interface: nothing
else of the host listens on them, takes them for its own or sends from them, and they are gone as soon as the process
is, however it ends. Services are reached by the service proxy's rules; all else at such an address is refused.

The control plane chooses the node (see `control.load_balancers`). One that is cut off from it goes on, so that a server
that is away costs no traffic, until it hears another node announce the address. It is silent then at once, and asks
the API whether the address is still its own: two nodes on one link answer for as long as an announcement travels.
"""

import asyncio
import ctypes
import errno
import logging
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.services import Service
from kubelite.api.machinery.load_balancing import addresses_of, announcer_of, is_ours
from kubelite.limits import ARP_MESSAGES
from kubelite.net import arp, ndp
from kubelite.net.families import IPV4, Family, family_of, network_of
from kubelite.net.netlink import RouteSocket
from kubelite.net.overlay import own_interfaces
from kubelite.net.ruleset import ProxySettings
from kubelite.net.services import share_of
from kubelite.net.trusted_text import endpoint_text
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

REPEAT_SECONDS = (0.0, 0.5, 1.0, 2.0, 2.0)  # an announcement may be lost, and switches may be slow
REST_SECONDS = 0.01  # after each batch of messages
RETRY_SECONDS = 5.0
ADDRESS_BYTES = 4  # of IPv4
SO_ATTACH_FILTER = 26
DEFEND_SECONDS = 10.0  # between two questions to the API about one address, as in RFC 5227
CHECK_SECONDS = 5.0  # for the API's answer


class Owned(Struct, frozen=True):
    """An address this node was chosen for, and the Service it belongs to."""

    address: str
    namespace: str
    name: str


def owned_by(service: Service, node_name: str, settings: ProxySettings) -> list[Owned]:
    """Return the addresses of the settings' family for which a node was chosen, but those that are the cluster's own.

    No more than the rules of a Service serve.
    """
    if not is_ours(service) or announcer_of(service) != node_name:
        return []
    own = [network_of(text) for text in (settings.cluster_cidr, settings.service_cidr)]
    texts = dict.fromkeys(endpoint_text(one, settings.family) for one in addresses_of(service))
    return [
        Owned(address, service.metadata.namespace, service.metadata.name)
        for address in texts
        if address is not None and not any(ip_address(address) in network for network in own)
    ][: share_of(service)]


class Link:
    """A packet socket for ARP, or for neighbour discovery, on one interface. Needs CAP_NET_RAW; raises OSError."""

    def __init__(self, name: str, family: Family = IPV4) -> None:
        self._family = family
        self._ethertype = arp.ETHERTYPE if family is IPV4 else ndp.ETHERTYPE
        self._groups: socket.socket | None = None
        # Without a protocol it hears nothing yet: packets that came before the filter would pass it.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if family is not IPV4:
                _attach_filter(self._socket, ndp.FILTER)
                self._groups = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self._socket.bind((name, self._ethertype))
            self.mac: bytes = self._socket.getsockname()[4]
        except OSError:
            self.close()
            raise
        self.name = name

    def fileno(self) -> int:
        """Return the descriptor, to wait for."""
        return self._socket.fileno()

    def join(self, address: bytes) -> None:
        """Hear questions about an address: those of neighbour discovery go to a group of its own."""
        self._set_group(socket.IPV6_JOIN_GROUP, address)

    def leave(self, address: bytes) -> None:
        """Hear questions about an address no more."""
        self._set_group(socket.IPV6_LEAVE_GROUP, address)

    def send(self, packet: bytes, to: bytes = arp.BROADCAST) -> None:
        """Send a packet. A link that is down or full loses it, as the medium may."""
        if self._family is not IPV4 and to == arp.BROADCAST:
            to = ndp.ALL_NODES_MAC
        try:
            self._socket.sendto(packet, (self.name, self._ethertype, 0, 0, to))
        except OSError as error:
            if error.errno not in (errno.ENETDOWN, errno.ENOBUFS, errno.EAGAIN, errno.ENXIO):
                raise

    def receive(self) -> arp.Message | None:
        """Return the next message; None if it is none of the family's. Raises BlockingIOError when there is none."""
        try:
            data, sender = self._socket.recvfrom(128)
        except OSError as error:
            if error.errno == errno.ENETDOWN:
                raise BlockingIOError from error
            raise
        if sender[2] == socket.PACKET_OUTGOING:
            return None
        return arp.decode(data) if self._family is IPV4 else ndp.decode(data, sender[4])

    def announce(self, address: bytes) -> None:
        """Tell the link that an address is here."""
        if self._family is IPV4:
            for packet in arp.announcements(str(ip_address(address)), self.mac):
                self.send(packet)
        else:
            self.send(ndp.announcement(address, self.mac))

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close()
        if self._groups is not None:
            self._groups.close()

    def _set_group(self, change: int, address: bytes) -> None:
        if self._groups is None:
            return
        membership = struct.pack(
            "=16sI", ndp.solicited_group(address), socket.if_nametoindex(self.name)
        )
        try:
            self._groups.setsockopt(socket.IPPROTO_IPV6, change, membership)
        except OSError as error:
            if error.errno not in (
                errno.EADDRINUSE,
                errno.EADDRNOTAVAIL,
            ):  # it is joined, or was not
                raise


class Answers:
    """Decides what is sent for a message on the link; knows the addresses, and which of them are in doubt."""

    def __init__(self) -> None:
        self._owned: dict[bytes, Owned] = {}
        self._doubted: set[bytes] = set()  # another node announced them
        self._defended: set[bytes] = (
            set()
        )  # the API said so just now, so that others' claims do not count

    @property
    def owned(self) -> Mapping[bytes, Owned]:
        """The addresses this node was chosen for."""
        return self._owned

    def is_sure(self, address: bytes) -> bool:
        """Return whether an address is this node's, and nobody else has claimed it since."""
        return address in self._owned and address not in self._doubted

    def give(self, address: bytes, owned: Owned) -> None:
        """Answer for an address from now on."""
        self._owned[address] = owned
        self._doubted.discard(address)

    def take(self, address: bytes) -> None:
        """Answer for an address no more."""
        self._owned.pop(address, None)
        self._doubted.discard(address)

    def defend(self, address: bytes) -> bool:
        """Answer again for an address in doubt, and heed no claims until `rest`; False if it is not ours any more."""
        self._doubted.discard(address)
        if address in self._owned:
            self._defended.add(address)
        return address in self._owned

    def rest(self, address: bytes) -> None:
        """Heed others' claims to an address again."""
        self._defended.discard(address)

    def hear(self, message: arp.Message, mac: bytes) -> tuple[bytes | None, bytes | None]:
        """Return the reply to send, and the address that another node newly claims; each may be None."""
        if message.sender_mac == mac:
            return None, None
        if message.is_announcement and message.sender in self._owned:
            if message.sender in self._doubted | self._defended:
                return None, None
            self._doubted.add(message.sender)
            return None, message.sender
        is_asked = message.operation == arp.REQUEST and message.target in self._owned
        if not is_asked or message.target in self._doubted:
            return None, None
        is_arp = len(message.target) == ADDRESS_BYTES
        return (arp.reply if is_arp else ndp.reply)(message, mac), None


class Announcer:
    """Announces this node's addresses of load balancers of one family on the link of the node's address."""

    def __init__(
        self, client: Client, settings: ProxySettings, node_addresses: Sequence[str]
    ) -> None:
        """`settings` are those of the family; of the node's addresses that of the family says which link it is."""
        self._client = client
        self._settings = settings
        self._node_address = self._choose(node_addresses)
        self._services = client.mirror(Service)
        self._nodes = client.mirror(Node)
        self._answers = Answers()
        self._tasks = TaskSet()
        self._link: Link | None = None
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Follow the Services until cancelled; then answer for nothing."""
        await self._services.synced()
        await self._nodes.synced()
        unsubscribe = self._services.subscribe(lambda _before, _after: self._wake.set())
        unfollow = self._nodes.subscribe(lambda _before, _after: self._wake.set())
        self._wake.set()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._round()
        finally:
            unsubscribe()
            unfollow()
            await self._tasks.stop()
            self._close()

    def move(self, node_addresses: Sequence[str]) -> None:
        """Follow a new address of this node to its link."""
        node_address = self._choose(node_addresses)
        if node_address != self._node_address:
            self._node_address = node_address
            self._close()
            self._wake.set()

    def _choose(self, node_addresses: Sequence[str]) -> str:
        family = self._settings.family
        return next((one for one in node_addresses if family_of(one) is family), node_addresses[0])

    async def _round(self) -> None:
        """Open or close the link, and begin or end answering, as the Services say."""
        wanted = self._wanted()
        for address in self._answers.owned.keys() - wanted.keys():
            log.info("address given up", extra={"address": str(ip_address(address))})
            self._answers.take(address)
            if self._link is not None and not _shares_group(address, self._answers.owned):
                self._link.leave(address)
        if not wanted:
            self._close()
            return
        is_moved = self._link is None
        if self._link is None:
            try:
                await self._open()
            except OSError as error:
                reason = error.strerror or str(error)
                log.warning("cannot announce addresses", extra={"reason": reason})
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)
                return
        link = self._link
        assert link is not None
        for address, owned in wanted.items():
            if is_moved or self._answers.owned.get(address) != owned:
                log.info(
                    "address announced",
                    extra={"address": owned.address, "service": f"{owned.namespace}/{owned.name}"},
                )
                self._answers.give(address, owned)
                link.join(address)
                self._tasks.start(self._announce(address), name="announce an address")

    def _wanted(self) -> dict[bytes, Owned]:
        name = self._settings.node_name
        taken = {entry.address for node in self._nodes.list() for entry in node.status.addresses}
        found = (owned_by(service, name, self._settings) for service in self._services.list())
        return {
            ip_address(one.address).packed: one
            for some in found
            for one in some
            if one.address not in taken
        }

    async def _announce(self, address: bytes) -> None:
        """Tell the link several times, as long as the address is this node's."""
        for seconds in REPEAT_SECONDS:
            await asyncio.sleep(seconds)
            link = self._link
            if link is None or not self._answers.is_sure(address):
                return
            link.announce(address)

    async def _open(self) -> None:
        """Listen on the link of the node's address. Raises OSError."""
        name = await asyncio.to_thread(_link_of, self._node_address)
        if not name:
            raise OSError(
                errno.EADDRNOTAVAIL, f"no link has the node's address {self._node_address}"
            )
        self._link = Link(name, self._settings.family)
        asyncio.get_running_loop().add_reader(self._link, self._listen)

    def _close(self) -> None:
        if self._link is not None:
            asyncio.get_running_loop().remove_reader(self._link)
            self._link.close()
            self._link = None

    def _listen(self) -> None:
        """Handle a batch of messages, then rest, so that a flood of them holds up nothing else."""
        link, loop = self._link, asyncio.get_running_loop()
        assert link is not None
        for _ in range(ARP_MESSAGES.value):
            try:
                message = link.receive()
            except BlockingIOError:
                return
            if message is None:
                continue
            reply, claimed = self._answers.hear(message, link.mac)
            if reply is not None:
                link.send(reply, message.sender_mac)
            if claimed is not None:
                self._tasks.start(self._settle(claimed), name="settle whose an address is")
        ARP_MESSAGES.reached()
        loop.remove_reader(link)
        loop.call_later(REST_SECONDS, self._resume, link)

    def _resume(self, link: Link) -> None:
        if self._link is link:
            asyncio.get_running_loop().add_reader(link, self._listen)

    async def _settle(self, address: bytes) -> None:
        """Ask the API whose an address is that another node announced; be silent until it has answered."""
        owned = self._answers.owned.get(address)
        while owned is not None and self._answers.owned.get(address) == owned:
            log.warning("another machine announces an address", extra={"address": owned.address})
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    found = await self._client.list(
                        Service, owned.namespace, field_selector=f"metadata.name={owned.name}"
                    )
            except (APIError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            name = self._settings.node_name
            is_ours_still = any(owned in owned_by(one, name, self._settings) for one in found)
            if is_ours_still and self._answers.defend(address):
                loop = asyncio.get_running_loop()
                loop.call_later(DEFEND_SECONDS, self._answers.rest, address)
                await self._announce(address)
            return


def _shares_group(address: bytes, others: Iterable[bytes]) -> bool:
    """Return whether questions about another address go to the same group: it has the same end."""
    return any(other[-3:] == address[-3:] for other in others)


def _attach_filter(listening: socket.socket, program: bytes) -> None:
    """Have the kernel pass only what a packet filter accepts."""
    held = ctypes.create_string_buffer(program, len(program))
    given = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, given)


def _link_of(address: str) -> str:
    """Return the name of the link that an address is on; "" if it is on none. Blocks."""
    with RouteSocket() as route:
        indexes = [index for _, index in own_interfaces(route, address)]
        return next((link.name for link in route.links() if link.index in indexes), "")
